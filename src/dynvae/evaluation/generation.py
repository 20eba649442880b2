"""New sound out of a model: ancestral sampling, and a phase for what it draws."""

from __future__ import annotations

__all__ = ["PEAK", "generate"]

from typing import Literal

import torch
from torch import Tensor

from dynvae.audio import griffin_lim
from dynvae.errors import ConfigError
from dynvae.evaluation.analysis import evaluating, speech_front_end
from dynvae.models import DVAE

PEAK = 0.9
"""The largest magnitude of generated sound (full scale is 1): -0.9 dB, with room for players that resample."""


def generate(
    model: DVAE,
    n: int,
    seconds: float,
    *,
    seed: int = 0,
    feedback: Literal["mean", "sample"] = "mean",
    iterations: int = 60,
) -> tuple[Tensor, Tensor]:
    """Draw sound from a model: its power spectrograms by ancestral sampling, the phase by Griffin-Lim.

    Args:
        model: with a front end.
        n: number of sequences.
        seconds: length of each.
        seed: of everything that is drawn.
        feedback: what a frame is, for the result and for the frames after it: the expected power (``"mean"``), or a
            draw from its law (``"sample"``), which is rougher.
        iterations: of Griffin-Lim.

    Returns:
        Waveforms ``(n, samples)`` that peak at :data:`PEAK`, and the power spectrograms ``(n, time, bins)``.

    Raises:
        ConfigError: a number is not positive, or the model has no front end that fits.
        AudioError: the model has drawn a power that is not finite.
    """
    front_end = speech_front_end(model)
    samples = round(seconds * front_end.sample_rate)
    if n < 1 or samples < 1 or iterations < 0:
        raise ConfigError(f"n ({n}), seconds ({seconds}) and iterations ({iterations}) must be positive")
    if feedback not in ("mean", "sample"):
        raise ConfigError(f"feedback is mean or sample, not {feedback!r}")
    generator = torch.Generator(device=next(model.parameters()).device).manual_seed(seed)
    with evaluating(model):
        power = model.sample(n, front_end.frames(samples), generator=generator, feedback=feedback).x.clamp(min=0)
        waveforms = griffin_lim(power, front_end, length=samples, iterations=iterations, generator=generator)
    peaks = waveforms.abs().amax(-1, keepdim=True)
    return (waveforms * (PEAK / peaks).where(peaks > 0, 0)).cpu(), power.cpu()
