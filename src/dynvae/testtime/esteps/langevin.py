"""Langevin dynamics: many chains at once, each moved along its gradient and shaken."""

from __future__ import annotations

__all__ = ["Langevin"]

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from dynvae.errors import ConfigError
from dynvae.models import Latents
from dynvae.testtime.esteps.base import Point, Statistics
from dynvae.testtime.likelihood import NoisySpeech
from dynvae.testtime.prior import Conditioned
from dynvae.testtime.scene import Draws, Scene


@dataclass(frozen=True)
class Langevin:
    r"""Unadjusted Langevin dynamics (LDEM; Sadeghi and Serizel, 2024).

    .. math::
        z \leftarrow z + \lambda M \nabla_z \ln p(x, z) + \sqrt{2 \lambda M}\, \varepsilon

    with M = 1, or preconditioned (Li et al., 2016): M = 1/(√v + 10⁻¹⁵) with v the running mean square of the gradient.
    The chains live on from one EM iteration to the next, so that a single move is enough for each; and a point is
    decoded once: for the M-step, and for the next gradient.

    The step is stable below about the smallest posterior variance. Where the prior is narrow (DKF) plain dynamics
    explode at the usual step, and preconditioned ones do not.

    Args:
        step: λ.
        moves: moves in each E-step.
        chains: how many chains, side by side in one batch.
        precondition: ``"rmsprop"`` or None.
        jitter: variance of noise that is added once more after each E-step. It widens the posterior (it is a crude
            tempering), and raises SI-SDR.
        smooth: weight of Σ_t |z_t - z_{t-1}|, which is subtracted from ln p(x, z).
        decay: of the running mean square.

    Raises:
        ConfigError: a setting is out of range.
    """

    step: float = 1e-2
    moves: int = 1
    chains: int = 2
    precondition: Literal["rmsprop"] | None = None
    jitter: float = 0.03
    smooth: float = 0.0
    decay: float = 0.99

    def __post_init__(self) -> None:
        if self.step <= 0 or self.moves < 1 or self.chains < 1 or self.jitter < 0 or self.smooth < 0:
            raise ConfigError(f"Langevin: step, moves and chains are positive, jitter and smooth not negative: {self}")
        if self.precondition not in (None, "rmsprop"):
            raise ConfigError(f"Langevin: precondition is None or 'rmsprop', not {self.precondition!r}")

    def gentler(self) -> Langevin:
        return replace(self, step=0.3 * self.step)

    def start(self, prior: Conditioned, scene: Scene, draws: Draws) -> _Chains:
        return _Chains(self, prior, scene, draws)


class _Chains:
    def __init__(self, settings: Langevin, prior: Conditioned, scene: Scene, draws: Draws) -> None:
        self.settings, self.prior, self.scene, self.draws = settings, prior, scene, draws
        self.square: list[Tensor] | None = None
        latents = self._shaken(prior.encode(settings.chains), settings.jitter)
        self.point = Point(prior, scene, latents, gradient=True)

    def _shaken(self, latents: Latents, variance: float | list[Tensor]) -> Latents:
        """Latents with Gaussian noise of this variance."""
        if variance == 0:
            return latents
        noisy = []
        for index, part in enumerate(part for part in latents if part is not None):
            noise = self.draws.normal(self.settings.chains, part.shape[-1], frames=index == 0)
            scale = variance**0.5 if isinstance(variance, float | int) else variance[index].sqrt()
            noisy.append(part + noise * scale)
        return Latents(*noisy)

    def sweep(self, likelihood: NoisySpeech) -> Statistics:
        s = self.settings
        for move in range(s.moves):
            gradient = self.point.gradient(likelihood)
            parts = [part for part in self.point.latents if part is not None]
            if s.smooth:
                gradient[0] = gradient[0] - s.smooth * self._total_variation_slope(parts[0])
            if s.precondition:
                scale = self._scale(gradient)
                parts = [p + s.step * m * g for p, g, m in zip(parts, gradient, scale, strict=True)]
                latents = self._shaken(Latents(*parts), [2 * s.step * m for m in scale])
            else:
                parts = [torch.add(p, g, alpha=s.step) for p, g in zip(parts, gradient, strict=True)]
                latents = self._shaken(Latents(*parts), 2 * s.step)
            if move == s.moves - 1:
                latents = self._shaken(latents, s.jitter)
            self.point = Point(self.prior, self.scene, latents, gradient=True)
        return Statistics(speech=self.point.heard(likelihood))

    def _scale(self, gradient: list[Tensor]) -> list[Tensor]:
        """M."""
        decay = self.settings.decay
        before = self.square or [torch.zeros_like(g) for g in gradient]
        self.square = [decay * v + (1 - decay) * g.square() for v, g in zip(before, gradient, strict=True)]
        return [1 / (v.sqrt() + 1e-15) for v in self.square]

    def _total_variation_slope(self, z: Tensor) -> Tensor:
        """The gradient of Σ_t |z_t - z_{t-1}|, the Euclidean norm of each difference."""
        difference = z[:, 1:] - z[:, :-1]
        unit = difference / difference.norm(dim=-1, keepdim=True).clamp(min=1e-12)
        if self.scene.valid is not None:
            unit = unit * self.scene.valid[:, 1:].repeat_interleave(self.settings.chains, 0)
        return F.pad(unit, (0, 0, 1, 0)) - F.pad(unit, (0, 0, 0, 1))
