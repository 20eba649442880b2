"""The disentangled sequential autoencoder: one latent for the sequence, one for each frame."""

from __future__ import annotations

__all__ = ["DSAE"]

from collections.abc import Sequence
from typing import Any, ClassVar

from dynvae.dependencies import Dependencies
from dynvae.models.recursive import Recursion, RecursiveDVAE
from dynvae.nn import MLP, Recurrent
from dynvae.recurrence import past


class DSAE(RecursiveDVAE):
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
        self.encoder = MLP(encoder_rnn, (), 2 * self.z_dim)
        self.prior_rnn = Recurrent(z_dim, prior_rnn, **stack)
        self.prior_net = MLP(prior_rnn, (), 2 * self.z_dim)
        self.decoder = MLP(v_dim + z_dim, decoder_hidden, x_dim * self.observation.outputs, **options)

    def inference(self, p: Recursion) -> None:
        x = p(self.x_net, p.x)
        p.sequence_posterior(p(self.v_encoder, p.last(self.v_rnn, p(self.v_rnn, x))))
        g = p(self.z_net, p(self.z_rnn, x, p.w))
        p.posterior(p(self.encoder, p(self.encoder_rnn, g)))

    def generation(self, p: Recursion) -> None:
        p.prior(p(self.prior_net, p(self.prior_rnn, past(p.z))))
        p.likelihood(p(self.decoder, p.w, p.z))
