"""The data model: what a paper, a claim, a technique and a recorded run are. The one place that says so.

`entries/schema.json` and the table of fields in CONTRIBUTING.md are generated from it. Unknown keys are errors.
Stored facts are fields here; whatever can be derived (medians, ratios, verdicts, effective savings) is not.
"""

import re
from collections.abc import Callable, Iterable
from datetime import date
from fractions import Fraction
from typing import Annotated, Any, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from scripts.catalogue.text_rules import Arxiv, Doi, Key, Line, Prose, TechniqueSlug, Url
from scripts.catalogue.venues import VENUES
from scripts.catalogue.vocabulary import METRICS, Better, Bound, Cost, Form, Kind, Level, Resource, Seen

FIRST_YEAR = 1950


def _one_of(words: Iterable[str], what: str) -> Callable[[str], str]:
    known = tuple(words)

    def check(word: str) -> str:
        if word not in known:
            raise ValueError(f'unknown {what} "{word[:60]}"', known)  # `explain` appends the nearest words
        return word

    return check


def _check_year(year: int) -> int:
    last = date.today().year + 1
    if not FIRST_YEAR <= year <= last:
        raise ValueError(
            f"expected an integer from {FIRST_YEAR} to {last}, got {year}; write the year with four digits"
        )
    return year


def _read_date(value: Any) -> Any:
    """Accept the ISO text that JSON and quoted YAML hold."""
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise ValueError(f'expected a date such as 2026-11-22, got "{value[:40]}"; year-month-day') from None
    return value


def _read_quantity(value: Any) -> Any:
    """Accept `1/5.1`, which keeps the figure that a source prints when a ratio points the other way."""
    if isinstance(value, str):
        if re.fullmatch(r"1/[0-9]{1,9}(\.[0-9]{1,9})?", value) and float(value[2:]) > 0:
            return value
        raise ValueError(f'expected a number, or 1/number for a ratio below one, got "{value[:40]}"; no unit, no "x"')
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("expected a number, not a word, list or mapping; the unit follows from the metric")
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError("expected a finite number; leave the claim out if the source gives no figure")
    return value


Year = Annotated[int, AfterValidator(_check_year), Field(json_schema_extra={"minimum": FIRST_YEAR})]
Day = Annotated[date, BeforeValidator(_read_date)]
Quantity = Annotated[int | float | str, BeforeValidator(_read_quantity)]
VenueName = Annotated[str, AfterValidator(_one_of(VENUES, "venue")), Field(json_schema_extra={"enum": [*VENUES]})]
FamilyName = Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$", max_length=60)]
"""A folder of reference_impls/: a Python name, so with underscores and not the hyphens of a Key."""
MetricName = Annotated[str, AfterValidator(_one_of(METRICS, "metric")), Field(json_schema_extra={"enum": [*METRICS]})]


def as_number(quantity: int | float | str) -> float:
    """The number that a stored quantity stands for: `1/5.1` is 0.196…"""
    if isinstance(quantity, str):
        return float(1 / Fraction(quantity.partition("/")[2]))
    return float(quantity)


class Record(BaseModel):
    """Base of everything stored: immutable, strictly typed, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Author(Record):
    """A person as the paper prints the name; an organisation has a family name alone."""

    family: Line = Field(description="family name, or the whole name of an organisation")
    given: Line | None = Field(default=None, description="given names as printed")


class Publication(Record):
    """The version of record: where the work appeared after review."""

    venue: VenueName | None = Field(default=None, description="short name from scripts/catalogue/venues.py")
    year: Year | None = Field(default=None, description="year of that publication")
    title: Line | None = Field(default=None, description="its title, where it differs from the entry's")
    doi: Doi | None = Field(default=None, description="bare DOI")
    url: Url | None = Field(default=None, description="page of the publication")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not (self.venue or self.doi or self.url):
            raise ValueError("says neither venue, doi nor url; leave `published` out for a preprint")
        return self


class Preprint(Record):
    """The freely readable version."""

    arxiv: Arxiv = Field(description="arXiv id in quotes, without version")


class Correction(Record):
    """A mistake that was in the entry, and when it was mended."""

    date: Day = Field(description="day of the correction")
    what: Line = Field(description="what was corrected, and how it was noticed")
    was: Line | None = Field(default=None, description="the wrong value")


class Trial(Record):
    """Which recorded measurement tests a claim, and how its setting differs from the claim's."""

    case: Line = Field(description="id of the benchmark case, as `python -m scripts.bench --list` names it")
    implementation: Line = Field(description="name of the method in that case")
    against: Line | None = Field(default=None, description="what it is compared with; the case's baseline by default")
    metric: MetricName | None = Field(
        default=None, description="set where the figure is the measurement's quality and not its samples"
    )
    comparable: bool = Field(description="whether the setting is close enough to confirm or refute the figure itself")
    differs: Line = Field(description="how our setting differs, in words")


class Claim(Record):
    """One figure that a source asserts, typed so that a measurement can stand beside it."""

    id: Key = Field(description="name of the claim, unique in the entry")
    says: Line = Field(description="the claim in our own words")
    metric: MetricName = Field(description="what is measured; fixes unit and direction (vocabulary.py)")
    form: Form = Field(description="absolute: the metric; ratio: method / baseline; difference: method - baseline")
    value: Quantity = Field(description="the figure; a ratio below one may be written 1/5.1")
    to: Quantity | None = Field(default=None, description="upper end, where the source gives a range")
    bound: Bound = Field(default="exact", description="how the source hedges the size of the figure")
    against: Line | None = Field(default=None, description="baseline; required unless the form is absolute")
    setting: Line | None = Field(default=None, description="conditions without which the figure means nothing")
    version: Line | None = Field(default=None, description="which version of the work, where versions differ")
    where: Line = Field(description="place in the source: abstract, section 5.2, table 4")
    seen: Seen = Field(description="how the figure came to us")
    disagrees_with: list[Key] = Field(default=[], description="ids of claims of this entry that state it differently")
    test: Trial | None = Field(default=None, description="the measurement that tests it; absent = untested")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.form != "absolute" and self.against is None:
            raise ValueError(f"a {self.form} needs `against`: the baseline it is relative to")
        if self.form != "ratio" and isinstance(self.value, str):
            raise ValueError("only a ratio may be written 1/number; set `form: ratio` or write a plain number")
        if self.form == "ratio" and as_number(self.value) <= 0:
            raise ValueError("a ratio is above zero; method / baseline")
        return self


class Paper(Record):
    """A paper (or software release, or post) as one file, entries/<year>/<key>.yaml; the key is the file's name."""

    title: Line = Field(description="as published")
    also_titled: list[Line] = Field(default=[], description="earlier or other titles of the same work")
    authors: list[Author] = Field(default=[], description="in printed order; left out when not known")
    authors_cut: bool = Field(default=False, description="true: there are more authors than listed")
    year: Year = Field(description="first public version")
    kind: Kind = Field(default="paper", description="what it is")
    published: Publication | None = Field(default=None, description="version of record, where there is one")
    preprint: Preprint | None = Field(default=None, description="preprint, where there is one")
    url: Url | None = Field(default=None, description="address, for works with neither DOI nor arXiv id")
    code: Url | None = Field(default=None, description="the authors' code")
    techniques: list[TechniqueSlug] = Field(min_length=1, description="paths under techniques/, the main one first")
    saves: list[Resource] = Field(default=[], description="what it saves; left out: as its main technique does")
    level: Level = Field(description="listed: bibliographic facts only; reviewed: a summary and typed claims too")
    summary: Prose | None = Field(default=None, description="our own words; required when reviewed")
    claims: list[Claim] = Field(default=[], description="headline figures, typed")
    checked: Day | None = Field(default=None, description="day a person last compared the facts with the source")
    sources: list[Line] = Field(default=[], description="where the facts come from, when not the work itself")
    note: Line | None = Field(default=None, description="what a reader of the record should know")
    distinct_from: list[Key] = Field(
        default=[], description="keys of entries with a similar title that are other works"
    )
    corrections: list[Correction] = Field(default=[], description="mistakes mended since the entry was published")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.level == "reviewed" and self.summary is None:
            raise ValueError(
                "a reviewed entry needs `summary`; write two or three sentences of your own, or set level: listed"
            )
        if self.authors_cut and not self.authors:
            raise ValueError("`authors_cut` says that names are missing from a list that is not there; leave it out")
        ids = [claim.id for claim in self.claims]
        if repeated := sorted({name for name in ids if ids.count(name) > 1}):
            raise ValueError(f"claim ids must differ, {', '.join(repeated)} is used twice; rename one")
        for claim in self.claims:
            if unknown := sorted(set(claim.disagrees_with) - set(ids) | set(claim.disagrees_with) & {claim.id}):
                raise ValueError(
                    f"claim {claim.id}: disagrees_with names {', '.join(unknown)}; name other claims of this entry"
                )
        return self

    @property
    def arxiv(self) -> str | None:
        """The arXiv id, where there is one."""
        return self.preprint.arxiv if self.preprint else None

    @property
    def doi(self) -> str | None:
        """The DOI of the version of record, where there is one."""
        return self.published.doi if self.published else None

    @property
    def venue(self) -> str | None:
        """The venue of the version of record, where there is one."""
        return self.published.venue if self.published else None


class Technique(Record):
    """The front matter of a page under techniques/; the folder tree is the taxonomy."""

    title: Line = Field(description="name of the technique or branch")
    summary: Line = Field(description="one sentence")
    order: int = Field(ge=0, description="position among its siblings")
    saves: list[Resource] = Field(description="what it saves, the main thing first")
    costs: list[Cost] = Field(description="what it costs")
    limit: Line | None = Field(description="the bound that physics or mathematics sets, as one formula")
    survey: Line | None = Field(description="heading in arXiv:2401.08092, or null where we added the node")
    family: FamilyName | None = Field(default=None, description="folder of reference_impls/ that implements it")
    plots: list[Key] = Field(default=[], description="ids of the figures shown on the page")
    combines: list[TechniqueSlug] = Field(default=[], description="techniques that it goes with; shown on both pages")
    conflicts: list[TechniqueSlug] = Field(default=[], description="techniques that exclude it; shown on both pages")


class Code(Record):
    """The code that was measured."""

    commit: Line
    dirty: bool
    trees: dict[Line, Annotated[str, Field(pattern="^[0-9a-f]{40}$")]] = Field(
        default={}, description="folder -> git's hash of its content, of the code that a run executes"
    )


class Machine(Record):
    """The machine that a run was recorded on, and how busy it was."""

    name: Key
    cpu: Line
    cores: int = Field(ge=1)
    memory_bytes: int = Field(ge=1)
    os: Line
    python: Line
    torch: Line
    threads: int = Field(ge=1)
    load_average: list[float] = []
    triton: Line | None = None
    gpu: Line | None = None
    gpu_memory_bytes: int | None = None
    driver: Line | None = None
    cuda: Line | None = None
    clocks: Line | None = None
    power_limit_w: float | None = None


class Ceilings(Record):
    """What the machine can do at most, measured in the same run."""

    copy_bytes_per_s: float | None = None
    read_bytes_per_s: float | None = None
    matmul_flops_per_s: dict[str, float] = {}
    host_to_device_bytes_per_s: float | None = None
    disk_read_bytes_per_s: float | None = None


class Limit(Record):
    """The bound that physics sets to a measured value, with the formula it follows from."""

    value: float
    formula: Line


class Quality(Record):
    """What a lossy method did to the output, in the same workload."""

    metric: MetricName
    value: float


class Measurement(Record):
    """All samples of one implementation in one case; never a mean alone."""

    case: Line
    implementation: Line
    role: Annotated[str, Field(pattern="^(method|baseline|peer)$")]
    effect: Annotated[str, Field(pattern="^(simulated|packed|kernel)$")]
    module: Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")] | None = Field(
        default=None, description="module of reference_impls/<suite>/ that was exercised; baselines and peers have none"
    )
    workload: dict[str, str | int | float | bool | None]
    metric: MetricName
    unit: Line
    better: Better
    samples: list[float] = Field(min_length=1)
    first: float
    warmup: int = Field(ge=0)
    rounds: int = Field(ge=1)
    converged: bool
    stop_reason: Line
    seed: int
    limit: Limit | None
    no_limit: Line | None = None
    quality: Quality | None
    energy_j: float | None = None
    throttled: bool
    note: Prose | None = Field(default=None, description="what to know of it; a sweep lists here what it found")


class Unavailable(Record):
    """An implementation that a case names and that could not run, with the reason."""

    case: Line
    implementation: Line
    reason: Line


class Run(Record):
    """One recorded run of a benchmark suite: results/<machine>/<suite>.json, written by the bench only."""

    schema_version: Annotated[int, Field(ge=1, le=1)]
    suite: FamilyName
    command: Line
    started: AwareDatetime
    finished: AwareDatetime
    code: Code
    machine: Machine
    ceilings: Ceilings
    measurements: list[Measurement]
    unavailable: list[Unavailable] = []


class Vouched(Record):
    """results/vouched.yaml: the machines whose runs a maintainer recorded, or repeated with `bench --verify`."""

    machines: list[Key] = Field(description="names of folders in results/")
