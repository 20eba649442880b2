"""Checkpointing across time: a loop keeps its state at the ends of segments only, and computes the rest again."""

from __future__ import annotations

__all__ = ["in_segments", "segment_frames"]

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from dynvae.recurrence.plain import Parameters
from dynvae.recurrence.schedule import Loop

segment_frames: ContextVar[int] = ContextVar("segment_frames", default=0)
"""How many frames a segment has; 0 keeps everything."""

RunLoop = Callable[[Loop, Mapping[str, Tensor], Parameters, Mapping[str, Tensor], Tensor | None], dict[str, Tensor]]


def in_segments(
    run_loop: RunLoop,
    loop: Loop,
    inputs: Mapping[str, Tensor],
    parameters: Parameters,
    initial: Mapping[str, Tensor],
    lengths: Tensor | None,
    frames: int,
) -> dict[str, Tensor]:
    """Run a loop segment after segment (Chen et al., 2016); the backward pass runs each segment once more.

    Results and gradients are those of ``run_loop`` on the whole.
    """
    time = next(iter(inputs.values())).shape[1]
    starts = range(0, time, frames)
    state, parts = dict(initial), []
    for start in reversed(starts) if loop.backward else starts:
        stop = min(start + frames, time)
        piece = {name: value[:, start:stop] for name, value in inputs.items()}
        left = None if lengths is None else lengths - start
        if loop.backward and left is not None:  # sequences that end in here begin anew
            goes_on = (left > stop - start).unsqueeze(-1)
            state = {name: torch.where(goes_on, value, initial[name]) for name, value in state.items()}
        here = None if left is None else left.clamp(0, stop - start)
        values = checkpoint(partial(run_loop, loop), piece, parameters, state, here, use_reentrant=False)
        state = {name: values[name][:, 0 if loop.backward else -1] for name in state}
        parts.append(values)
    if loop.backward:
        parts.reverse()
    return {name: torch.cat([part[name] for part in parts], 1) for name in parts[0]}
