"""A member of the family whose log-likelihood and posterior are known exactly: the oracle of the bounds."""

from __future__ import annotations

__all__ = ["LinearGaussianDVAE", "expected_elbo"]

import math
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, MultivariateNormal

from dynvae.dependencies import Dependencies
from dynvae.models import DVAE, Latents, Posterior
from dynvae.models.kalman import LinearGaussian, kalman_filter
from dynvae.nn import full_precision, shift, time_mask


class _State(NamedTuple):
    z: Tensor  # z_t-1
    scale: Tensor  # root of the covariance of what z_t adds


class LinearGaussianDVAE(DVAE):
    r"""Linear-Gaussian state space model with its exact posterior (Kalman, 1960), seen as a DVAE.

    .. math::
        z_1 \sim \mathcal N(0, P), \quad z_t = A z_{t-1} + \mathcal N(0, Q), \quad x_t = C z_t + \mathcal N(0, r I).

    With :math:`p(x_{t:T} | z_t) \propto \exp(\eta_t^\top z_t - z_t^\top \Lambda_t z_t / 2)`, from

    .. math::
        \Lambda_t = C^\top C / r + A^\top (I + \Lambda_{t+1} Q)^{-1} \Lambda_{t+1} A, \qquad
        \eta_t = C^\top x_t / r + A^\top (I + \Lambda_{t+1} Q)^{-1} \eta_{t+1},

    the posterior :math:`q(z_t | z_{t-1}, x_{t:T})` has the precision :math:`Q^{-1} + \Lambda_t` and the mean
    :math:`(Q^{-1} + \Lambda_t)^{-1} (Q^{-1} A z_{t-1} + \eta_t)`. It is that of the deep Kalman filter, and here it is
    the true one: every importance weight is :math:`p(x)`, and :func:`expected_elbo` equals :meth:`log_likelihood`.

    Args:
        x_dim: size of an observed frame.
        z_dim: size of the state.
        observation_std: square root of r.
        looseness: factor on the posterior's standard deviation; 1 is exact, all else makes the bounds loose.
        seed: of the matrices.

    Example:
        >>> model = LinearGaussianDVAE().double()
        >>> x = model.sample(1, 6, feedback="sample").x
        >>> bool((model.iwae(x, samples=1) - model.log_likelihood(x)).abs() < 1e-9)
        True
    """

    title: ClassVar[str] = "Linear-Gaussian state space model"
    paper: ClassVar[str] = "Kalman, 1960"
    dependencies = Dependencies(prior="z[t-1]", likelihood="z[t]", posterior="z[t-1], x[t:T]")

    def __init__(
        self, x_dim: int = 3, z_dim: int = 2, *, observation_std: float = 0.5, looseness: float = 1.0, seed: int = 0
    ) -> None:
        super().__init__(x_dim, z_dim, likelihood="fixed_gaussian", observation_std=observation_std)
        generator = torch.Generator().manual_seed(seed)
        self.observation_std, self.looseness = observation_std, looseness
        rotation = torch.linalg.qr(torch.randn(z_dim, z_dim, generator=generator)).Q
        self.transition = nn.Parameter(0.9 * rotation)
        self.emission = nn.Parameter(torch.randn(x_dim, z_dim, generator=generator))
        self.initial_scale = nn.Parameter(torch.eye(z_dim) + 0.3 * torch.randn(z_dim, z_dim, generator=generator))
        self.noise_scale = nn.Parameter(0.6 * torch.eye(z_dim) + 0.2 * torch.randn(z_dim, z_dim, generator=generator))

    def posterior(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        *,
        noise: Latents | None = None,
        generator: torch.Generator | None = None,
        latents: Latents | None = None,
    ) -> Posterior:
        with full_precision(x):
            gain, offset, scale = self._conditionals(self.features(x, lengths), lengths)
            if latents is not None:
                mean = (gain @ shift(latents.z).unsqueeze(-1)).squeeze(-1) + offset
                return Posterior(latents, MultivariateNormal(mean, scale_tril=scale, validate_args=False))
            noise = noise or self.draw_noise(x.shape[0], x.shape[1], generator)
            z = self.weight.new_zeros(x.shape[0], self.z_dim)
            means, zs = [], []
            for t, eps in enumerate(noise.z.unbind(1)):
                means.append((gain[:, t] @ z.unsqueeze(-1)).squeeze(-1) + offset[:, t])
                z = means[-1] + (scale[:, t] @ eps.unsqueeze(-1)).squeeze(-1)
                zs.append(z)
            law = MultivariateNormal(torch.stack(means, 1), scale_tril=scale, validate_args=False)
            return Posterior(Latents(torch.stack(zs, 1)), law)

    def _conditionals(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Of q(z_t | z_t-1, x): the matrix on z_t-1, what x adds, and the root of the covariance, at every t."""
        batch, time, _ = x.shape
        identity = torch.eye(self.z_dim, dtype=x.dtype, device=x.device)
        initial, noise = (scale @ scale.mT for scale in self._scales())
        # What frame t tells by itself; padding tells nothing.
        seen = torch.ones(batch, time, dtype=x.dtype, device=x.device)
        seen = seen if lengths is None else time_mask(lengths, time).to(x.dtype)
        own_precision = seen[..., None, None] * (self.emission.mT @ self.emission) / self.observation_std**2
        own_pull = seen.unsqueeze(-1) * (x @ self.emission) / self.observation_std**2
        precision, pull = own_precision[:, -1], own_pull[:, -1]
        precisions, pulls = [precision], [pull]
        for t in reversed(range(time - 1)):
            spread = self.transition.mT @ torch.linalg.inv(identity + precision @ noise)
            precision = own_precision[:, t] + spread @ precision @ self.transition
            pull = own_pull[:, t] + (spread @ pull.unsqueeze(-1)).squeeze(-1)
            precisions.append(precision)
            pulls.append(pull)
        before = torch.stack([initial] + [noise] * (time - 1))
        covariance = torch.linalg.inv(torch.linalg.inv(before) + torch.stack(precisions[::-1], 1))
        covariance = 0.5 * (covariance + covariance.mT)
        gain = covariance @ torch.linalg.inv(before) @ self.transition
        offset = (covariance @ torch.stack(pulls[::-1], 1).unsqueeze(-1)).squeeze(-1)
        return gain, offset, self.looseness * torch.linalg.cholesky(covariance)

    def prior(self, latents: Latents, x: Tensor, lengths: Tensor | None = None) -> Distribution:
        initial, noise = self._scales()
        time = latents.z.shape[1]
        scale = torch.stack([initial] + [noise] * (time - 1)).expand(latents.z.shape[0], -1, -1, -1)
        with full_precision(latents.z):
            return MultivariateNormal(shift(latents.z) @ self.transition.mT, scale_tril=scale, validate_args=False)

    def likelihood(
        self,
        latents: Latents,
        x: Tensor,
        lengths: Tensor | None = None,
        seen: Mapping[str, Tensor] | None = None,
    ) -> Distribution:
        with full_precision(latents.z):
            return self.observation(latents.z @ self.emission.mT)

    def start(self, batch: int, w: Tensor | None = None) -> _State:
        return _State(self.weight.new_zeros(batch, self.z_dim), self._scales()[0].expand(batch, -1, -1))

    def step_prior(self, state: _State) -> Distribution:
        return MultivariateNormal(state.z @ self.transition.mT, scale_tril=state.scale, validate_args=False)

    def step_likelihood(self, state: _State, z: Tensor) -> tuple[Distribution, _State]:
        return self.observation(z @ self.emission.mT), state

    def advance(self, state: _State, z: Tensor, x: Tensor) -> _State:
        return _State(z, self._scales()[1].expand(z.shape[0], -1, -1))

    def _scales(self) -> tuple[Tensor, Tensor]:
        """Lower triangular roots of P and Q."""
        return self.initial_scale.tril(), self.noise_scale.tril()

    def log_likelihood(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The exact ln p(x) by the Kalman filter, ``(batch,)``, in nats a sequence."""
        batch, time, _ = x.shape
        initial, noise = (scale @ scale.mT for scale in self._scales())
        identity = torch.eye(self.x_dim, dtype=self.weight.dtype, device=self.weight.device)
        matrices = LinearGaussian(
            self.transition.expand(batch, time, -1, -1),
            self.weight.new_zeros(batch, time, self.z_dim, 1),
            self.emission.expand(batch, time, -1, -1),
            noise,
            self.observation_std**2 * identity,
        )
        x = self.features(x, lengths)
        log_prob = kalman_filter(x, x.new_zeros(batch, time, 1), matrices, initial).observation.log_prob(x)
        return (log_prob if lengths is None else log_prob.where(time_mask(lengths, time), 0)).sum(-1)


def expected_elbo(model: DVAE, x: Tensor, lengths: Tensor | None = None) -> Tensor:
    r"""The ELBO with its expectation over q taken exactly, ``(batch,)``, for a model that is linear and Gaussian.

    There the ELBO is a quadratic function of the n noise values that make a sample, so that its expectation is its
    mean over the 2n points :math:`\pm \sqrt n\, e_i`.
    """
    batch, time, _ = x.shape
    n = time * model.z_dim
    axes = math.sqrt(n) * torch.eye(n, dtype=model.weight.dtype, device=model.weight.device)
    points = torch.cat([axes, -axes]).view(2 * n, time, model.z_dim)
    return model.elbo(x, lengths, samples=2 * n, noise=Latents(points.repeat(batch, 1, 1))).total
