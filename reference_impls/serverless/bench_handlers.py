"""Handlers that only the bench serves: text in and out, with and without a mistake that canaries must find."""

from collections.abc import Iterator
from typing import Any

from reference_impls.serverless import Event
from reference_impls.serverless.handlers import Generate

ANSWERS: dict[str, list[str]] = {}


class GenerateText(Generate):
    """Event: {"text": ...}; yields pieces of text."""

    def imports(self) -> None:
        """The tokenizer too."""
        super().imports()
        from reference_impls.models.tiny import load_tokenizer

        self.tokenizer = load_tokenizer()

    def invoke(self, event: Event) -> Iterator[Any]:
        """Four tokens."""
        tokens = self.tokenizer.encode(event["text"]).tolist()
        for token in super().invoke({"tokens": tokens, "new_tokens": 4}):
            yield str(token)


class CachingText(GenerateText):
    """Keeps answers by their question, for everybody: the planted mistake."""

    def invoke(self, event: Event) -> Iterator[Any]:
        """From the cache where it was asked before."""
        if event["text"] not in ANSWERS:
            ANSWERS[event["text"]] = [*super().invoke(event)]
        yield from ANSWERS[event["text"]]


class DeviceContext:
    """What a GPU asks for before any weight is there: the context and its first product."""

    def imports(self) -> None:
        """Torch."""
        import torch

        torch.set_num_threads(1)

    def load(self, model: str | None, options: Any) -> None:  # noqa: ARG002 the face
        """The context."""
        import torch

        one = torch.ones(16, 16, device=options["device"])
        (one @ one).sum().item()

    def invoke(self, event: Event) -> Iterator[Any]:  # noqa: ARG002 the face
        """Nothing."""
        yield 0
