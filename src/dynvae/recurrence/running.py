"""Running a program: on whole sequences by the executor of choice, or on a single frame."""

from __future__ import annotations

__all__ = ["carried", "run", "run_frame"]

from collections.abc import Collection, Mapping
from functools import partial
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dynvae.distributions import reparameterize
from dynvae.nn import time_mask
from dynvae.recurrence import plain
from dynvae.recurrence.choice import Executor, choose
from dynvae.recurrence.functions import FUNCTIONS
from dynvae.recurrence.program import Cell, Dropout, Last, Linear, Map, Mask, Program, Read, Sample, Signal
from dynvae.recurrence.schedule import Loop, lowered, schedule
from dynvae.recurrence.segments import in_segments, segment_frames


def run(
    program: Program,
    module: nn.Module,
    known: Mapping[str, Tensor],
    wanted: Collection[str],
    *,
    lengths: Tensor | None = None,
    initial: Mapping[str, Tensor] | None = None,
    every_state: bool = False,
) -> dict[str, Tensor]:
    """Compute variables of a program for whole sequences.

    Args:
        program: the program.
        module: whose parameters it uses; its ``training`` flag switches dropout.
        known: the values of the given variables, ``(batch, time, width)``, or ``(batch, width)`` if static; a
            variable that the program defines is not computed if it is known.
        wanted: the names of the variables to compute.
        lengths: how many frames of each sequence are valid, ``(batch,)``.
        initial: values of variables before the first frame, ``(batch, width)``; zero if not given.
            For a variable that is read one frame ahead: after the last.
        every_state: tell an LSTM's cell state at every frame, which torch's own layers do not.

    Returns:
        All that was known or computed on the way, by name.

    Raises:
        ValueError: something is missing, or a recursion has no direction.
    """
    executor = choose(known.values())
    values = _Values(program, dict(known), dict(initial or {}), lengths)
    parameters = _parameters(module)
    as_loops = executor.cells_as_loops or every_state
    for stage in schedule(program, known, wanted, module.training, cells_as_loops=as_loops):
        if isinstance(stage, Loop):
            inputs = {name: values.over_time(name) for name in stage.inputs}
            before = {name: values.before(name, size) for name, size in stage.carried.items()}
            run_loop, frames = executor.run_loop, segment_frames.get()
            if frames and torch.is_grad_enabled():
                run_loop = partial(in_segments, run_loop, frames=frames)
            values.now |= run_loop(stage, inputs, parameters, before, lengths)
        elif isinstance(stage, Cell):
            given = {name: values.initial[name] for name in stage.state if name in values.initial}
            before = {name: values.before(name, stage.width) for name in stage.state} if given else {}
            values.now |= plain.run_cell(stage, values.signal(stage.sources), parameters, before, lengths)
        else:
            values.now[stage.out] = _whole(stage, values, parameters, executor, module.training)
    return values.now


def _whole(stage: Any, values: _Values, parameters: plain.Parameters, executor: Executor, training: bool) -> Tensor:
    """An operation on all frames at once."""
    match stage:
        case Linear():
            return executor.run_linear(stage, values.read, parameters)
        case Sample():
            noise = Read(stage.noise, 0, stage.width)
            return reparameterize(values.read(stage.mean), values.read(stage.log_variance), values.read(noise))
        case Map():
            sources = [values.read(read) for read in stage.sources]
            most = max(source.dim() for source in sources)
            return FUNCTIONS[stage.function](*(s if s.dim() == most else s.unsqueeze(1) for s in sources))
        case Dropout():
            return F.dropout(values.read(stage.source), stage.probability, training)
        case Mask():
            return F.dropout(values.ones(stage.width), stage.probability, training)
        case Last():
            return values.end(stage)
    raise TypeError(f"a {type(stage).__name__} cannot be run on all frames at once")


class _Values:
    """The variables of one run, and how operations read them."""

    def __init__(
        self, program: Program, now: dict[str, Tensor], initial: dict[str, Tensor], lengths: Tensor | None
    ) -> None:
        self.program, self.now, self.initial, self.lengths = program, now, initial, lengths
        moving = [value for value in now.values() if value.dim() == 3]
        self.like = moving[0] if moving else None

    def read(self, read: Read) -> Tensor:
        value = self.now[read.name]
        size = value.shape[-1]
        if value.dim() == 2:
            return value[:, read.start : read.stop]
        if read.delay:
            value = self._delayed(value, read)
        return value if read.start == 0 and read.stop == size else value[..., read.start : read.stop]

    def signal(self, signal: Signal) -> Tensor:
        """Several reads side by side, over time."""
        parts = [self.read(read) for read in signal]
        time = max(part.shape[1] for part in parts if part.dim() == 3)
        parts = [part if part.dim() == 3 else part.unsqueeze(1).expand(-1, time, -1) for part in parts]
        return parts[0] if len(parts) == 1 else torch.cat(parts, -1)

    def over_time(self, name: str) -> Tensor:
        """A variable at every frame, also if it has one value a sequence."""
        value = self.now[name]
        if value.dim() == 3:
            return value
        assert self.like is not None
        return value.unsqueeze(1).expand(-1, self.like.shape[1], -1)

    def before(self, name: str, size: int) -> Tensor:
        """A variable before the first frame."""
        if name in self.initial:
            return self.initial[name]
        assert self.like is not None, "nothing tells how many sequences there are"
        return self.like.new_zeros(self.like.shape[0], size)

    def ones(self, size: int) -> Tensor:
        assert self.like is not None
        return self.like.new_ones(*self.like.shape[:2], size)

    def end(self, stage: Last) -> Tensor:
        value = self.read(stage.source)
        if stage.first:
            return value[:, 0]
        if self.lengths is None:
            return value[:, -1]
        index = (self.lengths - 1).clamp(min=0).view(-1, 1, 1).expand(-1, 1, value.shape[-1])
        return value.gather(1, index).squeeze(1)

    def _delayed(self, value: Tensor, read: Read) -> Tensor:
        steps = abs(read.delay)
        assert steps == 1, "a program reads one frame back or ahead"
        edge = self.initial.get(read.name)
        edge = value.new_zeros(value.shape[0], 1, value.shape[-1]) if edge is None else edge.unsqueeze(1)
        if read.delay > 0:
            return torch.cat([edge.to(value.dtype), value[:, :-1]], 1)
        ahead = torch.cat([value[:, 1:], edge.to(value.dtype)], 1)
        if self.lengths is None:
            return ahead
        inside = time_mask(self.lengths - 1, value.shape[1]).unsqueeze(-1)
        return torch.where(inside, ahead, edge)


def _parameters(module: nn.Module) -> plain.Parameters:
    return lambda name: attrgetter(name)(module)


def carried(program: Program, given: Mapping[str, int]) -> dict[str, int]:
    """The variables that a frame hands to the next one, and their widths: the state of frame by frame generation.

    Args:
        program: the program.
        given: widths of the variables that it does not define.
    """
    widths = {op.out: op.width for op in program.operations.values()}
    widths |= {name: op.width for op in program.operations.values() if isinstance(op, Cell) for name in op.state}
    widths = dict(given) | widths
    reads = (read for op in program.operations.values() for read in op.reads)
    return {read.name: widths[read.name] for read in reads if read.delay > 0}


def run_frame(
    program: Program,
    module: nn.Module,
    known: Mapping[str, Tensor],
    before: Mapping[str, Tensor],
    wanted: Collection[str],
) -> dict[str, Tensor]:
    """Compute variables of a program at one frame.

    Args:
        program: the program.
        module: whose parameters it uses.
        known: what is known of this frame, ``(batch, width)``.
        before: the values of the variables of :func:`carried` at the frame before.
        wanted: the names of the variables to compute.

    Returns:
        All that was known or computed on the way.

    Raises:
        ValueError: something is missing, or needs later frames.
    """
    now = dict(known)
    parameters = _parameters(module)

    def read(source: Read) -> Tensor:
        if source.delay < 0:
            raise ValueError(f"'{source.name}' is read one frame ahead: this cannot be run frame by frame")
        value = before[source.name] if source.delay else value_of(source.name)
        return value[:, source.start : source.stop]

    def value_of(name: str) -> Tensor:
        if name in now:
            return now[name]
        operation = program.definition(name)
        if operation is None or isinstance(operation, Last):
            raise ValueError(f"'{name}' is not known at this frame")
        if isinstance(operation, Dropout):
            now[name] = F.dropout(read(operation.source), operation.probability, module.training)
            return now[name]
        for step in lowered(operation):
            result = plain.compute(step, read, parameters)
            if isinstance(result, tuple):
                now[step.out], now[f"{step.out}.cell"] = result
            else:
                now[step.out] = result
        return now[name]

    for name in wanted:
        value_of(name)
    return now
