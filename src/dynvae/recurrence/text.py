"""Programs in words: what is computed for all frames at once, and what is left in the loop."""

from __future__ import annotations

__all__ = ["describe"]

from collections.abc import Iterable

from dynvae.recurrence.program import (
    Cell,
    Dropout,
    Gates,
    Last,
    Linear,
    Map,
    Mask,
    Operation,
    Read,
    Sample,
    Signal,
)
from dynvae.recurrence.schedule import Loop, Stage


def describe(stages: Iterable[Stage]) -> str:
    """A schedule, a line an operation.

    Example:
        >>> from dynvae import models
        >>> model = models.build("rvae-causal")
        >>> print(describe(model.schedule("inference")))
        x_rnn[t] = LSTM(x[t], x_rnn[t+1])
        encoder.drive[t] = W x_rnn[t] + b
        loop, frame by frame, forward in time:
            z_rnn.gates[t] = W z[t-1] + W z_rnn[t-1] + b
            z_rnn[t], z_rnn.cell[t] = lstm(z_rnn.gates[t], z_rnn.cell[t-1])
            encoder[t] = encoder.drive[t] + W z_rnn[t]
            z[t] = sample(encoder[t][:16], encoder[t][16:], noise.z[t])
    """
    lines: list[str] = []
    sizes: dict[str, int] = {}
    for stage in stages:
        sizes |= stage.computed if isinstance(stage, Loop) else {stage.out: stage.width}
        if isinstance(stage, Loop):
            way = "backward" if stage.backward else "forward"
            lines.append(f"loop, frame by frame, {way} in time:")
            lines += [f"    {_line(step, sizes)}" for step in stage.steps]
        else:
            lines.append(_line(stage, sizes))
    return "\n".join(lines)


def _line(op: Operation, sizes: dict[str, int]) -> str:
    def name(read: Read) -> str:
        when = {0: "t", 1: "t-1", -1: "t+1"}[read.delay]
        return f"{read.name}[{when}]{_columns(read, sizes)}"

    def names(signal: Signal) -> str:
        return ", ".join(name(read) for read in signal)

    out = f"{op.out}[t]"
    match op:
        case Linear():
            terms = [] if op.drive is None else [f"{op.drive}[t]"]
            terms += [f"W {name(product.read)}" for product in op.products] + ["b"] * bool(op.biases)
            total = " + ".join(terms)
            return f"{out} = {total}" if op.activation == "identity" else f"{out} = {op.activation}({total})"
        case Cell():
            kind = "RNN" if op.kind == "rnn" else op.kind.upper()
            return f"{out} = {kind}({names((*op.sources, op.reads[len(op.sources)]))})"
        case Gates(kind="lstm"):
            return f"{out}, {op.out}.cell[t] = lstm({names(op.reads)})"
        case Gates() | Map():
            return f"{out} = {op.kind if isinstance(op, Gates) else op.function}({names(op.reads)})"
        case Sample():
            return f"{out} = sample({names(op.reads)})"
        case Dropout():
            return f"{out} = dropout({name(op.source)})"
        case Mask():
            return f"{out} = mask"
        case Last():
            return f"{op.out} = {op.source.name}[{'1' if op.first else 'T'}]"


def _columns(read: Read, sizes: dict[str, int]) -> str:
    """Which columns, where it is not all that there are."""
    size = sizes.get(read.name, read.stop)
    if read.start == 0 and read.stop == size:
        return ""
    return f"[{read.start or ''}:{read.stop if read.stop != size else ''}]"
