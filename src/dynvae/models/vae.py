"""The variational autoencoder: every frame on its own."""

from __future__ import annotations

__all__ = ["VAE"]

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from dynvae.dependencies import Dependencies
from dynvae.distributions import standard_normal
from dynvae.models.base import DVAE, Latents, Posterior
from dynvae.nn import MLP


class VAE(DVAE):
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
        self.encoder = MLP(x_dim, hidden, 2 * z_dim, activation=activation, dropout=dropout)
        self.decoder = MLP(z_dim, tuple(hidden)[::-1], outputs, activation=activation, dropout=dropout)

    def posterior(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        *,
        noise: Latents | None = None,
        generator: torch.Generator | None = None,
        latents: Latents | None = None,
    ) -> Posterior:
        packed = self.encoder(self.features(x, lengths))
        return self._framewise_posterior(packed, noise, generator, latents)

    def prior(self, latents: Latents, x: Tensor, lengths: Tensor | None = None) -> Distribution:
        return standard_normal(latents.z)

    def likelihood(self, latents: Latents, x: Tensor, lengths: Tensor | None = None) -> Distribution:
        return self.observation(self.decoder(latents.z))

    def start(self, batch: int, w: Tensor | None = None) -> Tensor:
        return self.weight.new_zeros(batch, self.z_dim)

    def step_prior(self, state: Tensor) -> Distribution:
        return standard_normal(state)

    def step_likelihood(self, state: Tensor, z: Tensor) -> tuple[Distribution, Tensor]:
        return self.observation(self.decoder(z)), state

    def advance(self, state: Tensor, z: Tensor, x: Tensor) -> Tensor:
        return state
