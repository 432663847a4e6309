"""Who pays for compression where the truth is known: a detector of drawn figures, dense and made smaller.

Tone and sleeves have no part in what can be seen, so their true gap is zero; small figures are truly harder.
"""

from collections.abc import Callable
from functools import cache, partial

from reference_impls.measurement.bench_street_detector import Detector, detect, labels_of, load, pruned, rounded
from reference_impls.measurement.case import Case, Implementation, Quality, Step, Value, Workload
from reference_impls.measurement.detection import Config as Matching
from reference_impls.measurement.detection import outcomes
from reference_impls.measurement.fairness import Change, Outcomes, change_of_gap, minimum_detectable_gap
from reference_impls.measurement.street import ATTRIBUTES, draw
from reference_impls.measurement.street import Config as Scene

DENSE = "float32"
IMAGES, SEED = 1000, 1
SCENE = Scene(brightness=0.5, contrast=0.2)
GROUPS = {"size": ("tall", "small"), "tone": ("tone 0", "tone 1"), "sleeve": ("plain", "striped")}
NOTES = {
    "int8": "weights rounded to 8 bits, one scale a channel",
    "int5": "weights rounded to 5 bits",
    "int4": "weights rounded to 4 bits",
    "pruned-30": "30 % of each inner layer removed",
    "pruned-50": "50 % of each inner layer removed",
}


@cache
def variant(name: str) -> Detector:
    """The detector, or one made smaller."""
    dense = load()
    if name == DENSE:
        return dense
    if name.startswith("int"):
        return rounded(dense, int(name[3:]))
    return pruned(dense, int(name.partition("-")[2]) / 100)


@cache
def found(name: str, attribute: str, matching: Matching | None = None) -> Outcomes:
    """What a detector finds of the figures, grouped by an attribute."""
    street = draw(IMAGES, SEED, SCENE)
    return outcomes(labels_of(street, ATTRIBUTES.index(attribute)), [*detect(variant(name), street)], matching)


@cache
def change(name: str, attribute: str) -> Change:
    """Of the gap, from the dense detector's."""
    return change_of_gap(found(DENSE, attribute), found(name, attribute))


def cases() -> list[Case]:
    """For each attribute recall of both groups, the gap, and its change."""
    recalls = [_recall(attribute, group) for attribute in ATTRIBUTES for group in (0, 1)]
    return [*recalls, *(_change(attribute) for attribute in ATTRIBUTES)]


@cache
def figures(attribute: str) -> tuple[int, int]:
    """Figures in each group."""
    street = draw(IMAGES, SEED, SCENE)
    groups = street.attributes[street.present][:, ATTRIBUTES.index(attribute)]
    return int((groups == 0).sum()), int((groups == 1).sum())


def _work(attribute: str) -> dict[str, Value]:
    counts = figures(attribute)
    smallest = 100 * minimum_detectable_gap(counts[1], counts[0])
    return {
        "images": f"{IMAGES} drawn streets",
        "figures_per_group": counts[0],
        "brightness": SCENE.brightness,
        "contrast": SCENE.contrast,
        "true_gap": "none but by chance" if attribute != "size" else "small figures are harder",
        "smallest_gap_found": f"{smallest:.0f} points at 80 % power, unpaired",
    }


def _recall(attribute: str, group: int) -> Case:
    def value(name: str, _work: Workload, _device: str) -> Step:
        recall = found(name, attribute).counts(group).recall
        return lambda: recall

    title = f"Figures found, by {attribute}: {GROUPS[attribute][group]}"
    return _case(f"{attribute}/group-{group}/recall", title, "recall", attribute, value, None)


def _change(attribute: str) -> Case:
    def value(name: str, _work: Workload, _device: str) -> Step:
        moved = 100 * change(name, attribute).value
        return lambda: moved

    def margin(name: str, _work: Workload, _device: str) -> Quality:
        return Quality("group_gap_margin", 100 * change(name, attribute).margin)

    zero, one = GROUPS[attribute]
    title = f"Change of the gap in recall, {one} less {zero}"
    return _case(f"{attribute}/change/group_gap_change", title, "group_gap_change", attribute, value, margin)


def _case(
    name: str,
    title: str,
    metric: str,
    attribute: str,
    value: Callable[[str, Workload, str], Step],
    quality: Callable[[str, Workload, str], Quality] | None,
) -> Case:
    return Case(
        id=f"measurement/street/{name}",
        title=title,
        metric=metric,
        workload=_work(attribute),
        implementations=tuple(
            Implementation(
                one,
                "baseline" if one == DENSE else "method",
                "simulated",
                partial(value, one),
                ("safetensors",),
                partial(quality, one) if quality and one != DENSE else None,
                note=note,
                module=None if one == DENSE else "detection",
            )
            for one, note in {DENSE: "", **NOTES}.items()
        ),
        timed=False,
        no_limit="a property of the detector and the drawings, not of the machine",
        devices=("cpu",),
    )
