"""Variational EM: the encoder, trained on clean speech, learns what this noisy recording's latents are."""

from __future__ import annotations

__all__ = ["EncoderTuning"]

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dynvae.condition import Condition
from dynvae.distributions import kl_per_dimension, standard_normal
from dynvae.errors import ConfigError
from dynvae.models import DVAE, Latents, Posterior
from dynvae.testtime.esteps.base import Statistics, joined
from dynvae.testtime.likelihood import Likelihood, NoisySpeech
from dynvae.testtime.prior import Conditioned, ConditionedDVAE, Decoded, frozen
from dynvae.testtime.scene import Draws, Scene


@dataclass(frozen=True)
class EncoderTuning:
    r"""Variational EM (VEM; Leglaive et al., 2020): the encoder's weights φ ascend

    .. math:: E_{q_\phi(z | x)}[\ln p(x | z)] - D_{KL}(q_\phi(z | x) \| p(z))

    by Adam, with the noisy power as its input; then z is drawn anew. Only weights that the generative model does not
    use are tuned, on a copy of each recording's own.

    Args:
        rate: Adam's learning rate. At 5e-3 some runs collapse, with the objective none the worse.
        steps: of Adam in each E-step; its state lives on.
        samples: of z, for gradient and M-step.
        clip: norm beyond which a gradient is shortened; None never. It prevents most collapses.
        sample: draw z; otherwise it is q's mean.
        redraw: draw z anew between M-step and gradient, as published; otherwise one draw, encoded and decoded once,
            serves both. Where the decoder is fed back an estimate, which the M-step changes, z is always drawn anew.

    Raises:
        ConfigError: a setting is out of range, or the prior has no encoder.
    """

    rate: float = 1e-3
    steps: int = 1
    samples: int = 1
    clip: float | None = 100.0
    sample: bool = True
    redraw: bool = False

    def __post_init__(self) -> None:
        if self.rate <= 0 or self.steps < 1 or self.samples < 1 or (self.clip is not None and self.clip <= 0):
            raise ConfigError(f"EncoderTuning: rate, steps, samples and clip are positive: {self}")

    def gentler(self) -> EncoderTuning:
        return replace(self, rate=0.3 * self.rate, clip=min(self.clip or 100.0, 100.0))

    def start(self, prior: Conditioned, scene: Scene, draws: Draws) -> _Together:
        if not isinstance(prior, ConditionedDVAE):
            raise ConfigError(f"variational EM tunes an encoder, and a {type(prior).__name__} has none")
        parts = [scene.one(index) for index in range(scene.batch)]
        return _Together([_Tuned(self, prior, part, draws.one(i, part)) for i, part in enumerate(parts)], scene, prior)


class _Together:
    """Every recording has an encoder of its own, so that they are worked on one by one."""

    def __init__(self, chains: Sequence[_Tuned], scene: Scene, prior: ConditionedDVAE) -> None:
        self.chains, self.scene, self.prior = chains, scene, prior

    def sweep(self, likelihood: NoisySpeech) -> Statistics:
        parts = []
        for index, chain in enumerate(self.chains):
            time = chain.scene.power.shape[1]
            part = slice(index, index + 1)
            if self.prior.fed:
                chain.prior.feed(self.prior.past[part, :time])
            own = likelihood if len(self.chains) == 1 else likelihood.one(index, chain.scene)
            parts.append(chain.sweep(own))
        return joined(parts, self.scene)


class _Drawn(NamedTuple):
    posterior: Posterior
    decoded: Decoded
    divergence: Tensor


class _Tuned:
    def __init__(self, settings: EncoderTuning, prior: ConditionedDVAE, scene: Scene, draws: Draws) -> None:
        self.settings, self.scene, self.draws = settings, scene, draws
        self.model = frozen(prior.model)
        self.weights = encoder_weights(self.model)
        for weight in self.weights:
            weight.requires_grad_(True)
        self.prior = prior.applied(self.model, scene)
        self.power = scene.power.repeat_interleave(settings.samples, 0)
        self.beside = self.prior.beside(settings.samples)
        fused = all(weight.device.type in ("cpu", "cuda") for weight in self.weights)
        self.draw: _Drawn | None = None
        self.adam = torch.optim.Adam(self.weights, lr=settings.rate, fused=fused)

    def _noise(self) -> Latents:
        s, model = self.settings, self.model
        if not s.sample:
            w = self.power.new_zeros(s.samples, model.w_dim) if model.w_dim else None
            return Latents(self.power.new_zeros(s.samples, self.power.shape[1], model.noise_dim), w)
        z = self.draws.normal(s.samples, model.noise_dim)
        return Latents(z, self.draws.normal(s.samples, model.w_dim, frames=False) if model.w_dim else None)

    def _drawn(self) -> _Drawn:
        """A draw of q(z | x) by the present weights, decoded, with the graph back to them."""
        with torch.enable_grad():
            posterior = self.model.posterior(self.power, noise=self._noise(), **self.beside)
            decoded = self.prior.decode(posterior.latents)
            divergence = kl_per_dimension(posterior.z, decoded.prior).sum()
            if posterior.w is not None and posterior.latents.w is not None:
                kl_w = kl_per_dimension(posterior.w, standard_normal(posterior.latents.w))
                divergence = divergence + kl_w.sum()
        return _Drawn(posterior, decoded, divergence)

    def sweep(self, likelihood: Likelihood) -> Statistics:
        s, norm = self.settings, 0.0
        for _ in range(s.steps):
            if self.draw is None or s.redraw or self.prior.fed:  # what is fed back has changed
                self.draw = self._drawn()
            output, divergence = self.draw.decoded.output, self.draw.divergence
            score = likelihood.score(likelihood.of(output))
            self.adam.zero_grad()
            torch.autograd.backward([output, divergence], [-score, torch.ones_like(divergence)])
            if s.clip is not None:
                norm = float(nn.utils.clip_grad_norm_(self.weights, s.clip))
            self.adam.step()
            self.draw = self._drawn()
        assert self.draw is not None
        posterior, decoded = self.draw.posterior, self.draw.decoded
        z = posterior.latents.z.detach()
        return Statistics(
            speech=likelihood.of(decoded.output),
            latents=z,
            log_prior=decoded.log_prior.detach(),
            entropy=-posterior.z.log_prob(z).detach(),
            info={"gradient": norm} if s.clip is not None else {},
        )


def encoder_weights(model: DVAE) -> list[nn.Parameter]:
    """The weights that the posterior depends on, and prior and likelihood do not."""
    parameters = list(model.parameters())
    before = [parameter.requires_grad for parameter in parameters]
    for parameter in parameters:
        parameter.requires_grad_(True)
    with torch.enable_grad():
        x = model.weight.new_ones(1, 3, model.x_dim)
        z, w = model.weight.new_ones(1, 3, model.z_dim), model.weight.new_ones(1, model.w_dim)
        latents = Latents(z, w if model.w_dim else None)
        noise = latents._replace(z=model.weight.new_ones(1, 3, model.noise_dim))
        beside: dict[str, Any] = {}
        if model.condition_dim:
            beside["condition"] = Condition.of(model.weight.new_ones(1, 3, model.condition_dim))
        posterior = model.posterior(x, noise=noise, **beside)
        inferred = [part.sum() for part in posterior.latents if part is not None]
        laws = model.generative(latents, x, **beside)
        generated = [law.mean.sum() + law.variance.sum() for law in laws]
        encoder, generator = (_used(sum(values), parameters) for values in (inferred, generated))
    for parameter, required in zip(parameters, before, strict=True):
        parameter.requires_grad_(required)
    return [p for p, inside, outside in zip(parameters, encoder, generator, strict=True) if inside and not outside]


def _used(value: Tensor | int, parameters: Sequence[nn.Parameter]) -> list[bool]:
    assert isinstance(value, Tensor)
    return [g is not None for g in torch.autograd.grad(value, parameters, allow_unused=True)]
