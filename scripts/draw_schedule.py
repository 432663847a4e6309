"""Draw the timeline of a small simulated trace under two policies: `python -m scripts.draw_schedule`.

The drawing beside the page on scheduling is written by this, from the simulation and the numbers below; a test holds
that the two agree. Nothing here needs torch.
"""

from collections.abc import Iterator
from pathlib import Path

from reference_impls.serving import Batch, Limits, Request, Scheduler, fastserve, fcfs
from reference_impls.serving.cost import CostModel
from reference_impls.serving.simulate import simulate

TARGET = Path(__file__).parents[1] / "techniques/systems/serving-cloud/schedule-timeline.svg"
COST = CostModel(a=1.0, b=0.25, c=0.0, d=0.0)
LIMITS = Limits(batch=2)
TRACE = (
    Request(0, 0.0, 4, 14),
    Request(1, 0.0, 4, 16),
    Request(2, 3.0, 2, 2),
    Request(3, 5.0, 2, 3),
    Request(4, 9.0, 6, 5),
    Request(5, 12.0, 2, 2),
)
NAMES = "ABCDEF"
LEFT, WIDTH, ROW, TOP = 54, 560, 19, 62
Span = tuple[float, float, bool]
"""Begin, end, whether a prompt passed."""


def policies() -> dict[str, Scheduler]:
    """What is compared."""
    return {
        "first come, first served": fcfs.Scheduler(),
        "skip-join feedback queue": fastserve.Scheduler(fastserve.Config(quantum_s=1.0, ageing_s=None)),
    }


def spans(scheduler: Scheduler) -> tuple[dict[int, list[Span]], dict[int, float]]:
    """When each request ran, and when it ended."""
    ran: dict[int, list[Span]] = {one.id: [] for one in TRACE}
    seen: set[int] = set()

    def watch(start: float, batch: Batch, _count: int, seconds: float) -> None:
        for job in batch.jobs:
            is_prompt = job.id not in seen
            seen.add(job.id)
            last = ran[job.id][-1] if ran[job.id] else None
            if last and last[1] == start and last[2] == is_prompt:
                ran[job.id][-1] = (last[0], start + seconds, is_prompt)
            else:
                ran[job.id].append((start, start + seconds, is_prompt))

    record = simulate(TRACE, scheduler, COST, LIMITS, observer=watch)
    return ran, {job.id: job.finished_s or 0.0 for job in record.jobs}


def draw() -> str:
    """The drawing."""
    found = {name: spans(scheduler) for name, scheduler in policies().items()}
    end = max(max(ends.values()) for _, ends in found.values())
    height = TOP + len(found) * (len(TRACE) * ROW + 62) - 34
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 {height}">',
        "  <title>When six requests run on two slots, in order of arrival and by a skip-join feedback queue</title>",
        f"  <desc>{_told(found)}</desc>",
        '  <rect class="c2" x="54" y="10" width="16" height="12"/>',
        '  <text class="ink" x="76" y="21" font-size="14">prompt</text>',
        '  <rect class="c1" x="150" y="10" width="16" height="12"/>',
        '  <text class="ink" x="172" y="21" font-size="14">answer</text>',
        '  <rect class="faint" x="246" y="10" width="16" height="12"/>',
        '  <text class="ink" x="268" y="21" font-size="14">waiting</text>',
    ]
    for number, (name, (ran, ends)) in enumerate(found.items()):
        top = TOP + number * (len(TRACE) * ROW + 62)
        lines += _chart(name, ran, ends, top, WIDTH / end)
    return "\n".join([*lines, "</svg>", ""])


def _told(found: dict[str, tuple[dict[int, list[Span]], dict[int, float]]]) -> str:
    """Mean seconds a token, and the time of the last end, of each policy."""
    said = []
    for name, (_, ends) in found.items():
        mean = sum((ends[one.id] - one.arrival_s) / one.output for one in TRACE) / len(TRACE)
        said.append(f"{name}: {mean:.1f} seconds a token on average, the last request ends at {max(ends.values()):.0f}")
    return f"Simulated with 1 s an iteration and 0.25 s a prompt token. {'; '.join(said)}."


def _chart(name: str, ran: dict[int, list[Span]], ends: dict[int, float], top: int, scale: float) -> Iterator[str]:
    mean = sum((ends[one.id] - one.arrival_s) / one.output for one in TRACE) / len(TRACE)
    last = max(ends.values())
    told = f"{name}: {mean:.1f} s a token, last end {last:.0f} s"
    yield f'  <text class="ink" x="{LEFT}" y="{top - 12}" font-size="15">{told}</text>'
    for row, one in enumerate(TRACE):
        y = top + row * ROW
        yield f'  <text class="ink" x="34" y="{y + 12}" font-size="14">{NAMES[row]}</text>'
        yield _bar("faint", one.arrival_s, ends[one.id], y, scale)
        for start, stop, is_prompt in ran[one.id]:
            yield _bar("c2" if is_prompt else "c1", start, stop, y, scale)
    bottom = top + len(TRACE) * ROW + 2
    yield f'  <line class="ink" x1="{LEFT}" y1="{bottom}" x2="{LEFT + WIDTH}" y2="{bottom}"/>'
    for at in range(0, int(last) + 1, 5):
        x = LEFT + at * scale
        yield f'  <text class="muted" x="{x:.1f}" y="{bottom + 17}" font-size="14" text-anchor="middle">{at} s</text>'


def _bar(kind: str, start: float, stop: float, y: int, scale: float) -> str:
    x, width = LEFT + start * scale, (stop - start) * scale
    return f'  <rect class="{kind}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="{ROW - 5}"/>'


def main() -> int:
    """Write the drawing."""
    TARGET.write_text(draw(), "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
