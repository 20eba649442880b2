"""The plain PyTorch executor: runs everywhere, in any precision, and is the oracle of the compiled one."""

from __future__ import annotations

__all__ = ["compute", "run_cell", "run_linear", "run_loop"]

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dynvae.distributions import reparameterize
from dynvae.nn import reverse_valid
from dynvae.recurrence.functions import FUNCTIONS
from dynvae.recurrence.program import Cell, Gates, Linear, Map, Operation, Product, Read, Sample
from dynvae.recurrence.schedule import Loop

Parameters = Callable[[str], Any]
"""From the name of a parameter (or of a module of them) to the tensor (or module)."""


def run_linear(step: Linear, read: Callable[[Read], Tensor], parameters: Parameters) -> Tensor:
    """A linear operation on all frames at once.

    What needs no gradient, such as an observation, gets its own product, so that none is computed for it.
    """
    total = None if step.drive is None else read(Read(step.drive, 0, step.width))
    groups: dict[tuple[str, bool, int], list[tuple[Product, Tensor]]] = {}
    for product in step.products:
        value = read(product.read)
        groups.setdefault((product.weight, value.requires_grad, value.dim()), []).append((product, value))
    biases = [parameters(name) for name in step.biases]
    bias = sum(biases[1:], biases[0]) if biases else None
    for (name, _, dim), members in groups.items():
        weight = parameters(name)
        spans = [weight[:, p.column : p.column + p.read.width] for p, _ in members]
        part = F.linear(
            torch.cat([value for _, value in members], -1) if len(members) > 1 else members[0][1],
            torch.cat(spans, 1) if len(spans) > 1 else spans[0],
            bias,
        )
        bias = None
        if total is not None and total.dim() != dim:  # of the sequence to each of its frames
            total, part = (t.unsqueeze(1) if t.dim() == 2 else t for t in (total, part))
        total = part if total is None else total + part
    assert total is not None
    return FUNCTIONS[step.activation](total if bias is None else total + bias)


def run_cell(
    step: Cell, sources: Tensor, parameters: Parameters, initial: Mapping[str, Tensor], lengths: Tensor | None
) -> dict[str, Tensor]:
    """A recurrent layer over whole sequences by torch's own; of an LSTM's cell state, only the last is told."""
    module: nn.LSTM = parameters(step.parameters)
    x = reverse_valid(sources, lengths) if step.backward else sources
    if initial:
        state = tuple(initial[name].to(x.dtype).unsqueeze(0) for name in step.state)
        out, last = module(x, state if step.kind == "lstm" else state[0])
    else:
        out, last = module(x)
    result = {step.out: reverse_valid(out, lengths) if step.backward else out}
    if step.kind == "lstm":
        result[step.state[1]] = last[1].transpose(0, 1)
    return result


def run_loop(
    loop: Loop,
    inputs: Mapping[str, Tensor],
    parameters: Parameters,
    initial: Mapping[str, Tensor],
    lengths: Tensor | None,
) -> dict[str, Tensor]:
    """Run a loop frame by frame; nothing is written in place, so that the backward pass stays linear in time.

    Args:
        loop: the program's sequential core.
        inputs: its input variables, ``(batch, time, width)``.
        parameters: where weights come from.
        initial: the values of its carried variables before the first frame, ``(batch, width)``.
        lengths: how many frames of each sequence are valid, ``(batch,)``.

    Returns:
        All that it computes, ``(batch, time, width)``.
    """
    time = next(iter(inputs.values())).shape[1]
    frames = {name: value.unbind(1) for name, value in inputs.items()}
    steps = [(step.out, _bind(step, parameters)) for step in loop.steps]
    outs: dict[str, list[Tensor]] = {name: [] for name in loop.computed}
    before = dict(initial)
    now: dict[str, Tensor] = {}

    def read(source: Read) -> Tensor:
        value = (before if source.delay else now)[source.name]
        whole = source.start == 0 and source.stop == value.shape[-1]
        return value if whole else value[:, source.start : source.stop]

    for t in reversed(range(time)) if loop.backward else range(time):
        now = {name: values[t] for name, values in frames.items()}
        for name, step in steps:
            result = step(read)
            if isinstance(result, tuple):
                now[name], now[f"{name}.cell"] = result
            else:
                now[name] = result
        for name, values in outs.items():
            values.append(now[name])
        if loop.backward and lengths is not None:
            inside = (lengths > t).unsqueeze(-1)
            before = {name: torch.where(inside, now[name], initial[name]) for name in before}
        else:
            before = {name: now[name] for name in before}
    return {name: torch.stack(values[::-1] if loop.backward else values, 1) for name, values in outs.items()}


Step = Callable[[Callable[[Read], Tensor]], Tensor | tuple[Tensor, Tensor]]


def compute(step: Operation, read: Callable[[Read], Tensor], parameters: Parameters) -> Tensor | tuple[Tensor, Tensor]:
    """What an operation gives at one frame; for an LSTM also its cell state."""
    return _bind(step, parameters)(read)


def _bind(step: Operation, parameters: Parameters) -> Step:
    """The operation on one frame, its weights looked up and cut once."""
    match step:
        case Linear():
            return _bind_linear(step, parameters)
        case Gates(kind="lstm"):
            return lambda read: _lstm(read(step.sources[0]), read(step.before))
        case Gates(kind="gru"):
            return lambda read: _gru(read(step.sources[0]), read(step.sources[1]), read(step.before))
        case Sample():
            noise = Read(step.noise, 0, step.width)
            return lambda read: reparameterize(read(step.mean), read(step.log_variance), read(noise))
        case Map():
            function = FUNCTIONS[step.function]
            return lambda read: function(*(read(source) for source in step.sources))
    raise TypeError(f"a {type(step).__name__} is not an operation of a single frame")


def _bind_linear(step: Linear, parameters: Parameters) -> Step:
    activation = FUNCTIONS[step.activation]
    products = [
        (p.read, parameters(p.weight)[:, p.column : p.column + p.read.width].t()) for p in step.products
    ]  # fmt: skip
    biases = [parameters(name) for name in step.biases]
    bias = sum(biases[1:], biases[0]) if biases else None
    drive = None if step.drive is None else Read(step.drive, 0, step.width)

    def linear(read: Callable[[Read], Tensor]) -> Tensor:
        total = bias if drive is None else read(drive) if bias is None else read(drive) + bias
        for source, weight in products:
            value = read(source)
            total = value @ weight if total is None else torch.addmm(total, value, weight)
        assert total is not None
        return activation(total)

    return linear


def _lstm(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden and cell state from the four gates' pre-activations (Hochreiter and Schmidhuber, 1997; Gers, 2000)."""
    into, keep, candidate, out = gates.chunk(4, -1)
    cell = keep.sigmoid() * cell + into.sigmoid() * candidate.tanh()
    return out.sigmoid() * cell.tanh(), cell


def _gru(of_input: Tensor, of_state: Tensor, before: Tensor) -> Tensor:
    """The next state of a gated recurrent unit (Cho et al., 2014), in torch's parameterisation."""
    (reset, update, new), (reset_state, update_state, new_state) = of_input.chunk(3, -1), of_state.chunk(3, -1)
    update = (update + update_state).sigmoid()
    new = (new + (reset + reset_state).sigmoid() * new_state).tanh()
    return (1 - update) * new + update * before
