"""The recurrent variational autoencoder: independent latents, a recurrent decoder, a smoothing encoder."""

from __future__ import annotations

__all__ = ["RVAE"]

from collections.abc import Sequence
from typing import Any, ClassVar

from dynvae.dependencies import Dependencies
from dynvae.models.recursive import Recursion, RecursiveDVAE
from dynvae.nn import MLP, Direction, Recurrent
from dynvae.recurrence import past

_CAUSAL = Dependencies(prior="", likelihood="z[1:t]", posterior="z[1:t-1], x[t:T]")
_NONCAUSAL = Dependencies(prior="", likelihood="z[1:T]", posterior="z[1:t-1], x[1:T]")


class RVAE(RecursiveDVAE):
    r"""Recurrent variational autoencoder (Leglaive et al., 2020).

    .. math::
        \text{causal:} \quad p(x, z) &= \prod_t p(x_t | z_{1:t})\, \mathcal N(z_t; 0, I), \quad
        q(z | x) = \prod_t q(z_t | z_{1:t-1}, x_{t:T}) \\
        \text{non-causal:} \quad p(x, z) &= \prod_t p(x_t | z_{1:T})\, \mathcal N(z_t; 0, I), \quad
        q(z | x) = \prod_t q(z_t | z_{1:t-1}, x_{1:T})

    The name tells about the generative model: both encoders look into the future.

    Args:
        x_dim: size of an observed frame.
        z_dim: size of a latent frame.
        causal: whether the decoder's LSTM runs forward only.
        x_hidden: layers on x before the encoder's LSTM over x.
        x_rnn: size of that LSTM (of each direction).
        z_hidden: layers on z_t-1 before the encoder's LSTM over z.
        z_rnn: size of that LSTM.
        encoder_hidden: layers between both LSTMs and q's parameters.
        latent_hidden: layers on z before the decoder's LSTM.
        decoder_rnn: size of the decoder's LSTM (of each direction).
        decoder_hidden: layers between it and x_t.
        rnn_layers: number of layers of the three LSTMs.
        activation: of the hidden layers.
        dropout: in the hidden layers.
        kwargs: see :class:`~dynvae.models.base.DVAE`.
    """

    title: ClassVar[str] = "Recurrent variational autoencoder"
    paper: ClassVar[str] = "Leglaive et al., 2020"
    dependencies = _NONCAUSAL

    def __init__(
        self,
        x_dim: int = 513,
        z_dim: int = 16,
        *,
        causal: bool = False,
        x_hidden: Sequence[int] = (),
        x_rnn: int = 128,
        z_hidden: Sequence[int] = (),
        z_rnn: int = 128,
        encoder_hidden: Sequence[int] = (),
        latent_hidden: Sequence[int] = (),
        decoder_rnn: int = 128,
        decoder_hidden: Sequence[int] = (),
        rnn_layers: int = 1,
        activation: str = "tanh",
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(x_dim, z_dim, **kwargs)
        self.dependencies = _CAUSAL if causal else _NONCAUSAL
        options: dict[str, Any] = {"activation": activation, "dropout": dropout}
        stack: dict[str, Any] = {"layers": rnn_layers, "dropout": dropout}
        self.x_net = MLP(x_dim, x_hidden, **options)
        past_too: Direction = "backward" if causal else "both"
        self.x_rnn = Recurrent(self.x_net.out_features, x_rnn, direction=past_too, **stack)
        self.z_net = MLP(z_dim, z_hidden, **options)
        self.z_rnn = Recurrent(self.z_net.out_features, z_rnn, **stack)
        self.encoder = MLP(self.x_rnn.out_features + z_rnn, encoder_hidden, 2 * self.z_dim, **options)
        self.latent_net = MLP(z_dim, latent_hidden, **options)
        future_too: Direction = "forward" if causal else "both"
        self.decoder_rnn = Recurrent(self.latent_net.out_features, decoder_rnn, direction=future_too, **stack)
        outputs = x_dim * self.observation.outputs
        self.decoder = MLP(self.decoder_rnn.out_features, decoder_hidden, outputs, **options)

    def inference(self, p: Recursion) -> None:
        g = p(self.x_rnn, p(self.x_net, p.x))
        p.posterior(p(self.encoder, g, p(self.z_rnn, p(self.z_net, past(p.z)))))

    def generation(self, p: Recursion) -> None:
        p.likelihood(p(self.decoder, p(self.decoder_rnn, p(self.latent_net, p.z))))
