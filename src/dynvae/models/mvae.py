"""Multimodal VAEs: experts, one for each modality, are multiplied, mixed, or both."""

from __future__ import annotations

__all__ = ["MVAE", "product_of_experts"]

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from dynvae.dependencies import Dependencies
from dynvae.distributions import bound_log_variance, diagonal_normal, standard_normal
from dynvae.errors import ConfigError
from dynvae.models.framewise import FramewiseDVAE
from dynvae.models.minvae import MixtureLaw
from dynvae.models.modalities import MultimodalDVAE
from dynvae.models.values import Latents, Posterior
from dynvae.nn import MLP

Experts = Literal["product", "mixture", "mixture-of-products"]
PriorExpert = Literal["always", "full", "never"]
_NEVER = -1e4
"""Log of the weight of a component that cannot be."""


def product_of_experts(
    means: Tensor, log_variances: Tensor, present: Tensor, *, prior: Tensor | bool = True
) -> tuple[Tensor, Tensor]:
    r"""The normalised product of Gaussians, and of N(0, I):

    .. math:: \mathcal N(\mu, \sigma^2) \propto \mathcal N(0, I)^{p} \prod_{m \text{ present}}
              \mathcal N(\mu_m, \sigma_m^2), \qquad \sigma^{-2} = p + \sum_m \sigma_m^{-2}, \quad
              \mu = \sigma^2 \sum_m \mu_m / \sigma_m^2.

    With no expert at all it is N(0, I).

    Args:
        means: ``(..., experts, feature)``.
        log_variances: theirs.
        present: which experts take part, Booleans ``(..., experts)``.
        prior: p, whether N(0, I) does, one for all or Booleans ``(...)``.

    Returns:
        Mean and log-variance of the product, ``(..., feature)``.

    Example:
        >>> mean, log_variance = product_of_experts(torch.ones(2, 1), torch.zeros(2, 1), torch.tensor([True, True]))
        >>> round(mean.item(), 4), round(log_variance.exp().item(), 4)
        (0.6667, 0.3333)
    """
    # Sums of precisions relative to the largest, so that none overflows.
    precision = (-log_variances).masked_fill(~present.unsqueeze(-1), -math.inf)
    own = prior | ~present.any(-1)
    of_prior = torch.zeros_like(own, dtype=means.dtype).masked_fill(~own, -math.inf)
    of_prior = of_prior.unsqueeze(-1).unsqueeze(-1).expand(*means.shape[:-2], 1, means.shape[-1])
    everyone = torch.cat([precision, of_prior], -2)
    log_variance = -everyone.logsumexp(-2)
    share = everyone.softmax(-2)[..., :-1, :]
    return (share * means.masked_fill(~present.unsqueeze(-1), 0)).sum(-2), log_variance


class MVAE(MultimodalDVAE, FramewiseDVAE):
    r"""Multimodal VAE: every modality of a frame is made of one latent (Wu and Goodman, 2018).

    .. math:: p(x, z) = \prod_t \mathcal N(z_t; 0, I) \prod_m p(x^m_t | z_t), \qquad
              q(z_t | x_t) = \frac1{|\mathcal S|} \sum_{S \in \mathcal S} q_S(z_t | x_t), \quad
              q_S \propto \mathcal N(0, I) \prod_{m \in S} q_m(z_t | x^m_t).

    The subsets :math:`\mathcal S` of the modalities that a frame has are: all of them together (``"product"``, the
    MVAE), each alone (``"mixture"``, the MMVAE of Shi et al., 2019), or every subset but the empty one
    (``"mixture-of-products"``, the MoPoE-VAE of Sutter et al., 2021). So any may be missing, frame by frame
    (:mod:`dynvae.models.modalities`); without any, q is the prior. With :math:`|\mathcal S| > 1` the KL of the bound is
    the mean of those of the :math:`q_S`, which is no less than that of the mixture.

    Noise for a sample has one number a frame more than z, which picks the subset. Where it is drawn, those of a batch
    are stratified: all subsets come as often as they should, in whatever order the frames are.

    The prior is an expert in every product by default. Published are: in the product of all modalities only
    (``prior_expert="full"``, MoPoE), and never (MMVAE).

    Args:
        x_dim: the sizes of the modalities.
        z_dim: size of a latent frame.
        experts: how they come together.
        prior_expert: whether N(0, I) is one of them: ``"always"``, ``"full"`` or ``"never"``.
        hidden: layers of each encoder; the decoders have the same, reversed.
        activation: of the hidden layers.
        dropout: in the hidden layers.
        kwargs: see :class:`~dynvae.models.modalities.MultimodalDVAE`.

    Raises:
        ConfigError: the sizes do not fit, or an option is unknown.
    """

    title: ClassVar[str] = "Multimodal VAE"
    paper: ClassVar[str] = "Wu and Goodman, 2018; Shi et al., 2019; Sutter et al., 2021"
    dependencies = Dependencies(prior="", likelihood="z[t]", posterior="x[t]")

    def __init__(
        self,
        x_dim: Sequence[int] | int = (513, 4489),
        z_dim: int = 16,
        *,
        experts: Experts = "product",
        prior_expert: PriorExpert = "always",
        hidden: Sequence[int] = (128,),
        activation: str = "tanh",
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(x_dim, z_dim, **kwargs)
        if experts not in get_args(Experts) or prior_expert not in get_args(PriorExpert):
            raise ConfigError(f"experts are one of {', '.join(get_args(Experts))}, and the prior is one of them "
                              f"{', '.join(get_args(PriorExpert))}; not {experts}, {prior_expert}")  # fmt: skip
        self.experts, self.prior_expert = experts, prior_expert
        options: dict[str, Any] = {"activation": activation, "dropout": dropout}
        names, sizes = self.modalities.names, self.modalities.sizes
        self.encoders = nn.ModuleDict(
            {name: MLP(size, hidden, 2 * self.z_dim, **options) for name, size in zip(names, sizes, strict=True)}
        )
        self.decoders = nn.ModuleDict(
            {
                name: MLP(self.z_dim, tuple(hidden)[::-1], size, **options)
                for name, size in zip(names, self.outputs, strict=True)
            }
        )

    @property
    def subsets(self) -> list[tuple[int, ...]]:
        """The modalities of each expert of the mixture; of a product of all, those of a frame."""
        everyone = range(len(self.modalities))
        if self.experts == "product":
            return [tuple(everyone)]
        sizes = everyone if self.experts == "mixture-of-products" else range(1)
        return [chosen for size in sizes for chosen in combinations(everyone, size + 1)]

    @property
    def noise_dim(self) -> int:
        return self.z_dim if self.experts == "product" else self.z_dim + 1

    def draw_noise(self, batch: int, time: int, generator: torch.Generator | None = None) -> Latents:
        """Standard normal noise, the last number of a frame stratified over batch and time."""
        noise = super().draw_noise(batch, time, generator)
        if self.experts == "product":
            return noise
        count, like = batch * time, noise.z
        order = torch.randperm(count, generator=generator, device=like.device)
        strata = (order + torch.special.ndtr(like[..., -1].flatten())) / count
        # In float32, the ends of (0, 1) would round to 0 and 1, which are no normal number.
        picked = torch.special.ndtri(strata.clamp(1e-7, 1 - 1e-7)).view(batch, time, 1)
        return Latents(torch.cat([like[..., :-1], picked.to(like)], -1))

    # ---- the contract --------------------------------------------------------------------------------------------

    def posterior(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        *,
        noise: Latents | None = None,
        generator: torch.Generator | None = None,
        latents: Latents | None = None,
    ) -> Posterior:
        if latents is None and noise is None:
            noise = self.draw_noise(x.shape[0], x.shape[1], generator)
        law = self.inferred(x, lengths)
        if latents is None:
            assert noise is not None
            if isinstance(law, MixtureLaw):
                latents = Latents(law.push(noise.z))
            else:
                latents = Latents(law.mean + law.stddev * noise.z)
        return Posterior(latents, law)

    def inferred(self, x: Tensor, lengths: Tensor | None = None) -> Distribution:
        """q(z_t | x_t): a Gaussian, or a mixture of them, :class:`~dynvae.models.minvae.MixtureLaw`."""
        seen, present = self.features(x, lengths), self.seen(x)
        packed = torch.stack([self.encoders[n](part) for n, part in self.modalities.split(seen).items()], -2)
        packed = packed.to(torch.promote_types(packed.dtype, torch.float32))
        means, log_variances = packed.chunk(2, -1)
        log_variances = bound_log_variance(log_variances)
        if self.experts == "product":
            return diagonal_normal(*self._product(means, log_variances, present))
        products, there = [], []
        for subset in self.subsets:
            parts = [here if n in subset else torch.zeros_like(here) for n, here in enumerate(present.unbind(-1))]
            own = torch.stack(parts, -1)
            products.append(self._product(means, log_variances, own))
            there.append(own.sum(-1) == len(subset))
        available = torch.stack(there, -1)
        available = available | ~present.any(-1, keepdim=True)  # without any modality all are the prior
        count = available.sum(-1, keepdim=True).to(means.dtype)
        log_weight = (-count.log()).expand(available.shape).masked_fill(~available, _NEVER)
        loc, log_variance = (torch.stack(parts, -2) for parts in zip(*products, strict=True))
        return MixtureLaw(loc, log_variance, log_weight)

    def _product(self, means: Tensor, log_variances: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        prior = own.all(-1) if self.prior_expert == "full" else self.prior_expert == "always"
        return product_of_experts(means, log_variances, own, prior=prior)

    def frame_prior(self, like: Tensor) -> Distribution:
        return standard_normal(like)

    def frame_likelihood(self, z: Tensor) -> Distribution:
        return self.observation(torch.cat([decoder(z) for decoder in self.decoders.values()], -1))
