"""What a source adds to the bound of ln p(observations)."""

from __future__ import annotations

__all__ = ["Noise", "source_bound"]

from dataclasses import dataclass

import torch
from torch import Tensor

from dynvae.audio.stft import power_of
from dynvae.distributions import kl_per_dimension, standard_normal
from dynvae.mixtures.dynamics import Dynamics, Given
from dynvae.mixtures.laws import Law, entropy
from dynvae.mixtures.values import Estimate
from dynvae.models import DVAE, Latents, RecursiveDVAE


@dataclass(frozen=True, eq=False)
class Noise:
    """Standard normal numbers for a look at the bound, the same ones for all looks, so that these compare.

    Attributes:
        z: of q(z), ``(rows, time, z_dim)``.
        prior: of the prior in gaps.
        s: of q(s), ``(rows, time, feature)``, complex for complex sources.
        w: of q(w), or None.
    """

    z: Tensor
    prior: Tensor
    s: Tensor
    w: Tensor | None = None

    @classmethod
    def drawn(cls, model: DVAE, rows: int, time: int, complex_valued: bool, generator: torch.Generator) -> Noise:
        """Draw on the generator's device."""

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=model.weight.dtype).to(model.weight.device)

        s = normal(rows, time, model.x_dim)
        if complex_valued:  # of variance one in all
            s = torch.complex(s, normal(rows, time, model.x_dim)) / 2**0.5
        z, prior = normal(rows, time, model.z_dim), normal(rows, time, model.z_dim)
        return cls(z, prior, s, normal(rows, model.w_dim) if model.w_dim else None)

    def opposite(self) -> Noise:
        """The same numbers with the other sign: where the bound is quadratic in them, the mean of both is smooth."""
        return Noise(-self.z, -self.prior, -self.s, None if self.w is None else -self.w)


def source_bound(dynamics: Dynamics, q: Estimate, given: Given, noise: Noise) -> Tensor:
    r"""An unbiased estimate of what a source adds at every frame, ``(rows, time)``.

    .. math:: \mathbb E_{q(s) q(z)}[\ln p(s_t | z_{\le t}, s_{<t})] - D_{KL}(q(z_t | \cdot) \| p(z_t | \cdot))
              + H(q(s_t)),

    in closed form over s_t, and over one draw of z and of the frames before t. Where z follows the prior, there is no
    divergence.
    """
    model = dynamics.model
    posterior = dynamics.infer(dynamics.fed(q), given.lengths, Latents(noise.z, noise.w))
    drawn = q.mean + q.variance.sqrt() * noise.s
    past = power_of(drawn) if drawn.is_complex() else drawn
    z = dynamics.path(posterior.latents, given.observed, past, noise.prior)
    latents = Latents(z, posterior.latents.w)
    if isinstance(model, RecursiveDVAE) and given.before is not None:
        ends = {"x": model.features(given.before)}
        prior, likelihood = model.generative(latents, past, given.lengths, initial=ends)
    else:
        prior, likelihood = model.generative(latents, past, given.lengths)
    kl = kl_per_dimension(posterior.z, prior).sum(-1)
    kl = kl if given.observed is None else kl.where(given.observed, 0)
    total = Law.of(likelihood).beginning(given.start).expected(q) - kl + entropy(q)
    if posterior.w is not None and latents.w is not None:
        total[:, 0] -= kl_per_dimension(posterior.w, standard_normal(latents.w)).sum(-1)
    return total
