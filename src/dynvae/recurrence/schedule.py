"""From a program, and what is known when it runs, to the order of its work.

Operations that depend on each other in a circle, through the frame before or after, have to be run frame by frame: they
make a :class:`Loop`. All others are computed for all frames in one call. Of a loop's linear operations the part that
reads nothing of the loop leaves it too (it is *hoisted*): it becomes the ``drive`` of what remains.
"""

from __future__ import annotations

__all__ = ["Loop", "Stage", "core_of", "lowered", "schedule"]

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from dynvae.recurrence.program import (
    Cell,
    Dropout,
    Gates,
    Last,
    Linear,
    Map,
    Mask,
    Operation,
    Product,
    Program,
    Read,
    Sample,
    Signal,
)


@dataclass(frozen=True, eq=False)
class Loop:
    """The sequential core of a program: what is left to do frame by frame.

    Attributes:
        steps: :class:`Linear`, :class:`Gates`, :class:`Sample` and :class:`Map` operations in the order of one frame.
        backward: whether frames are taken from the last to the first.
        outputs: the variables that are needed outside.
    """

    steps: tuple[Operation, ...]
    backward: bool
    outputs: tuple[str, ...]

    @property
    def computed(self) -> dict[str, int]:
        """The variables that the loop computes, and their widths."""
        widths = {step.out: step.width for step in self.steps}
        return widths | {f"{s.out}.cell": s.width for s in self.steps if isinstance(s, Gates) and s.kind == "lstm"}

    @property
    def inputs(self) -> tuple[str, ...]:
        """The variables that it reads and does not compute."""
        computed = self.computed
        return tuple(dict.fromkeys(r.name for step in self.steps for r in step.reads if r.name not in computed))

    @property
    def carried(self) -> dict[str, int]:
        """The variables that a frame reads from the frame before, and their widths: the state of the loop."""
        computed = self.computed
        reads = (read for step in self.steps for read in step.reads)
        return {read.name: computed[read.name] for read in reads if read.delay and read.name in computed}

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the weights and biases that it uses."""
        linear = [step for step in self.steps if isinstance(step, Linear)]
        names = (name for step in linear for name in (*(p.weight for p in step.products), *step.biases))
        return tuple(dict.fromkeys(names))


Stage = Operation | Loop
"""A step of a schedule: an operation on all frames at once, or a loop over them."""


def schedule(
    program: Program, known: Iterable[str], wanted: Iterable[str], training: bool, *, cells_as_loops: bool = False
) -> tuple[Stage, ...]:
    """What to do, and in which order, to compute the ``wanted`` variables from the ``known`` ones.

    An operation whose variable is known is left out, and so is what nothing wanted needs.

    Args:
        program: the program.
        known: the variables whose values are known at every frame.
        wanted: the variables that are asked for.
        training: whether dropout drops.
        cells_as_loops: make a recurrent layer that is a circle by itself a loop, too.

    Raises:
        ValueError: a variable is neither known nor defined, or one circle runs in both directions of time.
    """
    key = (frozenset(known), frozenset(wanted), training, cells_as_loops)
    if key not in program.schedules:
        program.schedules[key] = tuple(_schedule(program, *key))
    stages: tuple[Stage, ...] = program.schedules[key]
    return stages


def _schedule(
    program: Program, known: frozenset[str], wanted: frozenset[str], training: bool, cells_as_loops: bool
) -> Iterable[Stage]:
    import networkx  # not at the top: it takes a quarter of a second

    operations = {name: op for name, op in program.operations.items() if name not in known}
    if not training:
        operations = _without_dropout(operations)
    graph = networkx.DiGraph()
    waiting = [_owner(name, operations) for name in sorted(wanted - known)]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        if name not in operations:
            raise ValueError(f"the program needs '{name}', which is neither given nor defined")
        seen.add(name)
        graph.add_node(name)
        for read in operations[name].reads:
            if read.name not in known:
                source = _owner(read.name, operations)
                graph.add_edge(source, name)
                waiting.append(source)
    order = {name: index for index, name in enumerate(operations)}
    circles = networkx.condensation(graph)
    first = {node: min(order[name] for name in members) for node, members in circles.nodes("members")}
    for node in networkx.lexicographical_topological_sort(circles, key=first.__getitem__):
        members = sorted(circles.nodes[node]["members"], key=order.__getitem__)
        some = operations[members[0]]
        if len(members) == 1 and not (cells_as_loops if isinstance(some, Cell) else graph.has_edge(some.out, some.out)):
            yield some
        else:
            readers = (operations[name] for name in graph if name not in members)
            outside = {read.name for reader in readers for read in reader.reads}
            yield from core_of([operations[name] for name in members], wanted | outside)


def _owner(name: str, operations: Mapping[str, Operation]) -> str:
    """The operation that defines a variable: an LSTM defines two."""
    return name.removesuffix(".cell") if name not in operations else name


def _without_dropout(operations: Mapping[str, Operation]) -> dict[str, Operation]:
    """The operations as they are outside training: who reads a dropout reads its source."""
    sources = {op.out: op.source for op in operations.values() if isinstance(op, Dropout)}

    def through(read: Read) -> Read:
        while read.name in sources:
            source = sources[read.name]
            read = Read(source.name, source.start + read.start, source.start + read.stop, source.delay + read.delay)
        return read

    def all_through(signal: Signal) -> Signal:
        return tuple(through(read) for read in signal)

    result: dict[str, Operation] = {}
    for name, op in operations.items():
        match op:
            case Linear():
                result[name] = replace(op, products=tuple(replace(p, read=through(p.read)) for p in op.products))
            case Cell() | Map() | Gates():
                result[name] = replace(op, sources=all_through(op.sources))
            case Sample():
                result[name] = replace(op, mean=through(op.mean), log_variance=through(op.log_variance))
            case Dropout():  # kept for those who want the variable itself
                result[name] = Map(op.out, op.width, "identity", (through(op.source),))
            case Last():
                result[name] = replace(op, source=through(op.source))
    return result


def core_of(operations: Iterable[Operation], needed: Iterable[str]) -> Iterable[Stage]:
    """The loop that runs a circle of operations, after the stages that compute what is hoisted out of it."""
    parts = [step for op in operations for step in lowered(op)]
    inside = {step.out for step in parts} | {f"{s.out}.cell" for s in parts if isinstance(s, Gates)}
    steps: list[Operation] = []
    for step in parts:
        if isinstance(step, Linear):
            hoisted = tuple(product for product in step.products if product.read.name not in inside)
            if hoisted:
                drive = f"{step.out}.drive"
                yield Linear(drive, step.width, hoisted, step.biases)
                rest = tuple(product for product in step.products if product not in hoisted)
                step = replace(step, products=rest, biases=(), drive=drive)
        elif isinstance(step, Dropout):
            mask = Mask(f"{step.out}.mask", step.width, step.probability)
            yield mask
            step = Map(step.out, step.width, "product", (step.source, Read(mask.out, 0, mask.width)))
        steps.append(step)
    delays = {read.delay for step in steps for read in step.reads if read.name in inside} - {0}
    if delays not in ({1}, {-1}):
        raise ValueError(f"a recursion through {', '.join(sorted(inside))} does not run in one direction of time")
    loop = Loop(tuple(_in_order(steps)), delays == {-1}, ())
    wanted = frozenset(needed)
    yield replace(loop, outputs=tuple(name for name in loop.computed if name in wanted))


def lowered(op: Operation) -> Iterable[Operation]:
    """The operation in terms of those that a loop knows: cells become products and gates."""
    if isinstance(op, Linear) and op.activation not in FROM_OUTPUT:
        yield replace(op, out=f"{op.out}.linear", activation="identity")
        yield Map(op.out, op.width, op.activation, (Read(f"{op.out}.linear", 0, op.width),))
        return
    if not isinstance(op, Cell):
        yield op
        return
    weights = [f"{op.parameters}.{name}_l0" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    state = {name: Read(name, 0, op.width, -1 if op.backward else 1) for name in op.state}
    products, column = [], 0
    for read in op.sources:
        products.append(Product(read, weights[0], column))
        column += read.width
    recurrent = Product(state[op.out], weights[1])
    size = op.width * {"lstm": 4, "gru": 3, "rnn": 1}[op.kind]
    match op.kind:
        case "rnn":
            yield Linear(op.out, size, (*products, recurrent), (weights[2], weights[3]), "tanh")
        case "lstm":
            gates = Linear(f"{op.out}.gates", size, (*products, recurrent), (weights[2], weights[3]))
            yield gates
            yield Gates(op.out, op.width, "lstm", (Read(gates.out, 0, size),), state[f"{op.out}.cell"])
        case "gru":
            of_input = Linear(f"{op.out}.input", size, tuple(products), (weights[2],))
            of_state = Linear(f"{op.out}.state", size, (recurrent,), (weights[3],))
            yield of_input
            yield of_state
            both = (Read(of_input.out, 0, size), Read(of_state.out, 0, size))
            yield Gates(op.out, op.width, "gru", both, state[op.out])


FROM_OUTPUT = frozenset({"identity", "tanh", "sigmoid", "relu", "elu", "leaky_relu"})
"""Activations whose derivative follows from their output: only these are fused with a product in a loop."""


def _in_order(steps: list[Operation]) -> list[Operation]:
    """The steps so that each comes after what it reads of the same frame."""
    import networkx

    defined = {name: step for step in steps for name in (step.out, f"{step.out}.cell")}
    graph = networkx.DiGraph()
    graph.add_nodes_from(step.out for step in steps)
    for step in steps:
        for read in step.reads:
            if read.name in defined and read.delay == 0:
                graph.add_edge(defined[read.name].out, step.out)
    rank = {step.out: index for index, step in enumerate(steps)}
    return [defined[name] for name in networkx.lexicographical_topological_sort(graph, key=rank.__getitem__)]
