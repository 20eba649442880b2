"""The disentangled sequential autoencoder: one latent for the sequence, one for each frame."""

from __future__ import annotations

__all__ = ["DSAE"]

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
    h: Tensor  # what the prior sees of z_1:t-1
    rnn: CellState
    v: Tensor


class DSAE(DVAE):
    r"""Disentangled sequential autoencoder (Li and Mandt, 2018), with its "full" encoder.

    .. math:: p(x, z, v) = p(v) \prod_t p(x_t | z_t, v)\, p(z_t | z_{1:t-1}), \qquad
              q(z, v | x) = q(v | x_{1:T}) \prod_t q(z_t | v, x_{1:T}).

    :math:`v` is the ``w`` of :class:`~dynvae.models.base.Latents`: what does not change in a sequence, such as the
    speaker.

    Args:
        x_dim: size of an observed frame.
        z_dim: size of a latent frame.
        v_dim: size of the sequence-level latent.
        x_hidden: layers on x before both encoders.
        v_rnn: size of the bidirectional LSTM that infers v.
        v_hidden: layers between its last states and q(v)'s parameters.
        z_rnn: size of the bidirectional LSTM over (x, v).
        z_hidden: layers after it.
        encoder_rnn: size of the tanh RNN that gives q(z_t)'s parameters.
        prior_rnn: size of the prior's LSTM.
        decoder_hidden: layers between (v, z_t) and x_t.
        rnn_layers: number of layers of all of these.
        activation: of the hidden layers.
        dropout: in the hidden layers.
        kwargs: see :class:`~dynvae.models.base.DVAE`.
    """

    title: ClassVar[str] = "Disentangled sequential autoencoder"
    paper: ClassVar[str] = "Li and Mandt, 2018"
    dependencies = Dependencies(
        prior="z[1:t-1]",
        likelihood="z[t], v",
        posterior="v, x[1:T]",
        sequence_latent="v",
        sequence_posterior="x[1:T]",
    )

    def __init__(
        self,
        x_dim: int = 513,
        z_dim: int = 16,
        v_dim: int = 16,
        *,
        x_hidden: Sequence[int] = (),
        v_rnn: int = 128,
        v_hidden: Sequence[int] = (),
        z_rnn: int = 128,
        z_hidden: Sequence[int] = (),
        encoder_rnn: int = 128,
        prior_rnn: int = 128,
        decoder_hidden: Sequence[int] = (32, 64, 128, 256),
        rnn_layers: int = 1,
        activation: str = "tanh",
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(x_dim, z_dim, w_dim=v_dim, **kwargs)
        options: dict[str, Any] = {"activation": activation, "dropout": dropout}
        stack: dict[str, Any] = {"layers": rnn_layers, "dropout": dropout}
        self.x_net = MLP(x_dim, x_hidden, **options)
        size = self.x_net.out_features
        self.v_rnn = Recurrent(size, v_rnn, direction="both", **stack)
        self.v_encoder = MLP(2 * v_rnn, v_hidden, 2 * v_dim, **options)
        self.z_rnn = Recurrent(size + v_dim, z_rnn, direction="both", **stack)
        self.z_net = MLP(2 * z_rnn, z_hidden, **options)
        self.encoder_rnn = Recurrent(self.z_net.out_features, encoder_rnn, cell="rnn", **stack)
        self.encoder = MLP(encoder_rnn, (), 2 * z_dim)
        self.prior_rnn = Recurrent(z_dim, prior_rnn, **stack)
        self.prior_net = MLP(prior_rnn, (), 2 * z_dim)
        self.decoder = MLP(v_dim + z_dim, decoder_hidden, x_dim * self.observation.outputs, **options)

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
        packed_v = self.v_encoder(self.v_rnn.last(self.v_rnn(seen, lengths), lengths))
        if latents is not None:
            packed = self._encode(seen, latents.w, lengths)
            return Posterior(latents, gaussian(packed), gaussian(packed_v))
        noise = noise or self.draw_noise(x.shape[0], x.shape[1], generator)
        assert noise.w is not None, "the noise of a model with a sequence-level latent has a part w"
        v = reparameterize(packed_v, noise.w)
        packed = self._encode(seen, v, lengths)
        return Posterior(Latents(reparameterize(packed, noise.z), v), gaussian(packed), gaussian(packed_v))

    def _encode(self, seen: Tensor, v: Tensor | None, lengths: Tensor | None) -> Tensor:
        """The parameters of q(z_t | v, x) at every t."""
        g = self.z_rnn(torch.cat([seen, self._every_frame(v, seen)], -1), lengths)
        return self.encoder(self.encoder_rnn(self.z_net(g)))

    def prior(self, latents: Latents, x: Tensor, lengths: Tensor | None = None) -> Distribution:
        return gaussian(self.prior_net(self.prior_rnn(shift(latents.z))))

    def likelihood(self, latents: Latents, x: Tensor, lengths: Tensor | None = None) -> Distribution:
        v = self._every_frame(latents.w, latents.z)
        return self.observation(self.decoder(torch.cat([v, latents.z], -1)))

    @staticmethod
    def _every_frame(v: Tensor | None, like: Tensor) -> Tensor:
        assert v is not None, "the latents of a model with a sequence-level latent have a part w"
        return v.unsqueeze(1).expand(-1, like.shape[1], -1)

    def start(self, batch: int, w: Tensor | None = None) -> _State:
        assert w is not None, "a model with a sequence-level latent starts from it"
        nothing = self.weight.new_zeros(batch, self.z_dim)
        return _State(*self.prior_rnn.step(nothing, self.prior_rnn.start(batch)), w)

    def step_prior(self, state: _State) -> Distribution:
        return gaussian(self.prior_net(state.h))

    def step_likelihood(self, state: _State, z: Tensor) -> tuple[Distribution, _State]:
        return self.observation(self.decoder(torch.cat([state.v, z], -1))), state

    def advance(self, state: _State, z: Tensor, x: Tensor) -> _State:
        return _State(*self.prior_rnn.step(z, state.rnn), state.v)
