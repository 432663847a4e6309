"""Draw the timeline of a recorded run under two policies: `python -m scripts.draw_schedule`; `--record` runs it anew.

The drawing beside the page on scheduling is made from the file beside it alone, which a run of the real engine wrote; a
test holds that drawing and file agree. Drawing needs no torch, recording does.
"""

import argparse
import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parents[1] / "techniques/systems/serving-cloud/schedule-timeline.svg"
SOURCE = TARGET.with_suffix(".json")
TITLES = {"fcfs": "First come, first served", "fastserve": "Skip-join feedback queue"}
COMMAND = "python -m scripts.draw_schedule --record"
LEFT, WIDTH, ROW, TOP = 92, 528, 19, 62
Span = tuple[float, float, bool]
"""Begin, end, whether a prompt passed."""


def load() -> dict[str, Any]:
    """What was recorded."""
    found: dict[str, Any] = json.loads(SOURCE.read_text("utf-8"))
    return found


def spans(recorded: dict[str, Any], policy: str) -> dict[int, list[Span]]:
    """When each request ran; iterations that follow at once are one span."""
    left = {one["id"]: one["prompt"] for one in recorded["requests"]}
    ran: dict[int, list[Span]] = {number: [] for number in left}
    for start, end, members in recorded["runs"][policy]:
        for number, tokens in members:
            is_prompt = left[number] > 0
            left[number] -= tokens
            last = ran[number][-1] if ran[number] else None
            if last and last[1:] == (start, is_prompt):
                ran[number][-1] = (last[0], end, is_prompt)
            else:
                ran[number].append((start, end, is_prompt))
    return ran


def per_token_s(recorded: dict[str, Any], ran: dict[int, list[Span]]) -> float:
    """Completion time over tokens of the answer, the mean of all requests."""
    every = recorded["requests"]
    taken: list[float] = [(ran[one["id"]][-1][1] - one["arrival_s"]) / one["output"] for one in every]
    return sum(taken) / len(taken)


def source_of(recorded: dict[str, Any]) -> str:
    """Which run it is, as the page says it."""
    return f"{recorded['recorded'][:10]}, {recorded['machine']['name']}, commit {recorded['code']['commit'][:7]}"


def draw(recorded: dict[str, Any]) -> str:
    """The drawing."""
    found = {policy: spans(recorded, policy) for policy in TITLES}
    end = max(one[-1][1] for ran in found.values() for one in ran.values())
    rows, slots = len(recorded["requests"]), recorded["workload"]["batch"]
    height = TOP + len(found) * (rows * ROW + 62) - 34
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 {height}">',
        f"  <title>When {rows} requests ran on {slots} slots, in order of arrival and by a feedback queue</title>",
        f"  <desc>{_told(recorded, found)}</desc>",
        *_legend(("c2", "prompt"), ("c1", "answer"), ("faint", "waiting")),
        '  <text class="muted" x="620" y="21" font-size="14" text-anchor="end">prompt + answer, in tokens</text>',
    ]
    for number, (policy, ran) in enumerate(found.items()):
        top = TOP + number * (rows * ROW + 62)
        lines += _chart(recorded, TITLES[policy], ran, top, WIDTH / end)
    return "\n".join([*lines, "</svg>", ""])


def _legend(*kinds: tuple[str, str]) -> Iterator[str]:
    for place, (kind, word) in enumerate(kinds):
        x = 20 + 96 * place
        yield f'  <rect class="{kind}" x="{x}" y="10" width="16" height="12"/>'
        yield f'  <text class="ink" x="{x + 22}" y="21" font-size="14">{word}</text>'


def _told(recorded: dict[str, Any], found: dict[str, dict[int, list[Span]]]) -> str:
    said = [f"{TITLES[policy]}: {_summary(recorded, ran)}" for policy, ran in found.items()]
    return f"A recorded run of the engine on the tiny model: {source_of(recorded)}. {'; '.join(said)}."


def _summary(recorded: dict[str, Any], ran: dict[int, list[Span]]) -> str:
    last = max(one[-1][1] for one in ran.values())
    return f"{1000 * per_token_s(recorded, ran):.1f} ms a token, last end {1000 * last:.0f} ms"


def _chart(recorded: dict[str, Any], title: str, ran: dict[int, list[Span]], top: int, scale: float) -> Iterator[str]:
    """scale: units a second."""
    yield f'  <text class="ink" x="20" y="{top - 12}" font-size="15">{title}: {_summary(recorded, ran)}</text>'
    for row, one in enumerate(recorded["requests"]):
        y, own = top + row * ROW, ran[one["id"]]
        yield f'  <text class="ink" x="20" y="{y + 12}" font-size="14">{chr(ord("A") + row)}</text>'
        lengths = f"{one['prompt']} + {one['output']}"
        yield f'  <text class="muted" x="{LEFT - 6}" y="{y + 12}" font-size="12" text-anchor="end">{lengths}</text>'
        yield _bars("faint", [(one["arrival_s"], own[-1][1])], y, scale)
        for kind, wanted in (("c2", True), ("c1", False)):
            if bars := [(start, end) for start, end, is_prompt in own if is_prompt == wanted]:
                yield _bars(kind, bars, y, scale)
    bottom = top + len(recorded["requests"]) * ROW + 2
    yield f'  <line class="ink" x1="{LEFT}" y1="{bottom}" x2="{LEFT + WIDTH}" y2="{bottom}"/>'
    apart = next(step for n in count() for step in (10**n, 2 * 10**n, 5 * 10**n) if step * scale / 1000 >= 64)
    for at in range(0, int(1000 * WIDTH / scale) + 1, apart):
        x = LEFT + at * scale / 1000
        yield f'  <text class="muted" x="{x:.1f}" y="{bottom + 17}" font-size="14" text-anchor="middle">{at} ms</text>'


def _bars(kind: str, bars: list[tuple[float, float]], y: int, scale: float) -> str:
    """All of one kind in a row, as one path."""
    drawn = ((LEFT + start * scale, (end - start) * scale) for start, end in bars)
    path = "".join(f"M{x:.1f} {y}h{width:.1f}v{ROW - 5}h{-width:.1f}z" for x, width in drawn)
    return f'  <path class="{kind}" d="{path}"/>'


def written(recorded: dict[str, Any]) -> str:
    """JSON with a line for each request and each iteration."""
    head = {key: value for key, value in recorded.items() if key not in ("requests", "runs")}
    lines = [json.dumps(head, indent=1)[:-2] + ","]
    rows = ",\n".join(f"  {json.dumps(one)}" for one in recorded["requests"])
    lines.append(f' "requests": [\n{rows}\n ],\n "runs": {{')
    runs = []
    for name, iterations in recorded["runs"].items():
        steps = ",\n".join(f"   {json.dumps(one, separators=(',', ':'))}" for one in iterations)
        runs.append(f'  "{name}": [\n{steps}\n  ]')
    return "\n".join([*lines, ",\n".join(runs), " }", "}", ""])


def main() -> int:
    """Record if asked to, and write the drawing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="run the engine on the tiny model first")
    if parser.parse_args().record:
        from scripts.record_schedule import record  # needs torch

        SOURCE.write_text(written(record(COMMAND)), "utf-8")
    TARGET.write_text(draw(load()), "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
