"""Members whose frames know nothing of each other: the contract, from the laws of one frame."""

from __future__ import annotations

__all__ = ["FramewiseDVAE"]

from abc import abstractmethod
from collections.abc import Mapping

from torch import Tensor
from torch.distributions import Distribution

from dynvae.models.base import DVAE
from dynvae.models.values import Latents


class FramewiseDVAE(DVAE):
    r"""A member with :math:`p(x, z) = \prod_t p(x_t | z_t)\, p(z_t)`: a sequence is its frames, a step is one of them.

    A member gives :meth:`frame_prior`, :meth:`frame_likelihood`, and the posterior.
    """

    @abstractmethod
    def frame_prior(self, like: Tensor) -> Distribution:
        """p(z_t), batch shape ``(...)``, of latents of this shape, type and place, ``(..., z_dim)``."""

    @abstractmethod
    def frame_likelihood(self, z: Tensor) -> Distribution:
        """p(x_t | z_t), batch shape ``(...)``, of latents ``(..., z_dim)``."""

    def prior(self, latents: Latents, x: Tensor, lengths: Tensor | None = None) -> Distribution:
        return self.frame_prior(latents.z)

    def likelihood(
        self,
        latents: Latents,
        x: Tensor,
        lengths: Tensor | None = None,
        seen: Mapping[str, Tensor] | None = None,
    ) -> Distribution:
        return self.frame_likelihood(latents.z)

    def start(self, batch: int, w: Tensor | None = None) -> Tensor:
        return self.weight.new_zeros(batch, self.z_dim)

    def step_prior(self, state: Tensor) -> Distribution:
        return self.frame_prior(state)

    def step_likelihood(self, state: Tensor, z: Tensor) -> tuple[Distribution, Tensor]:
        return self.frame_likelihood(z), state

    def advance(self, state: Tensor, z: Tensor, x: Tensor) -> Tensor:
        return state
