"""Recurrent programs: what a model computes at each frame, as data.

A program is a set of operations on variables. A variable has a value at every frame, ``(batch, time, width)``; an
operation says how its variable follows from others at the same frame, at the frame before (:func:`past`) or at the
frame after (:func:`future`). Nothing says in which order things are computed, nor what is known beforehand: that
follows when the program is run (:mod:`dynvae.recurrence.schedule`), so that one program serves training, teacher
forcing, free running and generation.
"""

from __future__ import annotations

__all__ = [
    "Cell", "Dropout", "Gates", "Last", "Linear", "Map", "Mask", "Operation", "Product", "Program", "Read", "Sample",
    "Signal", "future", "past", "width",
]  # fmt: skip

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal


@dataclass(frozen=True)
class Read:
    """Some columns of a variable: at the same frame, ``delay`` frames before it, or after it if negative.

    Before the first frame and after the last, a variable has its initial value: zero, unless the run gives another.
    """

    name: str
    start: int
    stop: int
    delay: int = 0

    @property
    def width(self) -> int:
        """The number of columns."""
        return self.stop - self.start


Signal = tuple[Read, ...]
"""Columns of variables side by side: what an operation takes."""


def past(signal: Signal) -> Signal:
    """The signal one frame before; zero at the first frame."""
    return tuple(replace(read, delay=read.delay + 1) for read in signal)


def future(signal: Signal) -> Signal:
    """The signal one frame after; zero at the last frame."""
    return tuple(replace(read, delay=read.delay - 1) for read in signal)


def width(signal: Signal) -> int:
    """The number of columns of a signal."""
    return sum(read.width for read in signal)


@dataclass(frozen=True)
class Product:
    """W[:, column : column + read.width] · read, for a weight of the module that the program belongs to."""

    read: Read
    weight: str
    column: int = 0


@dataclass(frozen=True)
class Linear:
    """out = activation(drive + Σ products + Σ biases); ``drive`` is a variable, or None."""

    out: str
    width: int
    products: tuple[Product, ...]
    biases: tuple[str, ...] = ()
    activation: str = "identity"
    drive: str | None = None

    @property
    def reads(self) -> Signal:
        """All that the operation reads."""
        drive = () if self.drive is None else (Read(self.drive, 0, self.width),)
        return drive + tuple(product.read for product in self.products)


@dataclass(frozen=True)
class Cell:
    """out = LSTM, GRU or tanh RNN over the sources, in one direction of time.

    ``parameters`` is the path of a one-layer :class:`torch.nn.LSTM`, ``GRU`` or ``RNN``. An LSTM has a second
    variable, its cell state, ``out.cell``.
    """

    out: str
    width: int
    kind: Literal["lstm", "gru", "rnn"]
    sources: Signal
    parameters: str
    backward: bool = False

    @property
    def reads(self) -> Signal:
        """All that the operation reads: the sources and its own state, one frame before (or after)."""
        delay = -1 if self.backward else 1
        return (*self.sources, *(Read(name, 0, self.width, delay) for name in self.state))

    @property
    def state(self) -> tuple[str, ...]:
        """The variables that make the state."""
        return (self.out, f"{self.out}.cell") if self.kind == "lstm" else (self.out,)


@dataclass(frozen=True)
class Gates:
    """What an LSTM or GRU makes of its pre-activations: the element-wise half of a :class:`Cell`.

    lstm: i, f, g, o = sources[0]; cell = σ(f) · cell_before + σ(i) · tanh(g); out = σ(o) · tanh(cell).
    gru: r, u, n = the parts of sources[0] (from the input) and sources[1] (from the state), added for r and u;
    out = (1 - σ(u)) · tanh(n_input + σ(r) · n_state) + σ(u) · out_before.
    """

    out: str
    width: int
    kind: Literal["lstm", "gru"]
    sources: Signal
    before: Read
    """The cell state (lstm) or the output (gru) at the frame before, in the direction of time."""

    @property
    def reads(self) -> Signal:
        """All that the operation reads."""
        return (*self.sources, self.before)


@dataclass(frozen=True)
class Sample:
    """out = mean + exp(½ log_variance) · noise, the log-variance bounded as everywhere."""

    out: str
    width: int
    mean: Read
    log_variance: Read
    noise: str

    @property
    def reads(self) -> Signal:
        """All that the operation reads."""
        return (self.mean, self.log_variance, Read(self.noise, 0, self.width))


@dataclass(frozen=True)
class Map:
    """out = function(sources), element by element; for the functions see :mod:`dynvae.recurrence.functions`."""

    out: str
    width: int
    function: str
    sources: Signal

    @property
    def reads(self) -> Signal:
        """All that the operation reads."""
        return self.sources


@dataclass(frozen=True)
class Dropout:
    """out = source with some units zeroed and the others scaled up, in training; the source otherwise."""

    out: str
    width: int
    source: Read
    probability: float

    @property
    def reads(self) -> Signal:
        """All that the operation reads."""
        return (self.source,)


@dataclass(frozen=True)
class Mask:
    """out = what a dropout multiplies with, drawn for all frames beforehand."""

    out: str
    width: int
    probability: float

    @property
    def reads(self) -> Signal:
        """Nothing."""
        return ()


@dataclass(frozen=True)
class Last:
    """out = the source at the last frame of each sequence, or at its first: one value for the whole sequence."""

    out: str
    width: int
    source: Read
    first: bool = False

    @property
    def reads(self) -> Signal:
        """All that the operation reads."""
        return (self.source,)


Operation = Linear | Cell | Gates | Sample | Map | Dropout | Mask | Last


@dataclass(frozen=True, eq=False)
class Program:
    """Operations by the name of the variable that they define.

    A given variable may also have one value a sequence, ``(batch, width)``, and so has what is made of such variables.

    Attributes:
        operations: what defines each variable; a variable without operation is given when the program is run.
        schedules: the schedules made so far, by what was known and wanted.
    """

    operations: dict[str, Operation]
    schedules: dict[Any, Any] = field(default_factory=dict, repr=False)

    def definition(self, name: str) -> Operation | None:
        """The operation that defines a variable, None if it is given: an LSTM defines two."""
        return self.operations.get(name) or self.operations.get(name.removesuffix(".cell"))

    def extended(self, operations: Iterable[Operation]) -> Program:
        """The program with more operations; one that defines a variable anew takes the old one's place."""
        return Program(self.operations | {op.out: op for op in operations})
