"""Formulas from declarations, in Unicode and in LaTeX."""

from __future__ import annotations

__all__ = ["LATEX", "TEXT", "Style", "write_joint", "write_posterior"]

from collections.abc import Callable
from dataclasses import dataclass

from dynvae.dependencies.notation import Parents

_SUBSCRIPTS = str.maketrans("0123456789t+-", "₀₁₂₃₄₅₆₇₈₉ₜ₊₋")


@dataclass(frozen=True)
class Style:
    """How formulas are written: a variable with its subscript, the bar, the product over frames, a thin space."""

    variable: Callable[[str, str], str]
    given: str
    product: str
    gap: str

    def law(self, name: str, head: str, parents: Parents) -> str:
        """``name(head | parents)``, without the bar where nothing is seen."""
        seen = ", ".join(self.variable(span.symbol, span.subscript) for span in parents)
        return f"{name}({head}{self.given}{seen})" if seen else f"{name}({head})"


TEXT = Style(lambda symbol, subscript: symbol + subscript.translate(_SUBSCRIPTS), " | ", "∏ₜ ", " ")
LATEX = Style(
    lambda symbol, subscript: rf"\mathbf{{{symbol}}}" + (f"_{{{subscript}}}" if subscript else ""),
    r" \mid ",
    r"\prod_{t=1}^{T} ",
    r"\, ",
)


def write_joint(
    style: Style,
    *,
    latent: str,
    prior: Parents,
    likelihood: Parents,
    sequence_latent: str | None,
    inputs: Parents,
    equals: str = " = ",
) -> str:
    """``p(x[1:T], z[1:T], v) = p(v) ∏_t p(x_t | ...) p(z_t | ...)``."""
    head, first = _latents(style, "p", latent, sequence_latent, Parents())
    x = style.law("p", style.variable("x", "t"), likelihood)
    z = style.law("p", style.variable(latent, "t"), prior)
    joint = style.law("p", f"{style.variable('x', '1:T')}, {head}", inputs)
    return joint + equals + first + style.product + x + style.gap + z


def write_posterior(
    style: Style,
    name: str,
    *,
    latent: str,
    parents: Parents,
    sequence_latent: str | None,
    sequence_parents: Parents,
    inputs: Parents,
    equals: str = " = ",
) -> str:
    """``q(z[1:T], v | x[1:T]) = q(v | ...) ∏_t q(z_t | ...)``; by the name of ``p`` for the exact posterior."""
    head, first = _latents(style, name, latent, sequence_latent, sequence_parents)
    whole = style.law(name, head, Parents((*Parents.parse("x[1:T]"), *inputs)))
    return whole + equals + first + style.product + style.law(name, style.variable(latent, "t"), parents)


def _latents(style: Style, name: str, latent: str, sequence_latent: str | None, parents: Parents) -> tuple[str, str]:
    """All latents as the joint law lists them, and the factor of the sequence-level one."""
    head = style.variable(latent, "1:T")
    if sequence_latent is None:
        return head, ""
    v = style.variable(sequence_latent, "")
    return f"{head}, {v}", style.law(name, v, parents) + style.gap
