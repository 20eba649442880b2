"""The Kalman variational autoencoder: frame-wise pseudo-observations of a switching linear-Gaussian state."""

from __future__ import annotations

__all__ = ["KVAE"]

import math
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, MultivariateNormal

from dynvae.dependencies import Dependencies
from dynvae.models.base import DVAE, Latents, Posterior
from dynvae.models.kalman import (
    Filtered,
    LinearGaussian,
    condition,
    emission_law,
    kalman_filter,
    kalman_smoother,
    predict,
)
from dynvae.nn import MLP, CellState, Recurrent, full_precision


class _State(NamedTuple):
    rnn: CellState
    mean: Tensor  # of the state z_t given a_1:t-1
    covariance: Tensor
    matrices: LinearGaussian  # of frame t


class KVAE(DVAE):
    r"""Kalman variational autoencoder (Fraccaro et al., 2017), with the state integrated out exactly.

    .. math::
        p(x_t | a_t), \quad a_t = C_t z_t + \mathcal N(0, R), \quad z_t = A_t z_{t-1} + B_t a_{t-1} + \mathcal N(0, Q),
        \quad q(a_t | x_t), \qquad (A, B, C)_t = \sum_k \alpha_{t,k} (A, B, C)_k, \quad
        \alpha_t = \mathrm{softmax}(\mathrm{LSTM}(a_{1:t-1})).

    Given :math:`a`, the state :math:`z` is linear-Gaussian, so that the Kalman filter gives
    :math:`p(a_t | a_{1:t-1})` in closed form. That is the prior here: the ``z`` of the contract is the paper's
    :math:`a`, and the bound is the paper's (eq. 8) with its expectation over :math:`z` taken exactly instead of by
    sampling from the smoother. :meth:`smooth` gives the smoothed state.

    Q and R are diagonal and learned from the published constants; ``a_0 = 0`` is learned, as published.

    Args:
        x_dim: size of an observed frame.
        z_dim: size of the pseudo-observation a.
        state_dim: size of the linear-Gaussian state.
        mixtures: K, the number of matrices that are mixed.
        encoder_hidden: layers between x_t and q(a_t)'s parameters.
        mixture_rnn: size of the LSTM that gives α.
        decoder_hidden: layers between a_t and x_t.
        transition_std: where the square root of Q's diagonal starts.
        emission_std: where the square root of R's diagonal starts.
        initial_std: of the first state.
        activation: of the hidden layers.
        dropout: in the hidden layers.
        kwargs: see :class:`~dynvae.models.base.DVAE`.
    """

    title: ClassVar[str] = "Kalman variational autoencoder"
    paper: ClassVar[str] = "Fraccaro et al., 2017"
    dependencies = Dependencies(prior="a[1:t-1]", likelihood="a[t]", posterior="x[t]", latent="a")

    def __init__(
        self,
        x_dim: int = 513,
        z_dim: int = 16,
        *,
        state_dim: int = 16,
        mixtures: int = 10,
        encoder_hidden: Sequence[int] = (256, 128),
        mixture_rnn: int = 50,
        decoder_hidden: Sequence[int] = (128, 256),
        transition_std: float = math.sqrt(0.08),
        emission_std: float = math.sqrt(0.03),
        initial_std: float = math.sqrt(20.0),
        activation: str = "tanh",
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(x_dim, z_dim, **kwargs)
        options: dict[str, Any] = {"activation": activation, "dropout": dropout}
        self.encoder = MLP(x_dim, encoder_hidden, 2 * z_dim, **options)
        self.decoder = MLP(z_dim, decoder_hidden, x_dim * self.observation.outputs, **options)
        self.first_input = nn.Parameter(torch.zeros(z_dim))
        self.mixture_rnn = Recurrent(z_dim, mixture_rnn)
        self.mixture_net = MLP(mixture_rnn, (), mixtures)
        self.transitions = nn.Parameter(torch.eye(state_dim).repeat(mixtures, 1, 1))
        self.controls = nn.Parameter(0.05 * torch.randn(mixtures, state_dim, z_dim))
        self.emissions = nn.Parameter(0.05 * torch.randn(mixtures, z_dim, state_dim))
        self.transition_log_std = nn.Parameter(torch.full((state_dim,), math.log(transition_std)))
        self.emission_log_std = nn.Parameter(torch.full((z_dim,), math.log(emission_std)))
        self.initial_std = initial_std

    def posterior(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        *,
        noise: Latents | None = None,
        generator: torch.Generator | None = None,
        latents: Latents | None = None,
    ) -> Posterior:
        packed = self.encoder(self.features(x, lengths))
        return self._framewise_posterior(packed, noise, generator, latents)

    def prior(self, latents: Latents, x: Tensor, lengths: Tensor | None = None) -> MultivariateNormal:
        return self.filter(latents.z)[0].observation

    def likelihood(self, latents: Latents, x: Tensor, lengths: Tensor | None = None) -> Distribution:
        return self.observation(self.decoder(latents.z))

    def filter(self, a: Tensor) -> tuple[Filtered, LinearGaussian]:
        """The state given the pseudo-observations so far, ``(batch, time, z_dim)``, and the matrices of all frames."""
        first = self.first_input.expand(a.shape[0], 1, -1)
        past = torch.cat([first, a[:, :-1]], 1)
        matrices = self._mix(self.mixture_rnn(past))
        return kalman_filter(a, past, matrices, self._initial_covariance()), matrices

    def smooth(self, a: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and covariance of the state given the whole sequence of pseudo-observations.

        Args:
            a: ``(batch, time, z_dim)``.
            lengths: ``(batch,)``.
        """
        return kalman_smoother(*self.filter(a), lengths)

    def _mix(self, summary: Tensor) -> LinearGaussian:
        """The matrices that the LSTM's output ``(..., mixture_rnn)`` chooses."""
        alpha = self.mixture_net(summary).to(self.transitions.dtype).softmax(-1)
        with full_precision(alpha):
            A, B, C = (
                torch.einsum("...k,kij->...ij", alpha, matrices)
                for matrices in (self.transitions, self.controls, self.emissions)
            )
        # A floor of 1e-3 on both deviations: with less, rounding in float32 would outweigh the noise.
        Q = torch.diag((2 * self.transition_log_std).exp() + 1e-6)
        R = torch.diag((2 * self.emission_log_std).exp() + 1e-6)
        return LinearGaussian(A, B, C, Q, R)

    def _initial_covariance(self) -> Tensor:
        size = self.transitions.shape[-1]
        return self.initial_std**2 * torch.eye(size, dtype=self.weight.dtype, device=self.weight.device)

    def start(self, batch: int, w: Tensor | None = None) -> _State:
        out, rnn = self.mixture_rnn.step(self.first_input.expand(batch, -1), self.mixture_rnn.start(batch))
        covariance = self._initial_covariance().expand(batch, -1, -1)
        return _State(rnn, self.weight.new_zeros(batch, covariance.shape[-1]), covariance, self._mix(out))

    def step_prior(self, state: _State) -> MultivariateNormal:
        return emission_law(state.mean, state.covariance, state.matrices)

    def step_likelihood(self, state: _State, z: Tensor) -> tuple[Distribution, _State]:
        return self.observation(self.decoder(z)), state

    def advance(self, state: _State, z: Tensor, x: Tensor) -> _State:
        _, mean, covariance = condition(state.mean, state.covariance, z, state.matrices)
        out, rnn = self.mixture_rnn.step(z, state.rnn)
        matrices = self._mix(out)
        return _State(rnn, *predict(mean, covariance, z, matrices), matrices)
