"""What is timed of ours: training, analysis and generation; and whether it is the reference's mathematics."""

from __future__ import annotations

__all__ = ["analysis", "deviation", "executors", "generation", "same_weights", "training"]

import functools
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Literal

import torch
from torch import Tensor, nn

from benchmarks.cases import Case
from benchmarks.reference import Reference
from dynvae.models import DVAE, Latents
from dynvae.native import status
from dynvae.pretrained.translation import translate
from dynvae.recurrence import executor

Run = Callable[[], object]


def executors() -> dict[str, Callable[[], AbstractContextManager[object]]]:
    """The ways to run a model's recursion that this machine has, by name."""
    names: tuple[Literal["plain", "compiled"], ...] = ("plain", "compiled") if status().available else ("plain",)
    return {name: functools.partial(executor, name) for name in names}


def training(case: Case, model: DVAE, x: Tensor) -> Run:
    """A step of training on ``x``, ``(batch, time, bins)``: bound, gradients, Adam."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        loss = -model.elbo(x, free_running=case.free_running).per_frame
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def analysis(case: Case, model: DVAE, x: Tensor) -> Run:
    """Analysis and resynthesis of ``x``, ``(batch, time, bins)``: from power spectra to their model."""
    mode = "generation" if case.free_running else "teacher-forced"

    @torch.no_grad()
    def run() -> Tensor:
        return model.resynthesize(x, mode=mode).mean  # type: ignore[arg-type]

    return run


def generation(model: DVAE, batch: int, time: int) -> Run:
    """Generation of sequences."""
    return lambda: model.sample(batch, time)


def same_weights(ours: DVAE, theirs: nn.Module) -> bool:
    """Give our model the reference's weights; False for KVAE, of which no weights have been published."""
    if type(ours).__name__ == "KVAE":
        return False
    ours.load_state_dict(translate(theirs.state_dict())[2])
    return True


@torch.no_grad()
def deviation(case: Case, ours: DVAE, reference: Reference, theirs: nn.Module, x: Tensor) -> float:
    """Relative difference of both losses, given the same weights and noise.

    The published loss is the negative ELBO but for constants. In scheduled sampling both codes choose at random, in
    different ways; all past frames are the model's own there.
    """
    batch, time, bins = x.shape
    whole = Case(case.name, case.preset, case.config, float(case.free_running > 0))
    torch.manual_seed(0)
    expected = float(reference.loss(whole, theirs, x.transpose(0, 1).contiguous()))
    torch.manual_seed(0)
    w = torch.randn(batch, ours.w_dim) if ours.w_dim else None
    noise = Latents(torch.randn(time, batch, ours.z_dim).transpose(0, 1), w)
    found = -float(ours.elbo(x, noise=noise, free_running=whole.free_running).per_frame)
    found += ours.z_dim / 2 + ours.w_dim / 2 / time - bins * (math.log(math.pi) + 1) - float(x.log().sum(-1).mean())
    return abs(found - expected) / abs(expected)
