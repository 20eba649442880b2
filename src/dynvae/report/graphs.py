"""Drawn graphs of declared dependencies: a time slice and its neighbours, as in textbooks."""

from __future__ import annotations

__all__ = ["dependency_figure", "draw_graph"]

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from dynvae.dependencies import Dependencies
from dynvae.dependencies.equations import LATEX
from dynvae.dependencies.notation import Node
from dynvae.errors import require
from dynvae.report.style import COLOURS, INK, axes, figure

_COLUMN, _ROW, _RADIUS = 2.0, 1.7, 0.36
_WIDTH = (-1.1, 2 * _COLUMN + 1.1)
_MARGIN = 0.78  # above and below the circles' centres: the long arrows of a row bend into it
_FIRST = 2  # the frames 2, 3 and 4 of five are drawn as t-1, t and t+1
_FRAMES = range(_FIRST, _FIRST + 3)
_SHADE = {"latent": "#ffffff", "observation": "#c9ced6", "input": "#f3e3c8"}
_LABEL = {_FIRST: "t-1", _FIRST + 1: "t", _FIRST + 2: "t+1"}


class _Place(NamedTuple):
    x: float
    y: float
    kind: str


def draw_graph(dependencies: Dependencies, ax: Any = None, *, inference: bool = False) -> Any:
    """Draw the graph of a model over the frames t-1, t and t+1.

    Observations are shaded and stand below the latents; a sequence-level latent stands above both, inputs from
    outside below. Arrows have the colour of what they come from; those of the inference model are dashed.

    Args:
        dependencies: the declaration.
        ax: axes to draw on; new ones by default.
        inference: draw what the posterior sees instead of the generative model.

    Returns:
        The axes; ``ax.figure`` is the figure.
    """
    ax = axes(ax, 4.4, 3.4)
    places = _places(dependencies)
    circle = require("matplotlib.patches", "report").Circle
    circles = {}
    for (symbol, frame), place in places.items():
        node = circle((place.x, place.y), _RADIUS, facecolor=_SHADE[place.kind], edgecolor=INK[False], lw=1.1, zorder=3)
        circles[symbol, frame] = ax.add_patch(node)
        subscript = "" if frame is None else f"_{{{_LABEL[frame]}}}"
        ax.text(
            place.x, place.y, rf"$\mathbf{{{symbol}}}{subscript}$", ha="center", va="center", zorder=4,
            fontsize=11, math_fontfamily="cm", color=INK[False], gid="own",
        )  # fmt: skip
    edges = _inference_edges(dependencies) if inference else _generative_edges(dependencies)
    colours = _colours(dependencies)
    for parent, child in edges:
        if parent in places and child in places:
            _arrow(ax, circles, places, parent, child, colours[parent[0]], dashed=inference)
    for y in sorted({place.y for (_, frame), place in places.items() if frame is not None}):
        for x in (-0.8, 2 * _COLUMN + 0.8):
            ax.text(x, y, r"$\cdots$", ha="center", va="center", fontsize=13, color="#8a929e", gid="own")
    ax.set(xlim=_WIDTH, ylim=_height(places), aspect="equal")
    ax.set_axis_off()
    return ax


def dependency_figure(models: Mapping[str, Dependencies]) -> Any:
    """A row a model: its generative and its inference graph, with the formula of each.

    Args:
        models: declarations by name.

    Returns:
        The figure.
    """
    # Panels of five inches: their scale, and with it the height of each row, follows from the width.
    scale = 4.6 / (_WIDTH[1] - _WIDTH[0])
    heights = [scale * (high - low) + 0.5 for low, high in (_height(_places(each)) for each in models.values())]
    fig = figure(10.0, sum(heights))
    grid = fig.subplots(len(models), 2, squeeze=False, height_ratios=heights)
    for row, (name, dependencies) in zip(grid, models.items(), strict=True):
        for ax, formula, inference in zip(row, dependencies.formulas(LATEX), (False, True), strict=True):
            draw_graph(dependencies, ax, inference=inference)
            ax.set_title(f"${formula}$", fontsize=9, math_fontfamily="cm")
        row[0].text(
            0.0, 0.5, name, transform=row[0].transAxes, rotation=90, ha="right", va="center",
            fontsize=12, fontweight="bold",
        )  # fmt: skip
    return fig


def _places(dependencies: Dependencies) -> dict[Node, _Place]:
    z, v = dependencies.latent, dependencies.sequence_latent
    places: dict[Node, _Place] = {}
    for column, frame in enumerate(_FRAMES):
        places[z, frame] = _Place(column * _COLUMN, _ROW, "latent")
        places["x", frame] = _Place(column * _COLUMN, 0.0, "observation")
    for row, span in enumerate(dependencies.inputs, 1):
        if span.start is None:
            places[span.symbol, None] = _Place(_COLUMN / 2, -row * _ROW, "input")
        else:
            for column, frame in enumerate(_FRAMES):
                places[span.symbol, frame] = _Place(column * _COLUMN, -row * _ROW, "input")
    if v is not None:
        # Between two columns, so that its arrows to the observations pass between the latents.
        places[v, None] = _Place(_COLUMN / 2, 2 * _ROW + 0.4, "latent")
    return places


def _height(places: Mapping[Node, _Place]) -> tuple[float, float]:
    heights = [place.y for place in places.values()]
    return min(heights) - _MARGIN, max(heights) + _MARGIN


def _generative_edges(dependencies: Dependencies) -> list[tuple[Node, Node]]:
    return list(dependencies.graph(_FRAMES[-1] + 1).edges)


def _inference_edges(dependencies: Dependencies) -> list[tuple[Node, Node]]:
    def edges() -> Iterator[tuple[Node, Node]]:
        T = _FRAMES[-1] + 1
        for t in _FRAMES:
            for node in dependencies.parents("posterior").nodes(t, T):
                yield node, (dependencies.latent, t)
        if dependencies.sequence_latent is not None:
            for node in dependencies.parents("sequence_posterior").nodes(1, T):
                yield node, (dependencies.sequence_latent, None)

    return sorted(edges(), key=str)


def _colours(dependencies: Dependencies) -> dict[str, str]:
    inputs = {span.symbol: COLOURS[4] for span in dependencies.inputs}
    colours = {dependencies.latent: COLOURS[0], "x": COLOURS[1], **inputs}
    if dependencies.sequence_latent is not None:
        colours[dependencies.sequence_latent] = COLOURS[2]
    return colours


def _arrow(
    ax: Any,
    circles: Mapping[Node, Any],
    places: Mapping[Node, _Place],
    parent: Node,
    child: Node,
    colour: str,
    *,
    dashed: bool,
) -> None:
    start, end = places[parent], places[child]
    patch = require("matplotlib.patches", "report").FancyArrowPatch(
        (start.x, start.y), (end.x, end.y), patchA=circles[parent], patchB=circles[child], shrinkA=1, shrinkB=1.5,
        connectionstyle=f"arc3,rad={_bend(start, end)}", arrowstyle="-|>", mutation_scale=10, lw=1.2,
        linestyle=(0, (3.5, 2)) if dashed else "-", color=colour, zorder=2,
    )  # fmt: skip
    ax.add_patch(patch)


def _bend(start: _Place, end: _Place) -> float:
    """Curvature of an arrow: long ones go round the circles between their ends; those along a row go outward."""
    right, up = end.x > start.x, end.y > start.y
    if start.x == end.x:
        return 0.3 if abs(end.y - start.y) > 1.5 * _ROW else 0.0
    if abs(end.x - start.x) < 1.9 * _COLUMN:
        return 0.0
    if start.y == end.y:
        return -0.33 if (start.y > 0) == right else 0.33
    return -0.1 if up == right else 0.1
