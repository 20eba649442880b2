"""The variational recurrent network: one deterministic state shared by encoder, prior and decoder."""

from __future__ import annotations

__all__ = ["VRNN"]

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
    h: Tensor  # what prior and decoder see of the past
    rnn: CellState


class VRNN(DVAE):
    r"""Variational recurrent neural network (Chung et al., 2015).

    .. math:: p(x, z) = \prod_t p(x_t | z_{1:t}, x_{1:t-1})\, p(z_t | z_{1:t-1}, x_{1:t-1}), \qquad
              q(z | x) = \prod_t q(z_t | z_{1:t-1}, x_{1:t}),

    all through one state :math:`h_{t+1} = \mathrm{LSTM}(\varphi(x_t), \varphi(z_t), h_t)`, ``h_1 = 0``.

    Args:
        x_dim: size of an observed frame.
        z_dim: size of a latent frame.
        x_hidden: layers of φ(x).
        z_hidden: layers of φ(z).
        rnn: size of the LSTM.
        rnn_layers: its number of layers.
        encoder_hidden: layers between (φ(x_t), h_t) and q's parameters.
        prior_hidden: layers between h_t and the prior's parameters.
        decoder_hidden: layers between (φ(z_t), h_t) and x_t.
        activation: of the hidden layers.
        dropout: in the hidden layers.
        kwargs: see :class:`~dynvae.models.base.DVAE`.
    """

    title: ClassVar[str] = "Variational recurrent neural network"
    paper: ClassVar[str] = "Chung et al., 2015"
    dependencies = Dependencies(prior="z[1:t-1], x[1:t-1]", likelihood="z[1:t], x[1:t-1]", posterior="z[1:t-1], x[1:t]")

    def __init__(
        self,
        x_dim: int = 513,
        z_dim: int = 16,
        *,
        x_hidden: Sequence[int] = (256,),
        z_hidden: Sequence[int] = (32, 64),
        rnn: int = 128,
        rnn_layers: int = 1,
        encoder_hidden: Sequence[int] = (),
        prior_hidden: Sequence[int] = (),
        decoder_hidden: Sequence[int] = (),
        activation: str = "tanh",
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(x_dim, z_dim, **kwargs)
        options: dict[str, Any] = {"activation": activation, "dropout": dropout}
        self.x_net = MLP(x_dim, x_hidden, **options)
        self.z_net = MLP(z_dim, z_hidden, **options)
        x_size, z_size = self.x_net.out_features, self.z_net.out_features
        self.rnn = Recurrent(x_size + z_size, rnn, layers=rnn_layers, dropout=dropout)
        self.encoder = MLP(x_size + rnn, encoder_hidden, 2 * z_dim, **options)
        self.prior_net = MLP(rnn, prior_hidden, 2 * z_dim, **options)
        self.decoder = MLP(z_size + rnn, decoder_hidden, x_dim * self.observation.outputs, **options)

    def posterior(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        *,
        noise: Latents | None = None,
        generator: torch.Generator | None = None,
        latents: Latents | None = None,
    ) -> Posterior:
        seen = self.x_net(self.features(x, lengths))
        if latents is not None:
            h = self._states(seen, self.z_net(latents.z))
            return Posterior(latents, gaussian(self.encoder(torch.cat([seen, h], -1))))
        noise = noise or self.draw_noise(x.shape[0], x.shape[1], generator)
        for_encoder, for_rnn = self.encoder.hoist(seen), self.rnn.hoist(seen)
        h, state = seen.new_zeros(x.shape[0], self.rnn.hidden), self.rnn.start(x.shape[0], seen)
        packed, zs = [], []
        for t, eps in enumerate(noise.z.unbind(1)):
            packed.append(self.encoder(h, hoisted=for_encoder[:, t]))
            zs.append(reparameterize(packed[-1], eps))
            h, state = self.rnn.step(self.z_net(zs[-1]), state, hoisted=for_rnn[:, t])
        return Posterior(Latents(torch.stack(zs, 1)), gaussian(torch.stack(packed, 1)))

    def prior(self, latents: Latents, x: Tensor, lengths: Tensor | None = None) -> Distribution:
        return self.generative(latents, x, lengths)[0]

    def likelihood(self, latents: Latents, x: Tensor, lengths: Tensor | None = None) -> Distribution:
        return self.generative(latents, x, lengths)[1]

    def generative(
        self, latents: Latents, x: Tensor, lengths: Tensor | None = None
    ) -> tuple[Distribution, Distribution]:
        z = self.z_net(latents.z)
        h = self._states(self.x_net(self.features(x, lengths)), z)
        return gaussian(self.prior_net(h)), self.observation(self.decoder(torch.cat([z, h], -1)))

    def _states(self, x_features: Tensor, z_features: Tensor) -> Tensor:
        """h_t at every t, from all frames and latents: the LSTM's output a frame late, from zero."""
        return shift(self.rnn(torch.cat([x_features, z_features], -1)))

    def start(self, batch: int, w: Tensor | None = None) -> _State:
        return _State(self.weight.new_zeros(batch, self.rnn.hidden), self.rnn.start(batch))

    def step_prior(self, state: _State) -> Distribution:
        return gaussian(self.prior_net(state.h))

    def step_likelihood(self, state: _State, z: Tensor) -> tuple[Distribution, _State]:
        return self.observation(self.decoder(torch.cat([self.z_net(z), state.h], -1))), state

    def advance(self, state: _State, z: Tensor, x: Tensor) -> _State:
        drive = torch.cat([self.x_net(self.features(x)), self.z_net(z)], -1)
        return _State(*self.rnn.step(drive, state.rnn))
