"""The handlers that are served: a decoder that goes on from tokens, with what it imports as the difference.

Paper: arXiv 2207.13263 (the setting; the handlers are ours).
Idea: an instance imports what the first token needs (lazy), or all that the library has (eager), as functions often do.
Symbols: nothing beyond the event's fields.
Simplified: tokens in, tokens out, greedy; the text stays with the caller.
Differs: nothing to differ from.
Cost: that of the decoder.
Checked against: `models.generate` on the same model; events that are refused.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from reference_impls.serverless import Event, EventError

MOST_TOKENS = 256


class Generate:
    """Event: {"tokens": [...], "new_tokens": n}. Options: variant, expand, format, snapshot, device, threads."""

    def imports(self) -> None:
        """What loading and computing need, and nothing else."""
        import torch

        torch.set_num_threads(1)
        import_module("reference_impls.serverless.artifact")
        import_module("reference_impls.serverless.prefix_snapshot")

    def load(self, model: str | None, options: Mapping[str, Any]) -> None:
        """Map or read the weights."""
        from reference_impls.serverless import artifact, prefix_snapshot

        if model is None:
            raise ValueError("Generate needs the path of a model")
        self.device = str(options.get("device", "cpu"))
        how = {name: options[name] for name in ("variant", "format", "expand") if name in options}
        self.model = artifact.load(model, artifact.Config(**how), self.device)
        self.snapshot = prefix_snapshot.read(options["snapshot"], self.model) if options.get("snapshot") else None

    def invoke(self, event: Event) -> Iterator[int]:
        """One token after the other; nothing is kept between events."""
        import torch

        tokens, new = self._checked(event)
        with torch.inference_mode():
            given = torch.tensor(tokens, device=self.device)
            cache, left = self._begin(given, len(tokens) + new)
            newest = left[None]
            for _ in range(new):
                states = self.model.hidden_states(newest, cache)
                chosen = self.model.head(states[:, -1]).argmax(-1)
                newest = chosen[:, None]
                yield int(chosen)

    def _begin(self, tokens: Any, capacity: int) -> tuple[Any, Any]:
        from reference_impls.serverless import prefix_snapshot

        if self.snapshot is None:
            return self.model.new_cache(1, capacity), tokens
        return prefix_snapshot.restore(self.snapshot, self.model, tokens, capacity)

    def _checked(self, event: Event) -> tuple[list[int], int]:
        tokens, new = event.get("tokens"), event.get("new_tokens", 1)
        shape = self.model.config
        if not isinstance(tokens, list) or not tokens or not all(type(one) is int for one in tokens):
            raise EventError("tokens must be a list of at least one whole number")
        if not all(0 <= one < shape.vocab for one in tokens):
            raise EventError(f"tokens must be 0 to {shape.vocab - 1}")
        if type(new) is not int or not 1 <= new <= MOST_TOKENS:
            raise EventError(f"new_tokens must be 1 to {MOST_TOKENS}, got {new!r}")
        if len(tokens) + new > shape.max_positions:
            raise EventError(f"the model has {shape.max_positions} positions")
        return tokens, new


class _GenerateWith(Generate):
    """The same for weights stored in another form: the modules that read them are imported with the rest, and not while
    loading.
    """

    reader: str

    def imports(self) -> None:
        """And what reads the weights."""
        super().imports()
        import_module(f"reference_impls.{self.reader}")


class GeneratePacked(_GenerateWith):
    """Codes of few bits."""

    reader = "quantization.packed_records"


class GenerateSparse(_GenerateWith):
    """Two of each four weights."""

    reader = "pruning.semi_structured"


class GenerateLowRank(_GenerateWith):
    """Factors."""

    reader = "low_rank.apply"


class GenerateGguf(_GenerateWith):
    """A file of llama.cpp, expanded."""

    reader = "models.weights"


class GenerateAny(Generate):
    """Whatever the weights are stored in: what a fork server imports for all of them."""

    def imports(self) -> None:
        """All that reads weights."""
        for kind in (GeneratePacked, GenerateSparse, GenerateLowRank, GenerateGguf):
            kind().imports()


class EagerGenerate(Generate):
    """The same, after importing everything that it might ever use."""

    def imports(self) -> None:
        """Every module of the models and of quantization."""
        super().imports()
        for name in ("reference_impls.models", "reference_impls.quantization"):
            for found in iter_modules(import_module(name).__path__):
                if not found.name.startswith(("bench", "peer", "w4a16")):
                    import_module(f"{name}.{found.name}")
