"""The figures of the home page: papers over time, what they save, and the taxonomy by its papers."""

from collections import Counter
from textwrap import wrap

from scripts.catalogue.vocabulary import AREAS, RESOURCES
from scripts.website.derive import Derived, effective_saves
from scripts.website.figures import Cell, FigureView
from scripts.website.views import TechniqueView

LETTERS = 11
"""How many letters stand beside each other in one unit of the treemap's width."""

Box = tuple[float, float, float, float]


def catalogue_figures(derived: Derived, tree: list[TechniqueView]) -> list[FigureView]:
    """The figures of the home page."""
    return [papers_by_year(derived), savings(derived), taxonomy(tree)]


def papers_by_year(derived: Derived) -> FigureView:
    """Papers by first public year, stacked by the area of their main technique."""
    counts = Counter((_area(entry.paper.techniques[0]), entry.paper.year) for entry in derived.newest)
    years = sorted({year for _, year in counts})
    areas = sorted(AREAS, key=lambda area: -sum(counts[area, year] for year in years))
    bars = [
        {
            "type": "bar",
            "name": AREAS[area].title,
            "x": years,
            "y": [counts[area, year] for year in years],
            "meta": {"hue": AREAS[area].hue},
            "hovertemplate": "%{x}: %{y} papers<extra>%{fullData.name}</extra>",
        }
        for area in areas
    ]
    layout = {
        "barmode": "stack",
        "yaxis": {"title": {"text": "papers"}},
        "xaxis": {"title": {"text": "first public year"}},
    }
    totals = Counter(entry.paper.year for entry in derived.newest)
    peak = max(totals, key=lambda year: (totals[year], year), default=0)
    largest = AREAS[areas[0]].title
    return FigureView(
        id="papers-by-year",
        title="Papers over time, by area",
        summary=f"Most papers are of {peak} ({totals[peak]:,}); the largest area is {largest}."
        " The last year is not complete.",
        source=_source(derived),
        columns=["year", *(AREAS[area].title for area in areas), "all"],
        rows=[[(str(year), f"years/{year}/"), *(counts[area, year] for area in areas), totals[year]] for year in years],
        figure={"data": bars, "layout": layout},
    )


def taxonomy(tree: list[TechniqueView]) -> FigureView:
    """The taxonomy as a treemap: one rectangle a node, its area the papers filed there, leading to its page."""
    nodes = {area.slug: [node for node in area.flat() if node.count] for area in tree}
    total = sum(node.count for group in nodes.values() for node in group)
    areas = [area for area in sorted(tree, key=lambda area: -area.count_below) if nodes[area.slug]]
    boxes = squarify([area.count_below for area in areas], 0.0, 0.0, 16.0, 10.0)
    bars = []
    for area, (x, y, width, height) in zip(areas, boxes, strict=True):
        group = sorted(nodes[area.slug], key=lambda node: -node.count)
        inner = squarify([node.count for node in group], x, y, width, height)
        bars.append(
            {
                "type": "bar",
                "name": area.title,
                "x": [round(left + w / 2, 3) for left, _, w, _ in inner],
                "width": [round(w, 3) for _, _, w, _ in inner],
                "base": [round(bottom, 3) for _, bottom, _, _ in inner],
                "y": [round(h, 3) for _, _, _, h in inner],
                "text": [_label(node, w) for node, (_, _, w, _) in zip(group, inner, strict=True)],
                "hovertext": [f"{node.title}: {node.count}" for node in group],
                "customdata": [node.href for node in group],
                "hovertemplate": "%{hovertext} papers<extra>%{fullData.name}</extra>",
                "textposition": "inside",
                "insidetextanchor": "middle",
                "textangle": 0,
                "constraintext": "inside",
                "meta": {"hue": area.hue},
            }
        )
    axis = {"visible": False, "fixedrange": True}
    layout = {
        "barmode": "overlay",
        "bargap": 0,
        "xaxis": axis | {"range": [0, 16]},
        "yaxis": axis | {"range": [0, 10]},
        "meta": {"kind": "treemap"},
    }
    largest = max((node for group in nodes.values() for node in group), key=lambda node: node.count, default=None)
    reading = "Nothing filed."
    if largest:
        reading = f"{total:,} filings; the largest node is {largest.title} with {largest.count}."
    rows: list[list[Cell]] = [
        [(node.title, node.href), area.title, node.count]
        for area in areas
        for node in sorted(nodes[area.slug], key=lambda node: -node.count)
    ]
    return FigureView(
        id="taxonomy",
        title="The taxonomy, by papers",
        summary=f"{reading} A paper filed under two techniques counts in both.",
        source="Taxonomy after arXiv:2401.08092, with nodes of our own",
        columns=["technique", "area", "papers"],
        rows=rows,
        figure={"data": bars, "layout": layout},
    )


def _label(node: TechniqueView, width: float) -> str:
    """Title and count, broken into lines that fit a rectangle of this width where the figure is as wide as a desk's."""
    return "<br>".join([*wrap(node.title, max(9, int(LETTERS * width)), break_long_words=False), str(node.count)])


def savings(derived: Derived) -> FigureView:
    """Which resources are saved where: papers per resource and area."""
    pages = derived.catalogue.pages
    counts = Counter(
        (resource, _area(entry.paper.techniques[0]))
        for entry in derived.newest
        for resource in effective_saves(entry, pages)[0]
    )
    areas = [area for area in AREAS if any(counts[resource, area] for resource in RESOURCES)]
    resources = sorted(RESOURCES, key=lambda resource: sum(counts[resource, area] for area in areas))
    most, titles = max(counts.values(), default=1), [AREAS[area].title for area in areas]
    points = [
        {
            "type": "scatter",
            "name": AREAS[area].title,
            "mode": "markers+text",
            "x": [AREAS[area].title for resource in resources if counts[resource, area]],
            "y": [resource for resource in resources if counts[resource, area]],
            "text": [str(counts[resource, area]) for resource in resources if counts[resource, area]],
            "textposition": "middle right",
            "marker": {
                # area of the disc in proportion to the count, largest 44 px across
                "size": [round(44 * (n / most) ** 0.5, 1) for resource in resources if (n := counts[resource, area])]
            },
            "meta": {"hue": AREAS[area].hue},
            "hovertemplate": "%{text} papers save %{y}<extra>%{fullData.name}</extra>",
        }
        for area in areas
    ]
    layout = {
        "showlegend": False,
        "xaxis": {
            "type": "category",
            "range": [-0.6, len(areas) - 0.3],  # room for the numbers beside the last discs
            "tickvals": titles,
            "ticktext": [title.replace(" ", "<br>") for title in titles],
            "tickangle": 0,
        },
        "yaxis": {"type": "category", "categoryorder": "array", "categoryarray": resources},
    }
    top = max(counts, key=lambda pair: (counts[pair], pair), default=("", ""))
    return FigureView(
        id="savings",
        title="Which resources are saved where",
        summary=f"The commonest saving is {top[0]} in {AREAS[top[1]].title.lower()} ({counts[top]:,} papers)."
        if counts
        else "Nothing filed.",
        source=_source(derived) + "; where a paper does not say, its main technique's savings count",
        columns=["resource", *(AREAS[area].title for area in areas)],
        rows=[[resource, *(counts[resource, area] for area in areas)] for resource in reversed(resources)],
        figure={"data": points, "layout": layout},
    )


def squarify(sizes: list[int], x: float, y: float, width: float, height: float) -> list[Box]:
    """Rectangles (x, y, width, height) with areas in proportion to `sizes` (descending), as square as can be.

    The algorithm of Bruls, Huizing and van Wijk (2000): fill rows along the shorter side while that improves the
    worst aspect ratio.
    """
    scale = width * height / sum(sizes) if sizes else 0.0
    areas = [size * scale for size in sizes]
    boxes: list[Box] = []
    while areas:
        side = min(width, height)
        count = 1
        while count < len(areas) and _worst(areas[: count + 1], side) <= _worst(areas[:count], side):
            count += 1
        row, areas = areas[:count], areas[count:]
        depth = sum(row) / side
        offset = 0.0
        for area in row:
            length = area / depth
            boxes.append((x, y + offset, depth, length) if width >= height else (x + offset, y, length, depth))
            offset += length
        if width >= height:
            x, width = x + depth, width - depth
        else:
            y, height = y + depth, height - depth
    return boxes


def _worst(row: list[float], side: float) -> float:
    """The worst aspect ratio in a row of areas laid along a side."""
    depth = sum(row) / side
    return max(max(area / depth / depth, depth * depth / area) for area in row)


def _area(slug: str) -> str:
    return slug.partition("/")[0]


def _source(derived: Derived) -> str:
    return f"{len(derived.newest):,} papers of this catalogue"
