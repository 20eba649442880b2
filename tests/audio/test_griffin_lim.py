"""Phases for spectrograms that have none."""

from __future__ import annotations

import pytest
import torch

from dynvae.audio import FrontEnd, griffin_lim
from dynvae.errors import AudioError

FRONT_END = FrontEnd(window_length=256, hop_length=64)


def signal(dtype: torch.dtype = torch.float64) -> torch.Tensor:
    t = torch.arange(4096, dtype=dtype)
    return torch.stack([torch.sin(0.05 * t + 3e-5 * t**2), torch.sin(0.3 * t) * torch.sin(0.002 * t)])


def distance(found: torch.Tensor, power: torch.Tensor) -> float:
    """Spectral convergence: how far the found magnitudes are from the wanted ones, relative."""
    wanted = power.sqrt()
    return float((FRONT_END.power(found).sqrt() - wanted).norm() / wanted.norm())


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_the_distance_never_grows_without_momentum_and_is_smaller_with() -> None:
    power = FRONT_END.power(signal())
    plain = [distance(griffin_lim(power, FRONT_END, iterations=n, momentum=0, generator=generator()), power)
             for n in (0, 1, 2, 5, 10, 40)]  # fmt: skip
    assert plain == sorted(plain, reverse=True)
    fast = distance(griffin_lim(power, FRONT_END, iterations=40, generator=generator()), power)
    assert fast < plain[-1] < 0.5 * plain[0]
    assert distance(griffin_lim(power, FRONT_END, iterations=200, generator=generator()), power) < 0.15


def test_seed_batch_length_and_dtype() -> None:
    power = FRONT_END.power(signal(torch.float32))
    once = griffin_lim(power, FRONT_END, iterations=5, generator=generator())
    assert torch.equal(once, griffin_lim(power, FRONT_END, iterations=5, generator=generator()))
    assert once.shape == (2, 4096)
    assert once.dtype == torch.float32
    for length in (4000, 4096, 4100, 4159, 4200):
        assert griffin_lim(power, FRONT_END, length=length, iterations=2).shape == (2, length)
    assert griffin_lim(power[0], FRONT_END, iterations=2).shape == (4096,)


def test_silence_gives_silence_and_nonsense_is_refused() -> None:
    assert not griffin_lim(torch.zeros(10, FRONT_END.bins), FRONT_END).any()
    for bad in (-1.0, float("nan"), float("inf")):
        with pytest.raises(AudioError, match="no phase"):
            griffin_lim(torch.full((10, FRONT_END.bins), bad), FRONT_END)
