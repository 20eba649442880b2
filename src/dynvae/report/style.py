"""How figures look: sizes, colours, light and dark; no state of matplotlib's is changed."""

from __future__ import annotations

__all__ = ["axes", "dress", "figure", "palette", "png", "save"]

import io
import os
from typing import Any

from dynvae.errors import require
from dynvae.files import atomic_write

COLOURS = ("#3b6fb6", "#d9702b", "#3a9a6d", "#b5507e", "#8567c0", "#a98a1f", "#2c9fb0", "#c94f4f", "#6b7d3a", "#7a6a5f")
"""Ten hues of like lightness, legible on white and on black."""
INK = {False: "#23272e", True: "#d7dbe2"}
FAINT = {False: "#d9dde3", True: "#3a404b"}
PAPER = {False: "#ffffff", True: "#16191f"}


def figure(width: float = 7.0, height: float = 3.2) -> Any:
    """An empty figure, sizes in inches; it belongs to nobody but its caller."""
    fig = require("matplotlib.figure", "report").Figure(figsize=(width, height), dpi=110, layout="constrained")
    fig.get_layout_engine().set(w_pad=0.1, h_pad=0.08)
    return fig


def axes(ax: Any = None, width: float = 7.0, height: float = 3.2) -> Any:
    """The axes to draw on: those given, or new ones in a figure of their own (``ax.figure``)."""
    return figure(width, height).add_subplot() if ax is None else ax


def palette(names: list[str]) -> dict[str, str]:
    """A colour for each name, in their order; after ten they begin again."""
    return {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(names)}


def tidy(ax: Any, grid: str = "y") -> Any:
    """Take away what carries no information: two of the spines, the ticks' marks; leave a faint grid."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(length=0, labelsize=8.5)
    ax.set_axisbelow(True)
    if grid:
        ax.grid(axis=grid, linewidth=0.6)
    ax.xaxis.label.set_size(9)
    ax.yaxis.label.set_size(9)
    ax.title.set_size(10)
    return ax


def dress(fig: Any, dark: bool = False) -> Any:
    """Give a finished figure the colours of a light or a dark page; what shows data keeps its own.

    Args:
        fig: the figure, all drawn.
        dark: for a dark page.
    """
    text = require("matplotlib.text", "report").Text
    fig.set_facecolor(PAPER[dark])
    # A label keeps a colour of its own if its plot gave it one by set_gid("own").
    for label in fig.findobj(text):
        if label.get_gid() != "own":
            label.set_color(INK[dark])
    for ax in fig.axes:
        ax.set_facecolor(PAPER[dark])
        ax.tick_params(colors=INK[dark])
        for spine in ax.spines.values():
            spine.set_color(FAINT[dark])
        for line in (*ax.get_xgridlines(), *ax.get_ygridlines()):
            line.set_color(FAINT[dark])
        legend = ax.get_legend()
        if legend is not None:
            legend.get_frame().set(facecolor=PAPER[dark], edgecolor=FAINT[dark])
    for legend in fig.legends:
        legend.get_frame().set(facecolor=PAPER[dark], edgecolor=FAINT[dark])
    return fig


def png(fig: Any, dark: bool = False) -> bytes:
    """The figure as a PNG file's content, the same bytes each time."""
    buffer = io.BytesIO()
    dress(fig, dark).savefig(buffer, format="png", facecolor=PAPER[dark], metadata={"Software": None})
    return buffer.getvalue()


def save(fig: Any, path: str | os.PathLike[str], dark: bool = False) -> None:
    """Write the figure as PNG, whole or not at all."""
    content = png(fig, dark)
    with atomic_write(path) as temp:
        temp.write_bytes(content)
