"""The conditional VAE: sound and lips on every frame, seen by whichever of encoder, prior and decoder."""

from __future__ import annotations

__all__ = ["CVAE"]

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from dynvae.condition import Condition
from dynvae.dependencies import Dependencies
from dynvae.errors import ConfigError
from dynvae.models.recursive import Recursion, RecursiveDVAE
from dynvae.models.values import Latents
from dynvae.models.views import Absent, View
from dynvae.nn import MLP

Views = Literal["shared", "own"]


class CVAE(RecursiveDVAE):
    r"""Conditional variational autoencoder of sound and lips (Sadeghi et al., 2020).

    .. math::
        p(x, z | v) = \prod_t p(x_t | z_t, v_t)\, p(z_t | v_t), \qquad q(z | x, v) = \prod_t q(z_t | x_t, v_t).

    That is the AV-CVAE. With :math:`p(z_t) = \mathcal N(0, I)` it is the AV-VAE, and the V-VAE if the decoder does not
    see v, nor the encoder x. The condition v is a vector a frame (:class:`~dynvae.condition.Condition`), such as a
    flattened picture of the mouth. Where it is absent, its embedding is a constant; if that is zero, what is left is
    the audio path alone: :math:`W_x x_t + W_v e_t + b` becomes :math:`W_x x_t + b`.

    Args:
        x_dim: size of an observed frame.
        z_dim: size of a latent frame.
        v_dim: size of a frame of the condition.
        encoder: what the encoder sees: ``"x"``, ``"v"`` or ``"xv"``.
        conditional_prior: let the prior see v.
        conditional_decoder: let the decoder see v.
        views: one network on v for all that see it, ``"shared"``, or each its ``"own"``.
        v_hidden: layers on v; the last is the embedding.
        v_activation: of these layers.
        absent: what stands for the embedding where v is absent, ``"zero"`` or a ``"learned"`` constant.
        x_hidden: layers on x before it meets the embedding.
        z_hidden: layers on z before it meets the embedding.
        hidden: layers of the encoder after that; the decoder has the same, reversed.
        prior_hidden: layers between the embedding and the prior's parameters.
        activation: of all hidden layers but those on v and in the prior, which are ``v_activation``.
        dropout: in the hidden layers.
        kwargs: see :class:`~dynvae.models.base.DVAE`.

    Raises:
        ConfigError: nothing sees the condition, or an option is unknown.
    """

    title: ClassVar[str] = "Conditional variational autoencoder"
    paper: ClassVar[str] = "Sadeghi et al., 2020"
    dependencies = Dependencies(prior="v[t]", likelihood="z[t], v[t]", posterior="x[t], v[t]")

    def __init__(
        self,
        x_dim: int = 513,
        z_dim: int = 32,
        v_dim: int = 4489,
        *,
        encoder: Literal["x", "v", "xv"] = "xv",
        conditional_prior: bool = True,
        conditional_decoder: bool = True,
        views: Views = "shared",
        v_hidden: Sequence[int] = (512, 128),
        v_activation: str = "relu",
        absent: Absent = "zero",
        x_hidden: Sequence[int] = (),
        z_hidden: Sequence[int] = (),
        hidden: Sequence[int] = (128,),
        prior_hidden: Sequence[int] = (128,),
        activation: str = "tanh",
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(x_dim, z_dim, condition_dim=v_dim, **kwargs)
        seeing = {"encoder": "v" in encoder, "prior": conditional_prior, "decoder": conditional_decoder}
        if encoder not in ("x", "v", "xv") or not any(seeing.values()):
            raise ConfigError(f"the encoder sees x, v or xv, not '{encoder}', and something must see v")
        self.encoder_sees, self.conditional_prior, self.conditional_decoder = (
            encoder,
            conditional_prior,
            conditional_decoder,
        )
        self.dependencies = Dependencies(
            prior="v[t]" if conditional_prior else "",
            likelihood="z[t], v[t]" if conditional_decoder else "z[t]",
            posterior=", ".join(f"{symbol}[t]" for symbol in encoder),
        )
        options: dict[str, Any] = {"activation": activation, "dropout": dropout}
        on_v: dict[str, Any] = {"activation": v_activation, "dropout": dropout}
        self.views = seen_by(seeing, views, v_dim, v_hidden, absent=absent, **on_v)
        size = (v_dim, *v_hidden)[-1]
        self.x_net = MLP(x_dim, x_hidden if "x" in encoder else (), **options)
        self.z_net = MLP(z_dim, z_hidden, **options)
        seen = (self.x_net.out_features if "x" in encoder else 0) + (size if "v" in encoder else 0)
        self.encoder = MLP(seen, hidden, 2 * self.z_dim, **options)
        if conditional_prior:
            self.prior_net = MLP(size, prior_hidden, 2 * self.z_dim, **on_v)
        known = self.z_net.out_features + (size if conditional_decoder else 0)
        self.decoder = MLP(known, tuple(hidden)[::-1], x_dim * self.observation.outputs, **options)

    def inference(self, p: Recursion) -> None:
        x = [p(self.x_net, p.x)] if "x" in self.encoder_sees else []
        v = [view(p, self, "encoder")] if "v" in self.encoder_sees else []
        p.posterior(p(self.encoder, *x, *v))

    def generation(self, p: Recursion) -> None:
        if self.conditional_prior:
            p.prior(p(self.prior_net, view(p, self, "prior")))
        v = [view(p, self, "decoder")] if self.conditional_decoder else []
        p.likelihood(p(self.decoder, p(self.z_net, p.z), *v))

    def foreseen(self, condition: Condition, x: Tensor) -> Tensor:
        """What the condition alone tells of the latents: the prior's mean, or that of an encoder that sees no x.

        Raises:
            ConfigError: neither of them sees the condition alone.
        """
        if self.encoder_sees == "v":
            return self.posterior(x, latents=Latents(x.new_zeros(*x.shape[:2], self.z_dim)), condition=condition).z.mean
        if not self.conditional_prior:
            raise ConfigError("the condition alone tells nothing of the latents of a CVAE whose prior does not see it")
        zero = x.new_zeros(*x.shape[:2], self.z_dim)
        return self.prior(Latents(zero), x, condition=condition).mean

    def sound_path(self) -> list[tuple[nn.Parameter, slice]]:
        """See the base class. The decoder's output layers, which serve both, are left out."""
        if "x" not in self.encoder_sees:
            return super().sound_path()
        heads = self.encoder.layers[1:].parameters()
        whole = [*self.x_net.parameters(), *self.z_net.parameters(), *heads]
        return [
            *((weight, slice(None)) for weight in whole),
            (self.encoder.first, slice(self.x_net.out_features)),
            (self.decoder.first, slice(self.z_net.out_features)),
        ]


def seen_by(
    seeing: Mapping[str, bool], views: Views, size: int, hidden: Sequence[int], **options: Any
) -> nn.ModuleDict:
    """The networks on the condition for those who see it: one for all, called ``shared``, or one each.

    Raises:
        ConfigError: ``views`` is neither.
    """
    if views not in ("shared", "own"):
        raise ConfigError(f"the views of the condition are shared or own, not '{views}'")
    names = ["shared"] if views == "shared" else [name for name, sees in seeing.items() if sees]
    return nn.ModuleDict({name: View(size, hidden, **options) for name in names})


def view(p: Recursion, model: RecursiveDVAE, name: str) -> Any:
    """What encoder, prior or decoder sees of the condition."""
    return p.view("shared" if "shared" in model.views else name)
