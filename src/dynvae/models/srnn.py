"""The stochastic recurrent neural network: a deterministic chain over x under a stochastic chain over z."""

from __future__ import annotations

__all__ = ["SRNN"]

from collections.abc import Sequence
from typing import Any, ClassVar

from dynvae.dependencies import Dependencies
from dynvae.models.recursive import Recursion, RecursiveDVAE
from dynvae.nn import MLP, Recurrent
from dynvae.recurrence import past

_SMOOTHING = Dependencies(prior="z[t-1], x[1:t-1]", likelihood="z[t], x[1:t-1]", posterior="z[t-1], x[1:T]")
_FILTERING = Dependencies(prior="z[t-1], x[1:t-1]", likelihood="z[t], x[1:t-1]", posterior="z[t-1], x[1:t]")


class SRNN(RecursiveDVAE):
    r"""Stochastic recurrent neural network (Fraccaro et al., 2016).

    .. math:: p(x, z) = \prod_t p(x_t | z_t, x_{1:t-1})\, p(z_t | z_{t-1}, x_{1:t-1}), \qquad
              q(z | x) = \prod_t q(z_t | z_{t-1}, x_{1:T}),

    with :math:`h_t = \mathrm{LSTM}(x_{t-1}, h_{t-1})` forward in time for the generative model and
    :math:`g_t = \mathrm{LSTM}([h_t, x_t], g_{t+1})` backward for the encoder; ``x_0 = z_0 = 0``. The paper's residual
    parameterisation of q's mean is left out, as in the published benchmarks. Without the backward LSTM g_t
    sees (h_t, x_t) alone, and the encoder filters: :math:`q(z_t | z_{t-1}, x_{1:t})` (the tracker of Lin et al., 2023).

    Args:
        x_dim: size of an observed frame.
        z_dim: size of a latent frame.
        x_hidden: layers on x_t-1 before the forward LSTM.
        forward_rnn: size of the forward LSTM.
        hx_hidden: layers on (h_t, x_t) before the backward LSTM.
        backward_rnn: size of the backward LSTM; 0 leaves it out, and the encoder is causal.
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
    dependencies = _SMOOTHING

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
        if not backward_rnn:
            self.dependencies = _FILTERING
        options: dict[str, Any] = {"activation": activation, "dropout": dropout}
        stack: dict[str, Any] = {"layers": rnn_layers, "dropout": dropout}
        self.x_net = MLP(x_dim, x_hidden, **options)
        self.forward_rnn = Recurrent(self.x_net.out_features, forward_rnn, **stack)
        self.hx_net = MLP(forward_rnn + x_dim, hx_hidden, **options)
        seen = self.hx_net.out_features
        self.backward_rnn = Recurrent(seen, backward_rnn, direction="backward", **stack) if backward_rnn else None
        self.encoder = MLP((backward_rnn or seen) + z_dim, encoder_hidden, 2 * self.z_dim, **options)
        self.prior_net = MLP(forward_rnn + z_dim, prior_hidden, 2 * self.z_dim, **options)
        self.decoder = MLP(forward_rnn + z_dim, decoder_hidden, x_dim * self.observation.outputs, **options)

    def inference(self, p: Recursion) -> None:
        h = p(self.forward_rnn, p(self.x_net, past(p.x)))
        g = p(self.hx_net, h, p.x)
        g = g if self.backward_rnn is None else p(self.backward_rnn, g)
        p.posterior(p(self.encoder, g, past(p.z)))

    def generation(self, p: Recursion) -> None:
        h = p(self.forward_rnn, p(self.x_net, past(p.x)))
        p.prior(p(self.prior_net, h, past(p.z)))
        p.likelihood(p(self.decoder, h, p.z))
