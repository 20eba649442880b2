"""The variational recurrent network: one deterministic state shared by encoder, prior and decoder."""

from __future__ import annotations

__all__ = ["VRNN"]

from collections.abc import Sequence
from typing import Any, ClassVar

from dynvae.dependencies import Dependencies
from dynvae.models.recursive import Recursion, RecursiveDVAE
from dynvae.nn import MLP, Recurrent
from dynvae.recurrence import past


class VRNN(RecursiveDVAE):
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
        self.encoder = MLP(x_size + rnn, encoder_hidden, 2 * self.z_dim, **options)
        self.prior_net = MLP(rnn, prior_hidden, 2 * self.z_dim, **options)
        self.decoder = MLP(z_size + rnn, decoder_hidden, x_dim * self.observation.outputs, **options)

    def inference(self, p: Recursion) -> None:
        x, z = p(self.x_net, p.x), p(self.z_net, p.z)
        p.posterior(p(self.encoder, x, past(p(self.rnn, x, z))))

    def generation(self, p: Recursion) -> None:
        x, z = p(self.x_net, p.x), p(self.z_net, p.z)
        h = past(p(self.rnn, x, z))
        p.prior(p(self.prior_net, h))
        p.likelihood(p(self.decoder, z, h))
