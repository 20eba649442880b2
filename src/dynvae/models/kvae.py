"""The Kalman variational autoencoder: frame-wise pseudo-observations of a switching linear-Gaussian state."""

from __future__ import annotations

__all__ = ["KVAE"]

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, MultivariateNormal

from dynvae.condition import Condition
from dynvae.dependencies import Dependencies
from dynvae.errors import ConfigError
from dynvae.models.base import DVAE, Generated, Latents
from dynvae.models.kalman import (
    Filtered,
    LinearGaussian,
    condition,
    emission_law,
    kalman_filter,
    kalman_smoother,
    predict,
)
from dynvae.models.recursive import Recursion, RecursiveDVAE, State
from dynvae.nn import MLP, Recurrent, full_precision
from dynvae.recurrence import past, run


class _Predicted(NamedTuple):
    """The law of the state z_t given a_1:t-1, and the matrices of frame t."""

    mean: Tensor
    covariance: Tensor
    matrices: LinearGaussian


class KVAE(RecursiveDVAE):
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
        kwargs: see :class:`~dynvae.models.base.DVAE`; the latent is Gaussian, without a dictionary.

    Raises:
        ConfigError: another latent is asked for.
    """

    title: ClassVar[str] = "Kalman variational autoencoder"
    paper: ClassVar[str] = "Fraccaro et al., 2017"
    prior_law: ClassVar[str] = "mixture"
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
        if self.degrees is not None or self.dictionary is not None:
            raise ConfigError("a KVAE's pseudo-observations are Gaussian, as the Kalman filter has it: no other latent")
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

    def inference(self, p: Recursion) -> None:
        p.posterior(p(self.encoder, p.x))

    def generation(self, p: Recursion) -> None:
        p.laws["mixture"] = p(self.mixture_net, p(self.mixture_rnn, past(p.z)))
        p.likelihood(p(self.decoder, p.z))

    def initial(self, batch: int) -> dict[str, Tensor]:
        return {"z": self.first_input.expand(batch, -1)}

    def _prior(self, values: Mapping[str, Tensor], latents: Latents) -> MultivariateNormal:
        return self._filter(latents.z, self._mix(values["mixture_net"])).observation

    def filter(self, a: Tensor) -> tuple[Filtered, LinearGaussian]:
        """The state given the pseudo-observations so far, ``(batch, time, z_dim)``, and the matrices of all frames."""
        names, initial = self.declared.names("mixture"), self.initial(a.shape[0])
        mixture = run(self.declared.generation, self, {"z": a}, names, initial=initial)["mixture_net"]
        matrices = self._mix(mixture)
        return self._filter(a, matrices), matrices

    def _filter(self, a: Tensor, matrices: LinearGaussian) -> Filtered:
        past_inputs = torch.cat([self.first_input.expand(a.shape[0], 1, -1), a[:, :-1]], 1)
        return kalman_filter(a, past_inputs, matrices, self._initial_covariance())

    def smooth(self, a: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and covariance of the state given the whole sequence of pseudo-observations.

        Args:
            a: ``(batch, time, z_dim)``.
            lengths: ``(batch,)``.
        """
        return kalman_smoother(*self.filter(a), lengths)

    def _mix(self, mixture: Tensor) -> LinearGaussian:
        """The matrices mixed by the softmax of ``(..., mixtures)``."""
        alpha = mixture.to(self.transitions.dtype).softmax(-1)
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

    def _sample(
        self,
        n: int,
        length: int,
        w: Tensor | None,
        generator: torch.Generator | None,
        feedback: str,
        condition: Condition | None = None,
    ) -> Generated:
        return DVAE._sample(self, n, length, w, generator, feedback)  # the filter runs frame by frame

    def start(self, batch: int, w: Tensor | None = None, condition: Condition | None = None) -> State:
        state = super().start(batch, w)
        covariance = self._initial_covariance().expand(batch, -1, -1)
        mean = self.weight.new_zeros(batch, covariance.shape[-1])
        return state._replace(extra=_Predicted(mean, covariance, self._matrices(state)))

    def step_prior(self, state: State) -> MultivariateNormal:
        return emission_law(*state.extra)

    def step_likelihood(self, state: State, z: Tensor) -> tuple[Distribution, State]:
        likelihood, after = super().step_likelihood(state, z)
        return likelihood, after._replace(extra=state.extra)

    def advance(self, state: State, z: Tensor, x: Tensor) -> State:
        after = super().advance(state, z, x)
        _, mean, covariance = condition(state.extra.mean, state.extra.covariance, z, state.extra.matrices)
        matrices = self._matrices(after)
        return after._replace(extra=_Predicted(*predict(mean, covariance, matrices.push(z), matrices), matrices))

    def _matrices(self, state: State) -> LinearGaussian:
        """Those of a state's frame, one of each for every sequence."""
        mixed = self._mix(state.now["mixture_net"])
        batch = mixed.transition.shape[0]
        Q, R = (noise.expand(batch, -1, -1) for noise in (mixed.transition_noise, mixed.emission_noise))
        return mixed._replace(transition_noise=Q, emission_noise=R)
