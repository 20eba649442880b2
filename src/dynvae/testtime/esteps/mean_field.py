"""Variational-inference MCEM: speech keeps a Gaussian law of its own, and the latents see that law alone."""

from __future__ import annotations

__all__ = ["MeanField"]

from dataclasses import dataclass, field, replace

import torch

from dynvae.testtime.esteps.base import Chain, Statistics
from dynvae.testtime.esteps.metropolis import Metropolis
from dynvae.testtime.likelihood import NoisySpeech
from dynvae.testtime.prior import Conditioned
from dynvae.testtime.scene import Draws, Scene


@dataclass(frozen=True)
class MeanField:
    r"""The factorised posterior q(s) q(z) (VI-MCEM; Sadeghi and Alameda-Pineda, 2020).

    .. math::
        \gamma = 1 / E_{q(z)}[1/\sigma^2], \qquad m = \frac{\gamma}{\gamma + \psi} x, \qquad
        \nu = \frac{\gamma \psi}{\gamma + \psi}, \qquad \ln q(z) = \ln p(z) - \sum_{ft} \left(
        \frac{|m|^2 + \nu}{\sigma^2} + \ln \sigma^2 \right) + \mathrm{const},

    q(z) by samples. The M-step is the complete-data form, with ``E|x - s|² = |x - m|² + ν``, and there is no gain.

    Args:
        inner: how q(z) is sampled.
    """

    inner: Metropolis = field(default_factory=lambda: Metropolis(steps=40, burn_in=30))

    def gentler(self) -> MeanField:
        return replace(self, inner=self.inner.gentler())

    def start(self, prior: Conditioned, scene: Scene, draws: Draws) -> _Alternating:
        return _Alternating(self.inner.start(prior, scene, draws), scene)


class _Alternating:
    def __init__(self, chain: Chain, scene: Scene) -> None:
        self.chain, self.scene = chain, scene
        self.power = scene.power

    def sweep(self, likelihood: NoisySpeech) -> Statistics:
        scene = self.scene
        clean = scene.heard(self.power)
        nothing, one = scene.floor.expand_as(scene.power), torch.ones_like(likelihood.gain)
        found = self.chain.sweep(NoisySpeech(clean, nothing, one))
        assert found.speech is not None
        speech = found.speech.unflatten(0, (scene.batch, -1))
        gamma = 1 / speech.reciprocal().mean(1)
        mask = gamma / (gamma + likelihood.noise)
        spread = mask * likelihood.noise
        self.power = mask.square() * scene.power + spread
        noise_power = (1 - mask).square() * scene.power + spread
        # E ln p(x | s) + E ln p(s | z) + H(q(s)); with 1/γ = E[1/σ²], two of the terms are S/γ and ln ν.
        cost = noise_power / likelihood.noise + likelihood.noise.log() + speech.log().mean(1) + self.power / gamma
        bound = (spread.clamp(min=torch.finfo(spread.dtype).tiny).log() - cost).sum(-1)
        return replace(found, speech=None, noise_power=noise_power, mask=mask, frames=bound)
