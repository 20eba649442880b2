"""The stochastic recurrent network: an autoregressive decoder driven by independent latents."""

from __future__ import annotations

__all__ = ["STORN"]

from collections.abc import Sequence
from typing import Any, ClassVar

from dynvae.dependencies import Dependencies
from dynvae.models.recursive import Recursion, RecursiveDVAE
from dynvae.nn import MLP, Recurrent
from dynvae.recurrence import past


class STORN(RecursiveDVAE):
    r"""Stochastic recurrent network (Bayer and Osendorfer, 2014).

    .. math:: p(x, z) = \prod_t p(x_t | z_{1:t}, x_{1:t-1})\, \mathcal N(z_t; 0, I), \qquad
              q(z | x) = \prod_t q(z_t | x_{1:t}).

    The paper's encoder sees :math:`x_{1:t-1}`; like the published benchmarks, this one sees the current frame too.

    Args:
        x_dim: size of an observed frame.
        z_dim: size of a latent frame.
        x_hidden: layers on x before the encoder's LSTM.
        encoder_rnn: size of the encoder's LSTM.
        encoder_hidden: layers between it and q's parameters.
        z_hidden: layers on z_t before the decoder's LSTM.
        past_hidden: layers on x_t-1 before the decoder's LSTM.
        decoder_rnn: size of the decoder's LSTM.
        decoder_hidden: layers between it and x_t.
        rnn_layers: number of layers of both LSTMs.
        activation: of the hidden layers.
        dropout: in the hidden layers.
        kwargs: see :class:`~dynvae.models.base.DVAE`.
    """

    title: ClassVar[str] = "Stochastic recurrent network"
    paper: ClassVar[str] = "Bayer and Osendorfer, 2014"
    dependencies = Dependencies(prior="", likelihood="z[1:t], x[1:t-1]", posterior="x[1:t]")

    def __init__(
        self,
        x_dim: int = 513,
        z_dim: int = 16,
        *,
        x_hidden: Sequence[int] = (256,),
        encoder_rnn: int = 128,
        encoder_hidden: Sequence[int] = (64, 32),
        z_hidden: Sequence[int] = (32, 64),
        past_hidden: Sequence[int] = (256,),
        decoder_rnn: int = 128,
        decoder_hidden: Sequence[int] = (256,),
        rnn_layers: int = 1,
        activation: str = "tanh",
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(x_dim, z_dim, **kwargs)
        options: dict[str, Any] = {"activation": activation, "dropout": dropout}
        stack: dict[str, Any] = {"layers": rnn_layers, "dropout": dropout}
        self.x_net = MLP(x_dim, x_hidden, **options)
        self.encoder_rnn = Recurrent(self.x_net.out_features, encoder_rnn, **stack)
        self.encoder = MLP(encoder_rnn, encoder_hidden, 2 * self.z_dim, **options)
        self.z_net = MLP(z_dim, z_hidden, **options)
        self.past_net = MLP(x_dim, past_hidden, **options)
        self.decoder_rnn = Recurrent(self.z_net.out_features + self.past_net.out_features, decoder_rnn, **stack)
        self.decoder = MLP(decoder_rnn, decoder_hidden, x_dim * self.observation.outputs, **options)

    def inference(self, p: Recursion) -> None:
        p.posterior(p(self.encoder, p(self.encoder_rnn, p(self.x_net, p.x))))

    def generation(self, p: Recursion) -> None:
        h = p(self.decoder_rnn, p(self.z_net, p.z), p(self.past_net, past(p.x)))
        p.likelihood(p(self.decoder, h))
