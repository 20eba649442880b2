"""The executor for export: a loop is one operator, torch's ``scan``, so that a graph holds any number of frames."""

from __future__ import annotations

__all__ = ["run_loop"]

from collections.abc import Mapping

import torch
from torch import Tensor

from dynvae.recurrence.plain import Parameters, compute
from dynvae.recurrence.program import Read
from dynvae.recurrence.schedule import Loop


def run_loop(
    loop: Loop,
    inputs: Mapping[str, Tensor],
    parameters: Parameters,
    initial: Mapping[str, Tensor],
    lengths: Tensor | None,
) -> dict[str, Tensor]:
    """Run a loop: see :func:`dynvae.recurrence.plain.run_loop`."""
    from torch._higher_order_ops.scan import scan  # not at the top: few need it, and it takes a while

    carried = list(loop.carried)
    over_time = {name: value.transpose(0, 1) for name, value in inputs.items()}
    if loop.backward and lengths is not None:
        frames = torch.arange(next(iter(over_time.values())).shape[0], device=lengths.device)
        over_time[_INSIDE] = (frames.unsqueeze(1) < lengths).unsqueeze(-1)

    def frame(state: list[Tensor], now: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        before, values = dict(zip(carried, state, strict=True)), dict(zip(over_time, now, strict=True))

        def read(source: Read) -> Tensor:
            value = (before if source.delay else values)[source.name]
            whole = source.start == 0 and source.stop == value.shape[-1]
            return value if whole else value[:, source.start : source.stop]

        for step in loop.steps:
            result = compute(step, read, parameters)
            if isinstance(result, tuple):
                values[step.out], values[f"{step.out}.cell"] = result
            else:
                values[step.out] = result
        after = [values[name] for name in carried]
        if _INSIDE in values:
            start = [initial[name] for name in carried]
            after = [torch.where(values[_INSIDE], new, old) for new, old in zip(after, start, strict=True)]
        # An operator's outputs may not be one and the same tensor.
        return [value.clone() for value in after], [values[name].clone() for name in loop.computed]

    states = [initial[name].clone() for name in carried]
    _, outs = scan(frame, states, list(over_time.values()), dim=0, reverse=loop.backward)
    return {name: out.transpose(0, 1) for name, out in zip(loop.computed, outs, strict=True)}


_INSIDE = "inside"
"""Whether a frame is one of the sequence, where it runs backward and begins at each sequence's own end."""
