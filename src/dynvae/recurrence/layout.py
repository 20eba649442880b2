"""Loops as the compiled executor takes them: arrays of whole numbers, in the structures of :file:`native/program.h`."""

from __future__ import annotations

__all__ = ["STEP_SIZE", "Layout", "WayBack", "by_handle", "layout_of"]

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

from dynvae.native.tracing import constant_when_traced
from dynvae.recurrence.program import Gates, Linear, Map, Operation, Read, Sample
from dynvae.recurrence.schedule import Loop

LINEAR, LSTM, GRU, SAMPLE, MAP = range(5)
ACTIVATIONS = {"identity": 0, "tanh": 1, "sigmoid": 2, "relu": 3, "elu": 4, "leaky_relu": 5}
FUNCTIONS = ACTIVATIONS | {
    "gelu": 16, "silu": 17, "average": 18, "product": 19, "blend": 20, "log_softplus": 21, "power": 22, "log_power": 23,
    "root_power": 24, "standardise": 25, "gain": 26,
}  # fmt: skip
STEP_SIZE = 15
"""How many numbers the structure of a step is; the last of them is where the gradient of its biases goes."""


def layout_of(loop: Loop) -> Layout | None:
    """A loop as the compiled executor takes it; None if that does not know all that the loop does."""
    handle = _handle_of(loop)
    return None if handle < 0 else _by_handle[handle]


def by_handle(handle: int) -> Layout:
    """The loop of a number."""
    return _by_handle[handle]


_by_loop: WeakKeyDictionary[Loop, int] = WeakKeyDictionary()
_by_content: dict[Any, int] = {}
"""Models of the same kind share a layout, so that there are no more than kinds."""
_by_handle: list[Layout] = []
_lock = Lock()


@constant_when_traced
def _handle_of(loop: Loop) -> int:
    if loop in _by_loop:
        return _by_loop[loop]
    with _lock:
        key = (loop.steps, loop.backward, loop.outputs)
        if key not in _by_content:
            known = _is_known(loop)
            _by_content[key] = len(_by_handle) if known else -1
            if known:
                _by_handle.append(Layout(loop, len(_by_handle)))
        _by_loop[loop] = _by_content[key]
        return _by_loop[loop]


def _is_known(loop: Loop) -> bool:
    computed = loop.computed
    for step in loop.steps:
        if any(read.delay and read.name not in computed for read in step.reads):
            return False
        if isinstance(step, Map):
            if step.function not in FUNCTIONS:
                return False
        elif isinstance(step, Linear):
            if step.activation not in ACTIVATIONS:
                return False
        elif not isinstance(step, Gates | Sample):
            return False
    return True


@dataclass(frozen=True)
class WayBack:
    """How to go back for one choice of gradients.

    Attributes:
        wanted: the names of the inputs, initial values (``initial.`` + name) and parameters that want one.
        kept: how each variable's gradient is kept, if it has one: 1 frame of it, 2, or all, "time" or "batch" first.
        shared: inputs whose gradient is that of a linear step.
    """

    wanted: frozenset[str]
    kept: dict[str, int | str]
    shared: dict[str, str]


class Layout:
    """A loop for the compiled executor.

    Attributes:
        handle: its number.
        inputs: the inputs that a run takes, before the initial values of what is ``carried`` and the ``parameters``.
        returned: the variables that a run gives: those needed outside, and the carried ones.
        internal: the others that it computes; of them, ``passing`` are not read on the way back.
        widths: of all variables, in the order of their numbers; zero for the inputs, which tell themselves.
        sizes: for each of the ``arguments``, what it has at least: rows, if it is a weight, and columns.
        arrays: the structures step, product and read.
    """

    def __init__(self, loop: Loop, handle: int) -> None:
        self.handle = handle
        self.backward = loop.backward
        computed = loop.computed
        self.carried = tuple(loop.carried)
        self.returned = tuple(name for name in computed if name in loop.outputs or name in self.carried)
        self.steps = _without_copies(loop.steps, self.returned)
        reads = [read for step in self.steps for read in step.reads]
        linear = [step for step in self.steps if isinstance(step, Linear)]
        self.inputs = tuple(dict.fromkeys(read.name for read in reads if read.name not in computed))
        self.weights = tuple(dict.fromkeys(product.weight for step in linear for product in step.products))
        self.biases = tuple(name for step in linear for name in step.biases)
        self.parameters = tuple(dict.fromkeys(self.weights + self.biases))
        self.arguments = (*self.inputs, *(f"initial.{name}" for name in self.carried), *self.parameters)
        self.sizes = self._sizes(reads, linear, computed)
        self.products = sum(step.width * product.read.width for step in linear for product in step.products)

        outs = {step.out for step in self.steps}
        self.widths = dict.fromkeys(self.inputs, 0)
        self.widths |= {name: width for name, width in computed.items() if name.removesuffix(".cell") in outs}
        plain = {
            s.out: s.width for s in linear if s.activation == "identity" and s.products and s.out not in self.returned
        }
        self.deferred: set[str] = set()
        """Linear steps that leave it to the gates that read them to add the drive and the biases."""
        self.gates: dict[str, str] = {}
        """The variable that keeps the gates of an LSTM or GRU: its own source, if it may."""
        for step in self.steps:
            if isinstance(step, Gates):
                alone = [r.name for r in step.sources if plain.get(r.name) == r.width and _count(reads, r.name) == 1]
                self.deferred.update(alone)
                self.gates[step.out] = alone[0] if alone and step.kind == "lstm" else f"{step.out}.activated"
                self.widths[self.gates[step.out]] = 4 * step.width
        self.internal = tuple(n for n in self.widths if n not in self.inputs and n not in self.returned)
        self.passing = self.deferred - set(self.gates.values())
        self.arrays = self._arrays()
        self._ways: dict[tuple[bool, ...], WayBack] = {}

    def _sizes(
        self, reads: Sequence[Read], linear: Sequence[Linear], computed: Mapping[str, int]
    ) -> tuple[tuple[int, int], ...]:
        least: dict[str, tuple[int, int]] = {f"initial.{name}": (0, computed[name]) for name in self.carried}
        of_reads = ((read.name, 0, read.stop) for read in reads)
        of_weights = ((p.weight, step.width, p.column + p.read.width) for step in linear for p in step.products)
        of_biases = ((name, 0, step.width) for step in linear for name in step.biases)
        for name, rows, columns in (*of_reads, *of_weights, *of_biases):
            before = least.get(name, (0, 0))
            least[name] = max(rows, before[0]), max(columns, before[1])
        return tuple(least[name] for name in self.arguments)

    def _arrays(self) -> tuple[array[int], array[int], array[int]]:
        number = {name: index for index, name in enumerate(self.widths)}
        weight = {name: index for index, name in enumerate(self.weights)}
        place = {step.out: index for index, step in enumerate(self.steps)}
        steps, products, reads = array("q"), array("q"), array("q")
        bias = 0

        def numbers(read: Read) -> tuple[int, int, int, int]:
            return number[read.name], read.start, read.width, int(read.delay != 0)

        for step in self.steps:
            function, drive, biases, deferred, cell, gates, sources = 0, -1, 0, 0, 0, 0, [-1, -1]
            if isinstance(step, Linear):
                kind, function = LINEAR, ACTIVATIONS[step.activation]
                first, count, biases = len(products) // 6, len(step.products), len(step.biases)
                drive = -1 if step.drive is None else number[step.drive]
                deferred = int(step.out in self.deferred)
                for product in step.products:
                    products.extend((*numbers(product.read), weight[product.weight], product.column))
            else:
                first, count = len(reads) // 4, len(step.reads)
                for read in step.reads:
                    reads.extend(numbers(read))
                if isinstance(step, Gates):
                    kind, gates = LSTM if step.kind == "lstm" else GRU, number[self.gates[step.out]]
                    cell = number.get(f"{step.out}.cell", 0)
                    for i, read in enumerate(step.sources):
                        sources[i] = place[read.name] if read.name in self.deferred else -1
                elif isinstance(step, Sample):
                    kind = SAMPLE
                else:
                    assert isinstance(step, Map)
                    kind, function = MAP, FUNCTIONS[step.function]
            steps.extend((kind, number[step.out], step.width, function, first, count, drive, bias, biases, deferred))
            steps.extend((cell, gates, *sources, 0))
            bias += biases
        return steps, products, reads

    def way_back(self, wanted: tuple[bool, ...]) -> WayBack:
        """How to go back if gradients are wanted of these of the ``arguments``."""
        if wanted not in self._ways:
            self._ways[wanted] = self._way_back({n for n, want in zip(self.arguments, wanted, strict=True) if want})
        return self._ways[wanted]

    def _way_back(self, wanted: set[str]) -> WayBack:
        needed = wanted & {*self.inputs} | {name for name in self.carried if f"initial.{name}" in wanted}
        for _ in self.steps:  # as often as it may take to go around
            for step in self.steps:
                outs = {step.out, f"{step.out}.cell"} & self.widths.keys()
                own = {*(p.weight for p in step.products), *step.biases} if isinstance(step, Linear) else set()
                if own & wanted or (outs | {read.name for read in step.reads}) & needed:
                    needed |= outs
        kept: dict[str, int | str] = {
            name: "batch" if name in self.inputs else 2 if name in self.carried else 1
            for name in self.widths
            if name in needed
        }
        shared = {}
        reads = [read for step in self.steps for read in step.reads]
        for step in self.steps:
            if isinstance(step, Linear) and step.out in needed:
                if any(product.weight in wanted for product in step.products):
                    kept[step.out] = "time"
                if step.drive in self.inputs and step.drive in wanted and _count(reads, step.drive) == 1:
                    kept[step.out] = "batch"
                    shared[step.drive] = step.out
        return WayBack(frozenset(wanted), kept, shared)


def _count(reads: Sequence[Read], name: str) -> int:
    return sum(read.name == name for read in reads)


def _without_copies(steps: Sequence[Operation], returned: Sequence[str]) -> list[Operation]:
    """The steps without linear ones that only pass their drive on."""
    copies = {
        step.out: step.drive
        for step in steps
        if isinstance(step, Linear)
        and step.drive is not None
        and not step.products
        and not step.biases
        and step.activation == "identity"
        and step.out not in returned
    }

    def through(read: Read) -> Read:
        while read.name in copies:
            read = replace(read, name=copies[read.name])
        return read

    result: list[Operation] = []
    for step in steps:
        if isinstance(step, Linear):
            if step.out in copies:
                continue
            step = replace(step, products=tuple(replace(p, read=through(p.read)) for p in step.products))
            if step.drive is not None:
                step = replace(step, drive=through(Read(step.drive, 0, step.width)).name)
        elif isinstance(step, Gates | Map):
            step = replace(step, sources=tuple(through(read) for read in step.sources))
        elif isinstance(step, Sample):
            step = replace(step, mean=through(step.mean), log_variance=through(step.log_variance))
        result.append(step)
    return result
