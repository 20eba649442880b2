"""The field's notation for what a factor sees: ``"z[1:t-1], x[1:T]"``."""

from __future__ import annotations

__all__ = ["Node", "Parents", "Span", "generalize"]

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from dynvae.errors import ConfigError

_NAME = r"[^\W\d_][^\W_]*"
_END = r"1|T|t(?:[+-]\d+)?"
_SPAN = re.compile(rf"(?P<symbol>{_NAME})(?:\[(?P<start>{_END})(?::(?P<stop>{_END}))?\])?")

End = int | str
"""An end of a span: an offset from t, or the first frame ``"1"``, or the last frame ``"T"``."""

Node = tuple[str, int | None]
"""A variable and its frame, counted from 1; None for a variable of the sequence."""


@dataclass(frozen=True)
class Span:
    """Some frames of one variable, relative to the frame t; or a whole variable that has no frames.

    Attributes:
        symbol: the variable.
        start: its first frame: an offset from t, or ``"1"``; None for a variable of the sequence.
        stop: its last frame: an offset from t, or ``"T"``; None for a variable of the sequence.
    """

    symbol: str
    start: End | None = None
    stop: End | None = None

    @classmethod
    def parse(cls, text: str) -> Span:
        """Read one span, e.g. ``z[t]``, ``x[1:t-1]``, ``x[t:T]``, or ``v`` for a variable of the sequence.

        Raises:
            ConfigError: the text is not a span, or one without frames.
        """
        found = _SPAN.fullmatch(text)
        if not found or found["symbol"] in ("t", "T"):
            raise ConfigError(f"'{text}' is no span; write z[t], z[t-1], z[1:t-1], x[t:T], x[1:T] and the like, or v")
        if found["start"] is None:
            return cls(found["symbol"])
        start, stop = _end(found["start"]), _end(found["stop"] or found["start"])
        if start == "T" or stop == "1":
            raise ConfigError(f"'{text}' is no span: it must begin at 1 or t, and end at t or T")
        if isinstance(start, int) and isinstance(stop, int) and start > stop:
            raise ConfigError(f"'{text}' is no span: it ends before it begins")
        return cls(found["symbol"], start, stop)

    @property
    def past(self) -> bool:
        """Whether it ends before frame t."""
        return isinstance(self.stop, int) and self.stop < 0

    @property
    def future(self) -> bool:
        """Whether it reaches beyond frame t."""
        return self.stop == "T" or (isinstance(self.stop, int) and self.stop > 0)

    @property
    def reach(self) -> int:
        """The largest offset from t among its ends."""
        return max((abs(end) for end in (self.start, self.stop) if isinstance(end, int)), default=0)

    def nodes(self, t: int, T: int) -> list[Node]:
        """What it covers at frame t of a sequence of T."""
        if self.start is None or self.stop is None:
            return [(self.symbol, None)]
        first = t + self.start if isinstance(self.start, int) else 1
        last = t + self.stop if isinstance(self.stop, int) else T
        return [(self.symbol, frame) for frame in range(max(first, 1), min(last, T) + 1)]

    @property
    def subscript(self) -> str:
        """E.g. ``1:t-1``; empty for a variable of the sequence."""
        if self.start is None:
            return ""
        ends = [_name(end) for end in (self.start, self.stop)]
        return ends[0] if ends[0] == ends[1] else ":".join(ends)

    def __str__(self) -> str:
        return self.symbol if self.start is None else f"{self.symbol}[{self.subscript}]"


@dataclass(frozen=True)
class Parents:
    """The variables that a factor at frame t sees.

    Example:
        >>> sorted(Parents.parse("z[t-1], x[1:T]").nodes(t=2, T=3))
        [('x', 1), ('x', 2), ('x', 3), ('z', 1)]
    """

    spans: tuple[Span, ...] = ()

    @classmethod
    @functools.cache
    def parse(cls, text: str) -> Parents:
        """Read spans that are separated by commas; an empty text has none.

        Raises:
            ConfigError: a part is not a span.
        """
        parts = [re.sub(r"\s*([\[\]:+-])\s*", r"\1", part.strip()) for part in text.split(",")] if text.strip() else []
        return cls(tuple(Span.parse(part) for part in parts))

    def of(self, symbol: str) -> tuple[Span, ...]:
        """The spans of one variable."""
        return tuple(span for span in self.spans if span.symbol == symbol)

    def nodes(self, t: int, T: int) -> set[Node]:
        """What is seen at frame t of a sequence of T."""
        return {node for span in self.spans for node in span.nodes(t, T)}

    def __iter__(self) -> Iterator[Span]:
        return iter(self.spans)

    def __bool__(self) -> bool:
        return bool(self.spans)

    def __str__(self) -> str:
        return ", ".join(map(str, self.spans))


def generalize(nodes: set[Node], t: int, T: int) -> Parents:
    """The spans that some nodes stand for, as seen from frame t of T; t must be far from both ends.

    Example:
        >>> print(generalize({("x", frame) for frame in (1, 2, 3, 4, 7)}, t=5, T=9))
        x[1:t-1], x[t+2]
    """
    spans = [Span(symbol) for symbol, frame in nodes if frame is None]
    runs: list[tuple[str, list[int]]] = []
    for symbol, frame in sorted((symbol, frame) for symbol, frame in nodes if frame is not None):
        if runs and runs[-1][0] == symbol and runs[-1][1][-1] == frame - 1:
            runs[-1][1].append(frame)
        else:
            runs.append((symbol, [frame]))
    for symbol, run in runs:
        spans.append(Span(symbol, "1" if run[0] == 1 else run[0] - t, "T" if run[-1] == T else run[-1] - t))
    return Parents(tuple(spans))


def _end(text: str) -> End:
    return text if text in ("1", "T") else int(text[1:] or 0)


def _name(end: End | None) -> str:
    return f"t{end:+d}" if isinstance(end, int) and end else "t" if end == 0 else str(end)
