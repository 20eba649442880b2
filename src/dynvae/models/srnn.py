"""The stochastic recurrent neural network: a deterministic chain over x under a stochastic chain over z."""

from __future__ import annotations

__all__ = ["SRNN"]

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution

from dynvae.dependencies import Dependencies
from dynvae.distributions import gaussian, reparameterize
from dynvae.models.base import DVAE, Latents, Posterior
from dynvae.nn import MLP, CellState, Recurrent, shift


class _State(NamedTuple):
    h: Tensor  # h_t, which has seen x_1:t-1
    rnn: CellState
    z: Tensor  # z_t-1


class SRNN(DVAE):
    r"""Stochastic recurrent neural network (Fraccaro et al., 2016).

    .. math:: p(x, z) = \prod_t p(x_t | z_t, x_{1:t-1})\, p(z_t | z_{t-1}, x_{1:t-1}), \qquad
              q(z | x) = \prod_t q(z_t | z_{t-1}, x_{1:T}),

    with :math:`h_t = \mathrm{LSTM}(x_{t-1}, h_{t-1})` forward in time for the generative model and
    :math:`g_t = \mathrm{LSTM}([h_t, x_t], g_{t+1})` backward for the encoder; ``x_0 = z_0 = 0``. The paper's residual
    parameterisation of q's mean is left out, as in the published benchmarks.

    Args:
        x_dim: size of an observed frame.
        z_dim: size of a latent frame.
        x_hidden: layers on x_t-1 before the forward LSTM.
        forward_rnn: size of the forward LSTM.
        hx_hidden: layers on (h_t, x_t) before the backward LSTM.
        backward_rnn: size of the backward LSTM.
        rnn_layers: number of layers of both.
        encoder_hidden: layers between (g_t, z_t-1) and q's parameters.
        prior_hidden: layers between (h_t, z_t-1) and the prior's parameters.
        decoder_hidden: layers between (h_t, z_t) and x_t.
        activation: of the hidden layers.
        dropout: in the hidden layers.
        kwargs: see :class:`~dynvae.models.base.DVAE`.
    """

    title: ClassVar[str] = "Stochastic recurrent neural network"
    paper: ClassVar[str] = "Fraccaro et al., 2016"
    dependencies = Dependencies(prior="z[t-1], x[1:t-1]", likelihood="z[t], x[1:t-1]", posterior="z[t-1], x[1:T]")

    def __init__(
        self,
        x_dim: int = 513,
        z_dim: int = 16,
        *,
        x_hidden: Sequence[int] = (256,),
        forward_rnn: int = 128,
        hx_hidden: Sequence[int] = (256,),
        backward_rnn: int = 128,
        rnn_layers: int = 1,
        encoder_hidden: Sequence[int] = (64, 32),
        prior_hidden: Sequence[int] = (64, 32),
        decoder_hidden: Sequence[int] = (256,),
        activation: str = "tanh",
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(x_dim, z_dim, **kwargs)
        options: dict[str, Any] = {"activation": activation, "dropout": dropout}
        stack: dict[str, Any] = {"layers": rnn_layers, "dropout": dropout}
        self.x_net = MLP(x_dim, x_hidden, **options)
        self.forward_rnn = Recurrent(self.x_net.out_features, forward_rnn, **stack)
        self.hx_net = MLP(forward_rnn + x_dim, hx_hidden, **options)
        self.backward_rnn = Recurrent(self.hx_net.out_features, backward_rnn, direction="backward", **stack)
        self.encoder = MLP(backward_rnn + z_dim, encoder_hidden, 2 * z_dim, **options)
        self.prior_net = MLP(forward_rnn + z_dim, prior_hidden, 2 * z_dim, **options)
        self.decoder = MLP(forward_rnn + z_dim, decoder_hidden, x_dim * self.observation.outputs, **options)

    def posterior(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        *,
        noise: Latents | None = None,
        generator: torch.Generator | None = None,
        latents: Latents | None = None,
    ) -> Posterior:
        features = self.features(x, lengths)
        g = self.backward_rnn(self.hx_net(torch.cat([self._past(features), features], -1)), lengths)
        if latents is not None:
            return Posterior(latents, gaussian(self.encoder(torch.cat([g, shift(latents.z)], -1))))
        noise = noise or self.draw_noise(x.shape[0], x.shape[1], generator)
        z = g.new_zeros(x.shape[0], self.z_dim)
        packed, zs = [], []
        for hoisted, eps in zip(self.encoder.hoist(g).unbind(1), noise.z.unbind(1), strict=True):
            packed.append(self.encoder(z, hoisted=hoisted))
            z = reparameterize(packed[-1], eps)
            zs.append(z)
        return Posterior(Latents(torch.stack(zs, 1)), gaussian(torch.stack(packed, 1)))

    def prior(self, latents: Latents, x: Tensor, lengths: Tensor | None = None) -> Distribution:
        return self.generative(latents, x, lengths)[0]

    def likelihood(self, latents: Latents, x: Tensor, lengths: Tensor | None = None) -> Distribution:
        return self.generative(latents, x, lengths)[1]

    def generative(
        self, latents: Latents, x: Tensor, lengths: Tensor | None = None
    ) -> tuple[Distribution, Distribution]:
        h = self._past(self.features(x, lengths))
        prior = gaussian(self.prior_net(torch.cat([h, shift(latents.z)], -1)))
        return prior, self.observation(self.decoder(torch.cat([h, latents.z], -1)))

    def _past(self, features: Tensor) -> Tensor:
        """h_t at every t: the forward LSTM over the frames before t."""
        return self.forward_rnn(self.x_net(shift(features)))

    def start(self, batch: int, w: Tensor | None = None) -> _State:
        nothing = self.weight.new_zeros(batch, self.x_dim)
        return _State(*self._see(nothing, self.forward_rnn.start(batch)), self.weight.new_zeros(batch, self.z_dim))

    def step_prior(self, state: _State) -> Distribution:
        return gaussian(self.prior_net(torch.cat([state.h, state.z], -1)))

    def step_likelihood(self, state: _State, z: Tensor) -> tuple[Distribution, _State]:
        return self.observation(self.decoder(torch.cat([state.h, z], -1))), state

    def advance(self, state: _State, z: Tensor, x: Tensor) -> _State:
        return _State(*self._see(self.features(x), state.rnn), z)

    def _see(self, features: Tensor, rnn: CellState) -> tuple[Tensor, CellState]:
        return self.forward_rnn.step(self.x_net(features), rnn)
