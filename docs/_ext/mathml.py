"""Formulas as MathML, which browsers draw themselves: no script, no network, and they can be read out and copied."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError, latex2mathml
from sphinx.util import logging

logger = logging.getLogger(__name__)

_SIZES = re.compile(r"\\[bB]igg?[lrm]?(?![a-z])")  # brackets in MathML grow by themselves


def inline(self: Any, node: nodes.math) -> None:
    """A formula within a line."""
    self.body.append(_mathml(node, node.astext(), block=False))
    raise nodes.SkipNode


def display(self: Any, node: nodes.math_block) -> None:
    """Formulas on lines of their own, with blank lines between them."""
    for text in filter(None, map(str.strip, node.astext().split("\n\n"))):
        if (r"\\" in text or "&" in text) and r"\begin{" not in text:
            text = rf"\begin{{aligned}}{text}\end{{aligned}}"
        self.body.append(f'<div class="math">{_mathml(node, text, block=True)}</div>')
    raise nodes.SkipNode


def _mathml(node: nodes.Element, text: str, *, block: bool) -> str:
    try:
        return str(latex2mathml.tex2mathml(_SIZES.sub("", text).replace("·", r"\cdot "), as_block=block))
    except MathError as error:
        logger.warning("this formula cannot be written as MathML (%s): %s", error, text, location=node)
        return nodes.literal(text, text).astext()


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (inline, None), (display, None))
    return {"parallel_read_safe": True}
