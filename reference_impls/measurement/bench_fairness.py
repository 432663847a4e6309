"""Who pays for compression: one language model, dense and made smaller, on counterfactual sentences.

SmolLM2-135M only: this project's own tiny models know too little to fill such gaps, so nothing would be measured. Its
weights were 4-bit once already; every workload says so.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
from torch import nn

from reference_impls.low_rank import activation_aware_svd
from reference_impls.low_rank.apply import factorize_model
from reference_impls.measurement.case import Case, Implementation, NotInstalledError, Quality, Step, Value, Workload
from reference_impls.measurement.counterfactual import (
    GROUPS,
    Array,
    Integers,
    NextLogProbs,
    Scores,
    items_of,
    score,
)
from reference_impls.measurement.fairness import Change, change_of_gap, minimum_detectable_gap
from reference_impls.measurement.language_study import Comparison, fold_accuracies, study
from reference_impls.models import smollm2
from reference_impls.models.decoder import Decoder
from reference_impls.pruning import compose, contextual, layers, sparsegpt, surgery, wanda
from reference_impls.pruning.bench_models import calibration_of, load_model, pruned, stats_of, workload
from reference_impls.quantization import awq, gptq, rtn, smoothquant
from reference_impls.quantization.apply import quantize_model

MODEL = "smollm2-135m"
FOLDS = 8
DENSE = "float32"
Make = Callable[[], nn.Module]


@dataclass(frozen=True)
class Variant:
    """A smaller model, and what was done to it in words."""

    make: Make
    note: str


def variants() -> dict[str, Variant]:
    """Every smaller model of the study, named after the methods that made it (`scripts/website/who_pays.py`)."""
    found = {
        f"rtn-{bits}": Variant(partial(_rounded, rtn, rtn.Config(bits=bits, group_size=64)), "groups of 64")
        for bits in (8, 4, 3)
    }
    return found | {
        "gptq-3": Variant(partial(_rounded, gptq, gptq.Config(bits=3, group_size=64)), "groups of 64"),
        "awq-3": Variant(partial(_rounded, awq, awq.Config(bits=3, group_size=64)), "groups of 64"),
        "wanda-50": Variant(partial(_masked, wanda, wanda.Config(0.5)), "half of every row removed"),
        "sparsegpt-50": Variant(partial(_masked, sparsegpt, sparsegpt.Config(0.5)), "half of every layer removed"),
        "wanda-2-of-4": Variant(partial(_masked, wanda, wanda.Config(n_of_m=(2, 4))), "two of each four kept"),
        "wanda-50-rtn-4": Variant(_sparse_and_rounded, "half of every row removed, the rest in 4 bits, groups of 64"),
        "smoothquant-8": Variant(
            partial(_rounded, smoothquant, smoothquant.Config()), "8 bits for weights and for what they multiply"
        ),
        "whitened-svd-80": Variant(_thinner, "two factors with 80 % of the parameters of each layer"),
        "contextual-oracle-30": Variant(partial(_chosen, "oracle"), "the 30 % most active neurons for each token"),
        "contextual-gate-30": Variant(partial(_chosen, "gate"), "30 % of the neurons for each token, by its gate"),
        "shortgpt-2": Variant(partial(_shallower, 2), "2 of 30 blocks removed"),
        "shortgpt-4": Variant(partial(_shallower, 4), "4 of 30 blocks removed"),
    }


def _rounded(method: Any, config: Any) -> nn.Module:
    return quantize_model(load_model(MODEL), method, config, stats_of(MODEL, 0))


def _masked(method: Any, config: Any) -> nn.Module:
    return pruned(MODEL, method, config, 0)


def _sparse_and_rounded() -> nn.Module:
    config = compose.Config("wanda", wanda.Config(0.5), "rtn", rtn.Config(bits=4, group_size=64))
    return quantize_model(load_model(MODEL), compose, config, stats_of(MODEL, 0))


def _thinner() -> nn.Module:
    seen: Any = stats_of(MODEL, 0)  # in the place of a calibration: what one would see
    return factorize_model(load_model(MODEL), activation_aware_svd, activation_aware_svd.Config(0.8), seen)


def _chosen(choice: Any) -> nn.Module:
    return contextual.shrink(load_model(MODEL), contextual.Config(0.3, choice))


def _shallower(removed: int) -> nn.Module:
    return surgery.remove_blocks(load_model(MODEL), layers.least_influential(_influence(), removed))


@cache
def _influence() -> torch.Tensor:
    """-> (layers,)"""
    return layers.block_influence(load_model(MODEL), calibration_of(MODEL, 0))


def next_log_probs(model: Decoder) -> NextLogProbs:
    """The model as the study wants it; the head is applied to the last position only."""

    @torch.no_grad()
    def run(tokens: Integers) -> Array:
        last = model.hidden_states(torch.from_numpy(tokens))[:, -1]
        found: Array = model.head(last).double().log_softmax(-1).numpy()
        return found

    return run


@cache
def scores_of(name: str) -> dict[str, Scores]:
    """One model on every attribute; the model is dropped, its scores are kept. name: DENSE or one of `variants`"""
    if smollm2.smollm2_path() is None:
        raise NotInstalledError(smollm2.HOW_TO_GET_IT)
    model: Any = load_model(MODEL) if name == DENSE else variants()[name].make()
    tokenizer = smollm2.load_smollm2_tokenizer()
    items = {attribute: items_of(attribute) for attribute in GROUPS}
    every = [item for group in items.values() for item in group]
    found = iter(score(every, next_log_probs(model), _AsList(tokenizer)))
    return {attribute: Scores(group, tuple(next(found) for _ in group)) for attribute, group in items.items()}


class _AsList:
    """The project's tokenizer gives tensors; the study wants plain numbers."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self.inner.encode(text).tolist()
        return ids


def comparisons() -> list[Comparison]:
    """The whole table: every variant on every attribute, adjusted for their number."""
    return study(scores_of(DENSE), {name: scores_of(name) for name in variants()})


def cases() -> list[Case]:
    """Two cases of accuracy and one of the gap's change for each attribute."""
    accuracy = [_accuracy_case(attribute, group) for attribute in GROUPS for group in (0, 1)]
    return [*accuracy, *(_change_case(attribute) for attribute in GROUPS)]


def _accuracy_case(attribute: str, group: int) -> Case:
    def prepare(name: str, work: Workload, device: str) -> Step:  # noqa: ARG001 values do not depend on either
        shares = iter(fold_accuracies(scores_of(name)[attribute], group, FOLDS))
        return lambda: next(shares)

    title = f"Right words by {attribute}: {GROUPS[attribute][group]}"
    more: dict[str, Value] = {"group": GROUPS[attribute][group], "samples": f"{FOLDS} parts of the templates"}
    name = f"measurement/language/{attribute}/group-{group}/accuracy"
    return _case(name, title, "accuracy", _workload(attribute) | more, prepare, None, FOLDS)


def _change_case(attribute: str) -> Case:
    def prepare(name: str, work: Workload, device: str) -> Step:  # noqa: ARG001
        value = 100 * change_of(name, attribute).value
        return lambda: value

    def margin(name: str, work: Workload, device: str) -> Quality:  # noqa: ARG001
        return Quality("group_gap_margin", 100 * change_of(name, attribute).margin)

    zero, one = GROUPS[attribute]
    more: dict[str, Value] = {
        "gap": f"accuracy of {one} less that of {zero}",
        "interval": "95 %, bootstrap over templates, 10,000 draws; the margin is half its width",
        "power": "a true change of 1.43 margins is found in four of five such studies",
    }
    title = f"Change of the gap between groups by {attribute}"
    name = f"measurement/language/{attribute}/change/group_gap_change"
    return _case(name, title, "group_gap_change", _workload(attribute) | more, prepare, margin, 1)


@cache
def change_of(name: str, attribute: str) -> Change:
    """Of the gap, from the dense model's; exactly none for the dense model."""
    return change_of_gap(scores_of(DENSE)[attribute].outcomes(), scores_of(name)[attribute].outcomes())


def _workload(attribute: str) -> dict[str, Value]:
    """What the cases of an attribute share, with what its size can show."""
    items = items_of(attribute)
    labels = [sum(item.group == group for item in items) for group in (0, 1)]
    smallest = 100 * minimum_detectable_gap(labels[1], labels[0])
    shared = {key: value for key, value in workload(MODEL).items() if key not in ("text", "tokens", "context_length")}
    return shared | {
        "calibration_text": "windows of a novel",
        "items": "own counterfactual sentences, one word to choose",
        "items_per_group": labels[0],
        "templates": len({item.cluster for item in items}),
        "smallest_gap_found": f"{smallest:.0f} points at 80 % power, unpaired",
    }


def _case(
    name: str,
    title: str,
    metric: str,
    work: dict[str, Value],
    prepare: Callable[[str, Workload, str], Step],
    quality: Callable[[str, Workload, str], Quality] | None,
    trials: int,
) -> Case:
    notes = {DENSE: "", **{key: one.note for key, one in variants().items()}}
    return Case(
        id=name,
        title=title,
        metric=metric,
        workload=work,
        implementations=tuple(
            Implementation(
                key,
                "baseline" if key == DENSE else "method",
                "simulated",
                partial(prepare, key),
                quality=partial(quality, key) if quality and key != DENSE else None,
                note=note,
                module=None if key == DENSE else "fairness",
            )
            for key, note in notes.items()
        ),
        timed=False,
        no_limit="a property of the model and the sentences, not of the machine",
        devices=("cpu",),
        trials=trials,
    )
