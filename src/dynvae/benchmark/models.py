"""The models of a benchmark in words, equations and graphs."""

from __future__ import annotations

__all__ = ["cards"]

from collections.abc import Sequence
from html import escape

from dynvae.benchmark.plan import ROWS
from dynvae.benchmark.results import dependencies_of


def cards(rows: Sequence[str]) -> str:
    """A piece of HTML for each row: name, source, equations, and the structure of the exact posterior."""
    return "\n".join(_card(name) for name in rows)


def _card(name: str) -> str:
    row, declared = ROWS[name], dependencies_of(name)
    source = f"{row.kind.title} ({row.kind.paper})"
    if row.init:
        source += f", trained on from {ROWS[row.init].title} with scheduled sampling"
    equations = f"{declared.equations()}\n\nexact posterior:\n{declared.exact_posterior().text()}"
    return f"<h3>{escape(row.title)}</h3><p>{escape(source)}</p><pre>{escape(equations)}</pre>"
