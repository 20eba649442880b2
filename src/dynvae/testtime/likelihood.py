"""The likelihood of noisy speech: every sum over samples, frames and bins that the EM algorithm needs."""

from __future__ import annotations

__all__ = ["Likelihood", "NoisySpeech"]

from typing import Protocol

import torch
from torch import Tensor

from dynvae.testtime.scene import Scene

_LOG_VARIANCE_LIMIT = 45.0


class Likelihood(Protocol):
    """p(x | z) as E-steps see it; rows are ``batch · samples``, samples of a recording side by side."""

    def of(self, output: Tensor) -> Tensor:
        """What :meth:`log_prob` and :meth:`score` take, from the decoder's output ``(rows, time, feature)``."""
        ...

    def log_prob(self, speech: Tensor) -> Tensor:
        """The log-density of each frame, ln p(x_t | z), ``(rows, time)``, up to a constant."""
        ...

    def score(self, speech: Tensor) -> Tensor:
        """The gradient of :meth:`log_prob` by the decoder's output, ``(rows, time, feature)``."""
        ...

    def sensitivity(self, speech: Tensor) -> Tensor:
        """The root of the Fisher information of x about the decoder's output, ``(rows, time, feature)``."""
        ...


class NoisySpeech:
    r"""Speech of variance σ² at gain g in noise of variance ψ.

    .. math::
        x_{ft} | z \sim \mathcal N_c(0, V_{ft}), \qquad V_{ft} = g_t\, \sigma_{ft}^2(z) + \psi_{ft}.

    A decoder's output is the log-variance :math:`\ln \sigma^2`. Constants of x alone are left out.

    Args:
        scene: the recordings.
        noise: ψ, ``(batch, time, bins)``.
        gain: g, ``(batch, time)``.
    """

    def __init__(self, scene: Scene, noise: Tensor, gain: Tensor) -> None:
        self.scene, self.noise, self.gain = scene, noise, gain

    def one(self, index: int, scene: Scene) -> NoisySpeech:
        """Of one of the recordings, whose scene this is."""
        part, time = slice(index, index + 1), scene.power.shape[1]
        return NoisySpeech(scene, self.noise[part, :time], self.gain[part, :time])

    def of(self, output: Tensor) -> Tensor:
        return output.detach().clamp(-_LOG_VARIANCE_LIMIT, _LOG_VARIANCE_LIMIT).exp_()

    def _total(self, speech: Tensor) -> Tensor:
        """V, ``(batch, samples, time, bins)``."""
        return torch.addcmul(self.noise.unsqueeze(1), self._rows(speech), self.gain[:, None, :, None])

    def _rows(self, speech: Tensor) -> Tensor:
        return speech.unflatten(0, (self.scene.batch, -1))

    def _share(self, speech: Tensor) -> Tensor:
        """The part of V that is speech, g σ² / V, ``(batch, samples, time, bins)``."""
        return (self._rows(speech) * self.gain[:, None, :, None]).div_(self._total(speech))

    def log_prob(self, speech: Tensor) -> Tensor:
        """``-Σ_f (ln V + |x|²/V)``, ``(rows, time)``."""
        total = self._total(speech)
        cost = (self.scene.power.unsqueeze(1) / total).add_(total.log_())
        return cost.sum(-1).neg_().flatten(0, 1)

    def score(self, speech: Tensor) -> Tensor:
        """The gradient by ln σ², ``g σ² / V · (|x|²/V - 1)``; zero in the padding."""
        inverse = self._total(speech).reciprocal_()
        share = inverse * self.scene.power.unsqueeze(1)
        share = share.sub_(1).mul_(inverse).mul_(self._rows(speech)).mul_(self.gain[:, None, :, None])
        if self.scene.valid is not None:
            share = share.mul_(self.scene.valid.unsqueeze(1))
        return share.flatten(0, 1)

    def sensitivity(self, speech: Tensor) -> Tensor:
        """The root of the Fisher information about ln σ², g σ² / V; zero in the padding."""
        share = self._share(speech)
        if self.scene.valid is not None:
            share = share.mul_(self.scene.valid.unsqueeze(1))
        return share.flatten(0, 1)

    def cost(self, speech: Tensor, weight: Tensor | None = None) -> Tensor:
        """The EM objective: the mean over valid frames and bins of ``Σ_r w_r (|x|²/V_r + ln V_r)``, ``(batch,)``."""
        frames = self.scene.total(_mean(-self._rows(self.log_prob(speech)).unsqueeze(-1), weight).squeeze(-1))
        return frames / (self.scene.frames * self.noise.shape[-1])

    def noise_sums(self, speech: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``|x|² Σ_r w_r V_r⁻²`` and Σ_r w_r V_r⁻¹, ``(batch, time, bins)``; zero in the padding."""
        inverse = self._total(speech).reciprocal_()
        once = _mean(inverse, weight)
        twice = _mean(inverse.square(), weight) * self.scene.power
        if self.scene.valid is not None:
            once, twice = once * self.scene.valid, twice * self.scene.valid
        return twice, once

    def gain_sums(self, speech: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``Σ_f |x|² Σ_r w_r σ_r² V_r⁻²`` and Σ_f Σ_r w_r σ_r² V_r⁻¹, ``(batch, time)``."""
        inverse = self._total(speech).reciprocal_()
        share = self._rows(speech) * inverse
        once = _mean(share, weight).sum(-1)
        twice = (_mean(share.mul_(inverse), weight) * self.scene.power).sum(-1)
        return twice, once

    def wiener(self, speech: Tensor, weight: Tensor | None = None) -> Tensor:
        """The Wiener gain Σ_r w_r g σ_r² / V_r, ``(batch, time, bins)``."""
        return _mean(self._share(speech), weight)

    def clean_power(self, speech: Tensor, weight: Tensor | None = None) -> Tensor:
        """``E|s|²`` at unit gain, ``Σ_r w_r (g σ_r⁴ |x|² / V_r² + σ_r² ψ / V_r)``, ``(batch, time, bins)``."""
        share = self._rows(speech) / self._total(speech)  # σ²/V
        own = share.square() * (self.gain.unsqueeze(-1) * self.scene.power).unsqueeze(1)
        return _mean(own.add_(share.mul_(self.noise.unsqueeze(1))), weight)


def _mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """The weighted mean over the samples of ``(batch, samples, time, ...)``."""
    if weight is not None:
        return (values * weight.unsqueeze(-1)).sum(1)
    return values.squeeze(1) if values.shape[1] == 1 else values.mean(1)
