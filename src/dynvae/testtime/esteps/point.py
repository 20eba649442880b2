"""Point estimates: the most probable latents, found by gradient ascent."""

from __future__ import annotations

__all__ = ["PointEstimate"]

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dynvae.errors import ConfigError
from dynvae.models import Latents
from dynvae.testtime.esteps.base import Point, Statistics
from dynvae.testtime.likelihood import Likelihood, NoisySpeech
from dynvae.testtime.prior import Conditioned
from dynvae.testtime.scene import Draws, Scene


@dataclass(frozen=True)
class PointEstimate:
    r"""The mode of p(z | x), by Adam (PEEM; Kameoka et al., 2019; Sadeghi and Serizel, 2023).

    .. math:: z \leftarrow \arg\max_z\, \ln p(x | z) + \ln p(z)

    With a prior of the gains, :math:`p(g_t) = \mathrm{Gamma}(a, b)`, they are found together with z (GPEEM), and the
    M-step leaves them alone. A mode carries no mass of the posterior: of all E-steps this gives the poorest speech.

    Args:
        rate: Adam's learning rate.
        steps: of Adam in each E-step; its state lives on.
        gain_prior: a and b; None leaves the gains to the M-step.

    Raises:
        ConfigError: a setting is out of range.
    """

    rate: float = 5e-3
    steps: int = 20
    gain_prior: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.rate <= 0 or self.steps < 1 or (self.gain_prior is not None and min(self.gain_prior) <= 0):
            raise ConfigError(f"PointEstimate: rate, steps and the prior's a and b are positive: {self}")

    def gentler(self) -> PointEstimate:
        return replace(self, rate=0.3 * self.rate)

    def start(self, prior: Conditioned, scene: Scene, draws: Draws) -> _Climb:
        return _Climb(self, prior, scene)


class _Climb:
    def __init__(self, settings: PointEstimate, prior: Conditioned, scene: Scene) -> None:
        self.settings, self.prior, self.scene = settings, prior, scene
        self.latents = prior.encode(1)
        self.log_gain = torch.zeros(scene.power.shape[:2], dtype=scene.power.dtype, device=scene.power.device)
        self.parts = [part for part in self.latents if part is not None]
        leaves = [*self.parts, self.log_gain] if settings.gain_prior else self.parts
        self.adam = torch.optim.Adam(leaves, lr=settings.rate)
        self.point = Point(prior, scene, self.latents, gradient=True)

    def sweep(self, likelihood: Likelihood) -> Statistics:
        for _ in range(self.settings.steps):
            speech = self.point.heard(likelihood)
            if self.settings.gain_prior:
                assert isinstance(likelihood, NoisySpeech)
                likelihood = NoisySpeech(self.scene, likelihood.noise, self.log_gain.exp())
                self.log_gain.grad = -self._gain_slope(likelihood, speech)
            for part, gradient in zip(self.parts, self.point.gradient(likelihood), strict=True):
                part.grad = -gradient
            self.adam.step()
            self.point = Point(self.prior, self.scene, Latents(*self.parts), gradient=True)
        gain = self.log_gain.exp() if self.settings.gain_prior else None
        found = self.point.statistics(likelihood)
        # A point has no spread; let it be the prior's, by which densities under different priors compare.
        spread = 0.5 * self.point.decoded.prior.variance.detach().log().sum(-1)
        return replace(found, gain=gain, entropy=spread)

    def _gain_slope(self, likelihood: NoisySpeech, speech: Tensor) -> Tensor:
        """The gradient of ln p(x | z, g) + ln p(g) by ln g: g scales σ², so that both have the same slope."""
        assert self.settings.gain_prior is not None
        a, b = self.settings.gain_prior
        return likelihood.score(speech).sum(-1) + (a - 1) - b * likelihood.gain
