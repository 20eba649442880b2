"""A phase for a power spectrogram that has none: Griffin-Lim, and its fast variant."""

from __future__ import annotations

__all__ = ["griffin_lim"]

import math

import torch
from torch import Tensor

from dynvae.audio.stft import FrontEnd
from dynvae.errors import AudioError


def griffin_lim(
    power: Tensor,
    front_end: FrontEnd,
    length: int | None = None,
    iterations: int = 60,
    momentum: float = 0.99,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Find a waveform whose STFT has nearly this power, by alternating projections from a random phase.

    ``c_n = stft(istft(|X| t_{n-1} / |t_{n-1}|))``, ``t_n = c_n + α (c_n - c_{n-1})``: with ``α = 0`` the algorithm of
    Griffin and Lim (1984), which never increases the distance to the given magnitudes; with ``0 < α`` the fast
    Griffin-Lim of Perraudin, Balazs and Søndergaard (2013), which ends nearer to them.

    Args:
        power: ``|X|²``, ``(..., time, bins)``, not negative.
        front_end: the STFT that the power belongs to.
        length: samples of the result; ``(time - 1) * hop_length`` by default.
        iterations: number of projections; 0 leaves the random phase.
        momentum: ``α``.
        generator: source of the first phase.

    Returns:
        Waveform ``(..., length)``. The whole signal's sign is not determined by its power.

    Raises:
        AudioError: the power holds negative values, NaN or infinity.

    Example:
        >>> front_end = FrontEnd(window_length=256, hop_length=64)
        >>> waveform = torch.sin(torch.arange(2048) * 0.3)
        >>> found = griffin_lim(front_end.power(waveform), front_end, generator=torch.Generator().manual_seed(0))
        >>> found.shape
        torch.Size([2048])
    """
    if not bool(torch.isfinite(power).all()) or bool((power < 0).any()):
        raise AudioError("the power spectrogram holds negative, NaN or infinite values; there is no phase for it")
    magnitude = power.sqrt()
    kind = {"dtype": power.dtype, "device": power.device}
    turn = torch.rand(power.shape, generator=generator, **kind)  # type: ignore[call-overload]
    phase = torch.polar(torch.ones_like(turn), 2 * math.pi * turn)
    previous = torch.zeros_like(phase)
    time = power.shape[-2]
    inner = length if length is not None and front_end.frames(length) == time else (time - 1) * front_end.hop_length
    for _ in range(iterations):
        consistent = front_end.stft(front_end.istft(magnitude * phase, inner))
        accelerated = consistent + momentum * (consistent - previous)
        previous = consistent
        phase = torch.sgn(accelerated)  # t / |t|, and 0 where t is 0
    return front_end.istft(magnitude * phase, length)
