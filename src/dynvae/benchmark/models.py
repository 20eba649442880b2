"""The models of a benchmark in words, equations and graphs."""

from __future__ import annotations

__all__ = ["cards"]

from collections.abc import Sequence
from html import escape

from dynvae.benchmark.plan import ROWS
from dynvae.benchmark.results import dependencies_of
from dynvae.report import html
from dynvae.report.graphs import dependency_figure


def cards(rows: Sequence[str]) -> str:
    """A piece of HTML for each row: name, source, equations, the exact posterior's structure, and both graphs."""
    return "\n".join(_card(name) for name in rows)


def _card(name: str) -> str:
    row, declared = ROWS[name], dependencies_of(name)
    source = f"{row.kind.title} ({row.kind.paper})"
    if row.init:  # the graph is that of the row it starts from
        source += f", {ROWS[row.init].title} trained on with scheduled sampling"
        return f"<h3>{escape(row.title)}</h3><p>{escape(source)}.</p>"
    equations = f"{declared.equations()}\n\nexact posterior:\n{declared.exact_posterior().text()}"
    drawn = html.figure_of(
        dependency_figure({row.title: declared}), f"Graphs of {row.title}: generative model and inference model"
    )
    return f"<h3>{escape(row.title)}</h3><p>{escape(source)}.</p><pre>{escape(equations)}</pre>{drawn}"
