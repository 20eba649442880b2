"""The variational autoencoder: every frame on its own."""

from __future__ import annotations

__all__ = ["VAE"]

from collections.abc import Sequence
from typing import Any, ClassVar

from dynvae.dependencies import Dependencies
from dynvae.models.recursive import Recursion, RecursiveDVAE
from dynvae.nn import MLP


class VAE(RecursiveDVAE):
    r"""Variational autoencoder (Kingma and Welling, 2014; Rezende et al., 2014), applied to each frame.

    .. math:: p(x, z) = \prod_t p(x_t | z_t)\, \mathcal N(z_t; 0, I), \qquad q(z | x) = \prod_t q(z_t | x_t).

    Args:
        x_dim: size of an observed frame.
        z_dim: size of a latent frame.
        hidden: sizes of the encoder's hidden layers; the decoder has the same, reversed.
        activation: of the hidden layers.
        dropout: in the hidden layers.
        kwargs: see :class:`~dynvae.models.base.DVAE`.
    """

    title: ClassVar[str] = "Variational autoencoder"
    paper: ClassVar[str] = "Kingma and Welling, 2014"
    dependencies = Dependencies(prior="", likelihood="z[t]", posterior="x[t]")

    def __init__(
        self,
        x_dim: int = 513,
        z_dim: int = 16,
        *,
        hidden: Sequence[int] = (128,),
        activation: str = "tanh",
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(x_dim, z_dim, **kwargs)
        outputs = x_dim * self.observation.outputs
        self.encoder = MLP(x_dim, hidden, 2 * self.z_dim, activation=activation, dropout=dropout)
        self.decoder = MLP(z_dim, tuple(hidden)[::-1], outputs, activation=activation, dropout=dropout)

    def inference(self, p: Recursion) -> None:
        p.posterior(p(self.encoder, p.x))

    def generation(self, p: Recursion) -> None:
        p.likelihood(p(self.decoder, p.z))
