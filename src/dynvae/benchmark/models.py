"""The models of a benchmark in words, equations and graphs."""

from __future__ import annotations

__all__ = ["cards"]

from collections.abc import Sequence
from html import escape

from dynvae.benchmark.plan import ROWS


def cards(rows: Sequence[str]) -> str:
    """A piece of HTML for each row."""
    return "".join(
        f"<h3>{escape(ROWS[name].title)}</h3><p>{escape(ROWS[name].kind.title)} ({escape(ROWS[name].kind.paper)})</p>"
        for name in rows
    )
