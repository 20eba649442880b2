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
        z \leftarrow z + \frac{d}{1 + \|M^{-1/2} d\| / r} + \sqrt{2 \lambda M}\, \varepsilon, \qquad
        d = \lambda M \nabla_z \ln p(x, z).

    The chains live on from one EM iteration to the next, so that a single move is enough for each; and a point is
    decoded once: for the M-step, and for the next gradient.

    The step is stable below about the smallest posterior variance. Where a learned prior is narrow (a DKF's has
    variances of 0.003 to 0.2) no step suits all dimensions. Hence M: each dimension is measured in standard deviations
    of its prior, the mean over the frames being taken. For N(0, I) it is one.

    Args:
        step: λ.
        moves: moves in each E-step.
        chains: how many chains, side by side in one batch.
        precondition: M: ``"prior"``, see above; ``"rmsprop"`` (Li et al., 2016): 1/(√v + 10⁻¹⁵) with v the running mean
            square of the gradient; or None: one.
        reach: r: no frame moves further along its gradient than so many standard deviations; None as far as it goes.
        jitter: variance of noise that is added before the first E-step and, times M with ``"prior"``, once more after
            each. It heats the posterior to the temperature 1 + jitter/2λ, and raises SI-SDR.
        smooth: weight of Σ_t |z_t - z_{t-1}|, which is subtracted from ln p(x, z).
        decay: of the running mean square.

    Raises:
        ConfigError: a setting is out of range.
    """

    step: float = 1e-2
    moves: int = 1
    chains: int = 2
    precondition: Literal["prior", "rmsprop"] | None = "prior"
    reach: float | None = 10.0
    jitter: float = 0.03
    smooth: float = 0.0
    decay: float = 0.99

    def __post_init__(self) -> None:
        if self.step <= 0 or self.moves < 1 or self.chains < 1 or self.jitter < 0 or self.smooth < 0:
            raise ConfigError(f"Langevin: step, moves and chains are positive, jitter and smooth not negative: {self}")
        if self.precondition not in (None, "prior", "rmsprop"):
            raise ConfigError(f"Langevin: precondition is 'prior', 'rmsprop' or None, not {self.precondition!r}")
        if self.reach is not None and self.reach <= 0:
            raise ConfigError(f"Langevin: reach is positive or None, not {self.reach}")

    def gentler(self) -> Langevin:
        return replace(self, step=0.3 * self.step, jitter=0.3 * self.jitter)

    def start(self, prior: Conditioned, scene: Scene, draws: Draws) -> _Chains:
        return _Chains(self, prior, scene, draws)


Scale = Tensor | float
"""M, or a variance."""


class _Chains:
    def __init__(self, settings: Langevin, prior: Conditioned, scene: Scene, draws: Draws) -> None:
        self.settings, self.prior, self.scene, self.draws = settings, prior, scene, draws
        self.square: list[Tensor] | None = None
        latents = prior.encode(settings.chains)
        if settings.jitter:
            spread: list[Scale] = [settings.jitter for part in latents if part is not None]
            latents = self._shaken(latents, spread)
        self.point = Point(prior, scene, latents, gradient=True)

    def sweep(self, likelihood: NoisySpeech) -> Statistics:
        s = self.settings
        for move in range(s.moves):
            gradient = self.point.gradient(likelihood)
            if s.smooth:
                gradient[0] = gradient[0] - s.smooth * self._total_variation_slope(self.point.latents.z)
            scale = self._scale(gradient)
            latents = self._drifted(gradient, scale)
            latents = self._shaken(latents, [2 * s.step * m for m in scale])
            if s.jitter and move == s.moves - 1:
                latents = self._shaken(latents, [s.jitter * m for m in self._prior_scale()])
            self.point = Point(self.prior, self.scene, latents, gradient=True)
        return Statistics(speech=self.point.heard(likelihood))

    def _drifted(self, gradient: list[Tensor], scale: list[Scale]) -> Latents:
        parts = [part for part in self.point.latents if part is not None]
        moved = []
        for part, slope, m in zip(parts, gradient, scale, strict=True):
            drift = self.settings.step * m * slope
            if self.settings.reach is not None:
                drift = drift / (1 + (drift / m**0.5).norm(dim=-1, keepdim=True) / self.settings.reach)
            moved.append(part + drift)
        return Latents(*moved)

    def _shaken(self, latents: Latents, variances: list[Scale]) -> Latents:
        """Latents with Gaussian noise of these variances."""
        noisy, parts = [], (part for part in latents if part is not None)
        for index, (part, variance) in enumerate(zip(parts, variances, strict=True)):
            noise = self.draws.normal(self.settings.chains, part.shape[-1], frames=index == 0)
            noisy.append(part + noise * variance**0.5)
        return Latents(*noisy)

    def _scale(self, gradient: list[Tensor]) -> list[Scale]:
        """M."""
        if self.settings.precondition != "rmsprop":
            return self._prior_scale()
        decay = self.settings.decay
        before = self.square or [torch.zeros_like(g) for g in gradient]
        self.square = [decay * v + (1 - decay) * g.square() for v, g in zip(before, gradient, strict=True)]
        return [1 / (v.sqrt() + 1e-15) for v in self.square]

    def _prior_scale(self) -> list[Scale]:
        """The variance of the prior, of each dimension of each chain; of w it is one."""
        others: list[Scale] = [1.0] * (len(self.point.leaves) - 1)
        if self.settings.precondition != "prior":
            return [1.0, *others]
        variance = self.point.decoded.prior.variance.detach()
        if self.scene.valid is None:
            return [variance.mean(1, keepdim=True), *others]
        valid = self.scene.valid.repeat_interleave(self.settings.chains, 0)
        return [(variance * valid).sum(1, keepdim=True) / valid.sum(1, keepdim=True), *others]

    def _total_variation_slope(self, z: Tensor) -> Tensor:
        """The gradient of Σ_t |z_t - z_{t-1}|, the Euclidean norm of each difference."""
        difference = z[:, 1:] - z[:, :-1]
        unit = difference / difference.norm(dim=-1, keepdim=True).clamp(min=1e-12)
        if self.scene.valid is not None:
            unit = unit * self.scene.valid[:, 1:].repeat_interleave(self.settings.chains, 0)
        return F.pad(unit, (0, 0, 1, 0)) - F.pad(unit, (0, 0, 0, 1))
