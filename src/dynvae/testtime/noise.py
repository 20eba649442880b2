"""Models of the noise, and the M-step: one update rule for all E-steps."""

from __future__ import annotations

__all__ = ["NMF", "FixedNoise", "Noise", "NoiseModel", "Patterns", "StationaryNoise", "update_gain"]

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from dynvae.errors import ConfigError
from dynvae.testtime.likelihood import NoisySpeech
from dynvae.testtime.scene import Draws, Scene

Sums = Callable[[Tensor], tuple[Tensor, Tensor]]
"""For a noise variance ψ: |x|² Σ_r w_r V_r⁻² and Σ_r w_r V_r⁻¹, each ``(batch, time, bins)``."""


class Noise(Protocol):
    """A noise model at work on a batch of recordings."""

    variance: Tensor
    """ψ, ``(batch, time, bins)``."""

    def update(self, sums: Sums) -> None:
        """One M-step: no increase of Σ_r w_r Σ_ft (|x|²/V_r + ln V_r), with exponent ½."""
        ...


class NoiseModel(Protocol):
    """The settings of a noise model."""

    def start(self, scene: Scene, draws: Draws) -> Noise:
        """Begin on recordings."""
        ...


@dataclass(frozen=True)
class NMF:
    r"""Noise of few spectral patterns: :math:`\psi = H W` (Févotte, Bertin and Durrieu, 2009).

    .. math::
        W \leftarrow W \odot \left[
            \frac{H^\top (P \odot \sum_r w_r V_r^{-2})}{H^\top \sum_r w_r V_r^{-1}} \right]^\eta

    and likewise H; then each pattern is scaled to sum one. With η = ½ no update increases the EM objective; η = 1 is
    faster.

    Args:
        rank: K, the number of patterns.
        exponent: η, ½ or 1.
        level: where H·W starts: at so many times the mean power of the recording, W random and H the same at all
            frames, so that at first all is noise but for what the prior claims. None: at uniform random W and H, as
            published, whatever the recording's level.
        floor: keep W and H away from zero.
    """

    rank: int = 8
    exponent: float = 0.5
    level: float | None = 3.0
    floor: bool = True

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ConfigError(f"noise has at least one pattern, not {self.rank}")
        if not 0 < self.exponent <= 1:
            raise ConfigError(f"the exponent of NMF lies in (0, 1], not {self.exponent}")

    def start(self, scene: Scene, draws: Draws) -> Noise:
        return Patterns(self, scene, draws)


class Patterns:
    """NMF at work.

    Attributes:
        w: W, the patterns, ``(batch, K, bins)``, each of sum one.
        h: H, their activations, ``(batch, time, K)``.
        variance: H W.
    """

    def __init__(self, model: NMF, scene: Scene, draws: Draws) -> None:
        tiny = torch.finfo(scene.power.dtype).eps
        bins = scene.power.shape[2]
        self.exponent = model.exponent
        self.w = draws.uniform(model.rank, bins, frames=False).unflatten(0, (scene.batch, -1)).clamp(min=tiny)
        if model.level is None:
            self.h = draws.uniform(1, model.rank).clamp(min=tiny)
        else:
            start = 2 * model.level / model.rank * scene.mean  # the mean of W is ½
            self.h = start.expand(-1, scene.power.shape[1], model.rank)
        self.floor = scene.floor if model.floor else torch.zeros_like(scene.floor)
        self.valid = scene.valid
        self._normalise()

    def _normalise(self) -> None:
        sums = self.w.sum(2, keepdim=True)
        self.w = self.w / sums
        self.h = self.h * sums.mT
        self.variance = self._product()

    def _product(self) -> Tensor:
        product = torch.bmm(self.h, self.w)
        return product if self.valid is None else torch.maximum(product, self.floor)

    def update(self, sums: Sums) -> None:
        up, down = sums(self.variance)
        self.w = torch.maximum(self.w * self._step(torch.bmm(self.h.mT, up), torch.bmm(self.h.mT, down)), self.floor)
        up, down = sums(self._product())
        self.h = torch.maximum(self.h * self._step(torch.bmm(up, self.w.mT), torch.bmm(down, self.w.mT)), self.floor)
        if self.valid is not None:
            self.h = self.h * self.valid
        self._normalise()

    def _step(self, up: Tensor, down: Tensor) -> Tensor:
        return _ratio(up, down) ** self.exponent if self.exponent != 0.5 else _ratio(up, down).sqrt_()


@dataclass(frozen=True)
class StationaryNoise:
    """Noise of one spectrum that does not change: NMF of rank one whose activations are all one.

    Args:
        exponent: η, ½ or 1.
    """

    exponent: float = 0.5

    def start(self, scene: Scene, draws: Draws) -> Noise:
        return _Stationary(self.exponent, scene)


class _Stationary:
    def __init__(self, exponent: float, scene: Scene) -> None:
        self.exponent, self.floor = exponent, scene.floor
        power = scene.power if scene.valid is None else scene.power * scene.valid
        spectrum = power.sum(1, keepdim=True) / scene.frames.view(-1, 1, 1)
        self.variance = torch.maximum(spectrum, self.floor).expand_as(scene.power)

    def update(self, sums: Sums) -> None:
        up, down = (part.sum(1, keepdim=True) for part in sums(self.variance))
        spectrum = self.variance[:, :1] * _ratio(up, down) ** self.exponent
        self.variance = torch.maximum(spectrum, self.floor).expand_as(self.variance)


@dataclass(frozen=True, eq=False)
class FixedNoise:
    """Noise that is known.

    Args:
        variance: ψ, what broadcasts to ``(batch, time, bins)``.
    """

    variance: Tensor

    def start(self, scene: Scene, draws: Draws) -> Noise:
        return _Fixed(torch.maximum(self.variance.to(scene.power), scene.floor).expand_as(scene.power))


@dataclass
class _Fixed:
    variance: Tensor

    def update(self, sums: Sums) -> None:
        pass


def update_gain(gain: Tensor, likelihood: NoisySpeech, speech: Tensor, weight: Tensor | None, least: float) -> Tensor:
    """The M-step of the gains of the frames, ``(batch, time)``, of which none falls below ``least``.

    g_t ← g_t [Σ_f |x|² Σ_r w_r σ_r² V_r⁻² / Σ_f Σ_r w_r σ_r² V_r⁻¹]^½.
    """
    return (gain * _ratio(*likelihood.gain_sums(speech, weight)).sqrt_()).clamp_(min=least)


def _ratio(up: Tensor, down: Tensor) -> Tensor:
    """Up / down, one where there is nothing to tell."""
    return torch.where(down > 0, up / down, 1)
