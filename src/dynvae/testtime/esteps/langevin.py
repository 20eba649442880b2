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
from dynvae.testtime.likelihood import Likelihood
from dynvae.testtime.prior import Conditioned
from dynvae.testtime.scene import Draws, Scene


@dataclass(frozen=True)
class Langevin:
    r"""Unadjusted Langevin dynamics (LDEM; Sadeghi and Serizel, 2024).

    .. math::
        z \leftarrow z + \frac{d}{1 + \|M^{-1/2} d\| / r} + \sqrt{2 \lambda \tau M}\, \varepsilon, \qquad
        d = \lambda M \nabla_z \ln p(x, z).

    The chains live on from one EM iteration to the next, so that a single move is enough for each; and a point is
    decoded once: for the M-step, and for the next gradient.

    A step is stable below about the variance of the posterior. That differs a hundredfold: between priors (a DKF's
    own variances are 0.003 to 0.2), between recordings, since little noise makes it narrow, and between their frames.
    Hence M is an estimate of it, with the prior's variance P and the Gauss-Newton curvature of the likelihood:

    .. math::
        M_{td}^{-1} = P_d^{-1} + \overline{\left[J^\top (F^{1/2} \varepsilon)\right]^2}_t, \qquad
        J = \partial \ln \sigma^2 / \partial z, \quad F_{ft} = (g_t \sigma^2_{ft} / V_{ft})^2,
        \quad \varepsilon \sim \mathcal N(0, I).

    F is the Fisher information of the noisy speech about ln σ², and the square's expectation the diagonal of Jᵀ F J
    (Hutchinson's estimate). One draw, a backward pass, is made for each recording every few sweeps; it is averaged
    over chains, dimensions and some frames around t. P is averaged over the frames.

    Args:
        step: λ.
        moves: moves in each E-step.
        chains: how many chains, side by side in one batch.
        precondition: M: ``"posterior"``, see above; ``"rmsprop"`` (Li et al., 2016): 1/(√v + 10⁻¹⁵) with v the running
            mean square of the gradient; or None: one.
        reach: r: no frame moves further along its gradient than so many standard deviations; None as far as it goes.
        temperature: τ, of the posterior that is sampled. Above one, the chains see more of it, and SI-SDR rises.
        jitter: variance of noise that is added before the first E-step and once more after each.
        smooth: weight of ``Σ_t |z_t - z_{t-1}|``, which is subtracted from ln p(x, z).
        decay: of the running mean square.
        every: sweeps from one estimate of the posterior's variance to the next; old and new are averaged.
        span: over how many frames it is averaged, an odd number.

    Raises:
        ConfigError: a setting is out of range.
    """

    step: float = 0.12
    moves: int = 1
    chains: int = 1
    precondition: Literal["posterior", "rmsprop"] | None = "posterior"
    reach: float | None = 10.0
    temperature: float = 2.0
    jitter: float = 0.0
    smooth: float = 0.0
    decay: float = 0.99
    every: int = 5
    span: int = 5

    def __post_init__(self) -> None:
        least = (self.step, self.moves, self.chains, self.temperature, self.every)
        if min(least) <= 0 or self.jitter < 0 or self.smooth < 0:
            raise ConfigError("Langevin: step, moves, chains, temperature and every are positive, jitter and smooth "
                              f"not negative: {self}")  # fmt: skip
        if self.precondition not in (None, "posterior", "rmsprop"):
            raise ConfigError(f"Langevin: precondition is 'posterior', 'rmsprop' or None, not {self.precondition!r}")
        if self.reach is not None and self.reach <= 0:
            raise ConfigError(f"Langevin: reach is positive or None, not {self.reach}")
        if self.span < 1 or self.span % 2 == 0:
            raise ConfigError(f"Langevin: span is an odd number of frames, not {self.span}")

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
        self.variance: list[Scale] | None = None
        self.sweeps = 0
        latents = prior.encode(settings.chains)
        if settings.jitter:
            latents = self._shaken(latents, [settings.jitter] * 2)
        self.point = Point(prior, scene, latents, gradient=True)

    def sweep(self, likelihood: Likelihood) -> Statistics:
        s = self.settings
        if s.precondition == "posterior" and self.sweeps % s.every == 0:
            self.variance = self._posterior_variance(likelihood)
        self.sweeps += 1
        for move in range(s.moves):
            gradient = self.point.gradient(likelihood)
            if s.smooth:
                gradient[0] = gradient[0] - s.smooth * self._total_variation_slope(self.point.latents.z)
            scale = self._scale(gradient)
            latents = self._drifted(gradient, scale)
            latents = self._shaken(latents, [2 * s.step * s.temperature * m for m in scale])
            if s.jitter and move == s.moves - 1:
                latents = self._shaken(latents, [s.jitter] * 2)
            self.point = Point(self.prior, self.scene, latents, gradient=True)
        return self.point.statistics(likelihood)

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
        for index, (part, variance) in enumerate(zip(parts, variances, strict=False)):
            noise = self.draws.normal(self.settings.chains, part.shape[-1], frames=index == 0)
            noisy.append(part + noise * variance**0.5)
        return Latents(*noisy)

    def _scale(self, gradient: list[Tensor]) -> list[Scale]:
        """M."""
        if self.variance is not None:
            return self.variance
        if self.settings.precondition is None:
            return [1.0] * len(gradient)
        decay = self.settings.decay
        before = self.square or [torch.zeros_like(g) for g in gradient]
        self.square = [decay * v + (1 - decay) * g.square() for v, g in zip(before, gradient, strict=True)]
        return [1 / (v.sqrt() + 1e-15) for v in self.square]

    def _posterior_variance(self, likelihood: Likelihood) -> list[Scale]:
        """M of z, ``(rows, time, z_dim)``, and of w, ``(rows, 1)``: with a new draw of the curvature."""
        chains = self.settings.chains
        sensitivity = likelihood.sensitivity(self.point.heard(likelihood))
        slopes = self.point.slope(self.draws.normal(chains, sensitivity.shape[-1]) * sensitivity)
        z, *w = (self._over_chains(slope.square().mean(-1, keepdim=True)) for slope in slopes)
        prior = self._over_frames(self._over_chains(self.point.decoded.prior.variance.detach()))
        found: list[Scale] = [1 / (1 / prior + self._around(z))]
        found += [1 / (1 + curvature) for curvature in w]  # the prior of w is N(0, I)
        if self.variance is None:
            return found
        return [(old + new) / 2 for old, new in zip(self.variance, found, strict=True)]

    def _over_chains(self, values: Tensor) -> Tensor:
        """The mean over the chains of each recording, for each of them."""
        chains = self.settings.chains
        if chains == 1:
            return values
        return values.unflatten(0, (-1, chains)).mean(1).repeat_interleave(chains, 0)

    def _over_frames(self, values: Tensor) -> Tensor:
        """The mean over valid frames, ``(rows, 1, ...)``."""
        if self.scene.valid is None:
            return values.mean(1, keepdim=True)
        valid = self.scene.valid.repeat_interleave(self.settings.chains, 0)
        return (values * valid).sum(1, keepdim=True) / valid.sum(1, keepdim=True)

    def _around(self, values: Tensor) -> Tensor:
        """The mean over the valid ones of some frames around each, of ``(rows, time, 1)``."""
        span = self.settings.span
        valid = torch.ones_like(values)
        if self.scene.valid is not None:
            valid = self.scene.valid.repeat_interleave(self.settings.chains, 0)
        near = torch.cat([values * valid, valid], -1).mT
        total, count = F.avg_pool1d(near, span, 1, span // 2).mT.split(1, -1)
        return total / count.clamp(min=1 / span)

    def _total_variation_slope(self, z: Tensor) -> Tensor:
        """The gradient of Σ_t |z_t - z_{t-1}|, the Euclidean norm of each difference."""
        difference = z[:, 1:] - z[:, :-1]
        unit = difference / difference.norm(dim=-1, keepdim=True).clamp(min=1e-12)
        if self.scene.valid is not None:
            unit = unit * self.scene.valid[:, 1:].repeat_interleave(self.settings.chains, 0)
        return F.pad(unit, (0, 0, 1, 0)) - F.pad(unit, (0, 0, 0, 1))
