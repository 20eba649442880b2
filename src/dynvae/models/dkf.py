"""The deep Kalman filter: a nonlinear state space model with a smoothing encoder."""

from __future__ import annotations

__all__ = ["DKF", "GatedTransition"]

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent
from torch.nn import functional as F

from dynvae.dependencies import Dependencies
from dynvae.distributions import bound_log_variance, diagonal_normal, gaussian, reparameterize
from dynvae.models.base import DVAE, Latents, Posterior
from dynvae.nn import MLP, Direction, Recurrent, shift


class GatedTransition(nn.Module):
    r"""The gated transition of the deep Markov model (Krishnan et al., 2017, section 5).

    .. math::
        g = \sigma(\mathrm{MLP}(z)), \quad h = \mathrm{MLP}(z), \quad
        \mu = (1 - g) \odot W_\mu z + g \odot h, \quad \sigma^2 = \mathrm{softplus}(W_\sigma\, \mathrm{relu}(h))
    """

    def __init__(self, z_dim: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.gate = MLP(z_dim, (z_dim,), z_dim, activation="relu", dropout=dropout)
        self.proposal = MLP(z_dim, (z_dim,), z_dim, activation="relu", dropout=dropout)
        self.mean = nn.Linear(z_dim, z_dim)
        self.variance = nn.Linear(z_dim, z_dim)

    def forward(self, z: Tensor) -> Independent:
        """p(z_t | z_t-1) from z_t-1, ``(..., z_dim)``."""
        gate, proposal = self.gate(z).sigmoid(), self.proposal(z)
        mean = (1 - gate) * self.mean(z) + gate * proposal
        variance = F.softplus(self.variance(proposal.relu()))
        return diagonal_normal(mean, bound_log_variance(variance.clamp(min=torch.finfo(z.dtype).tiny).log()))


class DKF(DVAE):
    r"""Deep Kalman filter, or deep Markov model, with the DKS encoder (Krishnan et al., 2015, 2017).

    .. math:: p(x, z) = \prod_t p(x_t | z_t)\, p(z_t | z_{t-1}), \qquad q(z | x) = \prod_t q(z_t | z_{t-1}, x_{t:T}).

    The encoder averages :math:`\tanh(\mathrm{MLP}(z_{t-1}))` with a backward LSTM over x; ``z_0 = 0``.

    Args:
        x_dim: size of an observed frame.
        z_dim: size of a latent frame.
        x_hidden: layers on x before the LSTM.
        rnn: size of the LSTM (of each direction).
        rnn_layers: its number of layers.
        bidirectional: let the encoder see x_1:T instead of x_t:T.
        z_hidden: layers on z_t-1 before it meets the LSTM.
        encoder_hidden: layers between their average and q's parameters.
        decoder_hidden: layers between z_t and x_t.
        activation: of the hidden layers (the transition's is relu).
        dropout: in the hidden layers.
        kwargs: see :class:`~dynvae.models.base.DVAE`.
    """

    title: ClassVar[str] = "Deep Kalman filter"
    paper: ClassVar[str] = "Krishnan et al., 2015, 2017"
    dependencies = Dependencies(prior="z[t-1]", likelihood="z[t]", posterior="z[t-1], x[t:T]")

    def __init__(
        self,
        x_dim: int = 513,
        z_dim: int = 16,
        *,
        x_hidden: Sequence[int] = (256,),
        rnn: int = 128,
        rnn_layers: int = 1,
        bidirectional: bool = False,
        z_hidden: Sequence[int] = (32,),
        encoder_hidden: Sequence[int] = (32,),
        decoder_hidden: Sequence[int] = (32, 64, 128, 256),
        activation: str = "tanh",
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(x_dim, z_dim, **kwargs)
        options: dict[str, Any] = {"activation": activation, "dropout": dropout}
        if bidirectional:
            self.dependencies = Dependencies(prior="z[t-1]", likelihood="z[t]", posterior="z[t-1], x[1:T]")
        self.x_net = MLP(x_dim, x_hidden, **options)
        direction: Direction = "both" if bidirectional else "backward"
        self.x_rnn = Recurrent(self.x_net.out_features, rnn, layers=rnn_layers, direction=direction, dropout=dropout)
        self.z_net = MLP(z_dim, z_hidden, rnn, **options)
        self.encoder = MLP(rnn, encoder_hidden, 2 * z_dim, **options)
        self.transition = GatedTransition(z_dim, dropout=dropout)
        self.decoder = MLP(z_dim, decoder_hidden, x_dim * self.observation.outputs, **options)

    def posterior(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        *,
        noise: Latents | None = None,
        generator: torch.Generator | None = None,
        latents: Latents | None = None,
    ) -> Posterior:
        runs = self.x_rnn(self.x_net(self.features(x, lengths)), lengths).chunk(len(self.x_rnn.directions), -1)
        summary, parts = sum(runs), len(runs) + 1
        if latents is not None:
            return Posterior(latents, gaussian(self.encoder((self.z_net(shift(latents.z)).tanh() + summary) / parts)))
        noise = noise or self.draw_noise(x.shape[0], x.shape[1], generator)
        z = x.new_zeros(x.shape[0], self.z_dim, dtype=summary.dtype)
        packed, zs = [], []
        for seen, eps in zip(summary.unbind(1), noise.z.unbind(1), strict=True):
            packed.append(self.encoder((self.z_net(z).tanh() + seen) / parts))
            z = reparameterize(packed[-1], eps)
            zs.append(z)
        return Posterior(Latents(torch.stack(zs, 1)), gaussian(torch.stack(packed, 1)))

    def prior(self, latents: Latents, x: Tensor, lengths: Tensor | None = None) -> Distribution:
        return self.transition(shift(latents.z))

    def likelihood(self, latents: Latents, x: Tensor, lengths: Tensor | None = None) -> Distribution:
        return self.observation(self.decoder(latents.z))

    def start(self, batch: int, w: Tensor | None = None) -> Tensor:
        return self.weight.new_zeros(batch, self.z_dim)

    def step_prior(self, state: Tensor) -> Distribution:
        return self.transition(state)

    def step_likelihood(self, state: Tensor, z: Tensor) -> tuple[Distribution, Tensor]:
        return self.observation(self.decoder(z)), state

    def advance(self, state: Tensor, z: Tensor, x: Tensor) -> Tensor:
        return z
