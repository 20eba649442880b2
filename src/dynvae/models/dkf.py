"""The deep Kalman filter: a nonlinear state space model with a smoothing encoder; alone, and with lips."""

from __future__ import annotations

__all__ = ["AVDKF", "DKF", "GatedTransition"]

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import nn

from dynvae.dependencies import Dependencies
from dynvae.models.cvae import Views, seen_by, view
from dynvae.models.recursive import Recursion, RecursiveDVAE
from dynvae.models.views import Absent
from dynvae.nn import MLP, Direction, Recurrent
from dynvae.recurrence import Builder, past
from dynvae.recurrence.program import Signal


class GatedTransition(nn.Module):
    r"""The gated transition of the deep Markov model (Krishnan et al., 2017, section 5).

    .. math::
        g = \sigma(\mathrm{MLP}(z)), \quad h = \mathrm{MLP}(z), \quad
        \mu = (1 - g) \odot W_\mu z + g \odot h, \quad \sigma^2 = \mathrm{softplus}(W_\sigma\, \mathrm{relu}(h))

    Args:
        z_dim: size of a latent frame.
        bounded: let the proposal h end in a sigmoid.
        dropout: in the hidden layers.
    """

    def __init__(self, z_dim: int, *, bounded: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        self.bounded = bounded
        self.gate = MLP(z_dim, (z_dim,), z_dim, activation="relu", dropout=dropout)
        self.proposal = MLP(z_dim, (z_dim,), z_dim, activation="relu", dropout=dropout)
        self.mean = nn.Linear(z_dim, z_dim)
        self.variance = nn.Linear(z_dim, z_dim)

    def declare(self, p: Builder, z: Signal) -> Signal:
        """Mean and log-variance of p(z_t | z_t-1) from z_t-1."""
        gate = p(self.gate, z, activation="sigmoid")
        proposal = p(self.proposal, z, activation="sigmoid" if self.bounded else "identity")
        mean = p.map("transition.blend", "blend", gate, p(self.mean, z), proposal)
        positive = p.map("transition.positive", "relu", proposal)
        return mean + p.map("transition.log_variance", "log_softplus", p(self.variance, positive))


class DKF(RecursiveDVAE):
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
        bounded_proposal: let the transition's proposal end in a sigmoid, as in the A-DKF of Golmakani et al. (2023).
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
        bounded_proposal: bool = False,
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
        self.encoder = MLP(rnn, encoder_hidden, 2 * self.z_dim, **options)
        self.transition = GatedTransition(self.z_dim, bounded=bounded_proposal, dropout=dropout)
        self.decoder = MLP(z_dim, decoder_hidden, x_dim * self.observation.outputs, **options)

    def heard(self, p: Recursion) -> Signal:
        """What the LSTM over x sees of a frame."""
        return p(self.x_net, p.x)

    def inference(self, p: Recursion) -> None:
        seen = p(self.x_rnn, self.heard(p))
        own = p(self.z_net, past(p.z), activation="tanh")
        p.posterior(p(self.encoder, p.map("combined", "average", own, *((read,) for read in seen))))

    def generation(self, p: Recursion) -> None:
        p.prior(self.transition.declare(p, past(p.a)))
        p.likelihood(p(self.decoder, p.z))


class AVDKF(DKF):
    r"""Deep Kalman filter of sound and lips (Golmakani, Sadeghi and Serizel, 2023).

    .. math::
        p(x, z | v) = \prod_t p(x_t | z_t, v_t)\, p(z_t | z_{t-1}, v_t), \qquad
        q(z | x, v) = \prod_t q(z_t | z_{t-1}, x_{t:T}, v_{t:T}).

    An embedding of the condition v meets x before the LSTM, z_t-1 before the transition and the last hidden layer of
    the decoder, each time by one layer. Where v is absent, it is a constant.

    Args:
        x_dim: size of an observed frame.
        z_dim: size of a latent frame.
        v_dim: size of a frame of the condition.
        views: one network on v for all three, ``"shared"``, or each its ``"own"``.
        v_hidden: layers on v; the last is the embedding.
        v_activation: of these layers.
        absent: what stands for the embedding where v is absent, ``"zero"`` or a ``"learned"`` constant.
        kwargs: see :class:`DKF`.
    """

    title: ClassVar[str] = "Audio-visual deep Kalman filter"
    paper: ClassVar[str] = "Golmakani et al., 2023"

    def __init__(
        self,
        x_dim: int = 513,
        z_dim: int = 16,
        v_dim: int = 4489,
        *,
        views: Views = "shared",
        v_hidden: Sequence[int] = (512, 128),
        v_activation: str = "relu",
        absent: Absent = "zero",
        decoder_hidden: Sequence[int] = (32, 64, 128, 256),
        activation: str = "tanh",
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        options: dict[str, Any] = {"activation": activation, "dropout": dropout}
        super().__init__(x_dim, z_dim, condition_dim=v_dim, decoder_hidden=decoder_hidden, **options, **kwargs)
        spans = "v[1:T]" if "x[1:T]" in self.dependencies.posterior else "v[t:T]"
        self.dependencies = Dependencies(
            prior="z[t-1], v[t]", likelihood="z[t], v[t]", posterior=f"{self.dependencies.posterior}, {spans}"
        )
        seeing = dict.fromkeys(("encoder", "prior", "decoder"), True)
        on_v: dict[str, Any] = {"activation": v_activation, "dropout": dropout}
        self.views = seen_by(seeing, views, v_dim, v_hidden, absent=absent, **on_v)
        size = (v_dim, *v_hidden)[-1]
        heard = self.x_net.out_features
        self.x_fusion = MLP(heard + size, (heard,), **options)
        self.z_fusion = MLP(self.z_dim + size, (self.z_dim,), **options)
        self.decoder_net = MLP(z_dim, decoder_hidden, **options)
        known = self.decoder_net.out_features
        self.decoder = MLP(known + size, (known,), x_dim * self.observation.outputs, **options)

    def sound_path(self) -> list[tuple[nn.Parameter, slice]]:
        """See the base class. The decoder's output layers, which serve both, are left out."""
        parts = (self.x_net, self.x_rnn, self.z_net, self.encoder, self.transition, self.decoder_net)
        return [
            *((weight, slice(None)) for part in parts for weight in part.parameters()),
            (self.x_fusion.first, slice(self.x_net.out_features)),
            (self.z_fusion.first, slice(self.z_dim)),
            (self.decoder.first, slice(self.decoder_net.out_features)),
        ]

    def heard(self, p: Recursion) -> Signal:
        return p(self.x_fusion, super().heard(p), view(p, self, "encoder"))

    def generation(self, p: Recursion) -> None:
        p.prior(self.transition.declare(p, p(self.z_fusion, past(p.a), view(p, self, "prior"))))
        p.likelihood(p(self.decoder, p(self.decoder_net, p.z), view(p, self, "decoder")))
