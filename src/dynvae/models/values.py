"""What models take and give: latents, posteriors, frames, and the evidence lower bound with its terms."""

from __future__ import annotations

__all__ = ["ELBO", "Continued", "Frame", "Generated", "Latents", "Posterior"]

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor
from torch.distributions import Distribution


class Latents(NamedTuple):
    """Values of the latents of a batch of sequences, or the standard normal noise that makes them.

    Attributes:
        z: a vector a frame, ``(batch, time, z_dim)``.
        w: a vector a sequence, ``(batch, w_dim)``, for models that have one (DSAE calls it v).
    """

    z: Tensor
    w: Tensor | None = None


class Posterior(NamedTuple):
    """What an encoder says about the latents of a batch of sequences.

    Attributes:
        latents: one sample, reparameterised.
        z: q(z_t | z_<t, x) along that sample, batch shape ``(batch, time)``.
        w: q(w | x), batch shape ``(batch,)``, for models that have a sequence-level latent.
        seen: what was computed of x on the way that the generative model can use, if it sees the same x; None if
            there is nothing of that kind.
        penalty: what training pays for these latents, ``(batch, time)``: see :attr:`ELBO.penalty`.
    """

    latents: Latents
    z: Distribution
    w: Distribution | None = None
    seen: Mapping[str, Tensor] | None = None
    penalty: Tensor | None = None


class Frame(NamedTuple):
    """One frame of ancestral generation: the laws it was drawn from, and what was drawn."""

    prior: Distribution
    z: Tensor
    likelihood: Distribution
    x: Tensor


class Generated(NamedTuple):
    """Sequences drawn from a model: ``x`` was fed back, ``mean`` is E[x_t | ...], both ``(batch, time, x_dim)``."""

    x: Tensor
    mean: Tensor
    latents: Latents


class Continued(NamedTuple):
    """Several continuations of each of a batch of sequences.

    Attributes:
        x: what was drawn and fed back, ``(batch, samples, horizon, x_dim)``.
        mean: E[x_t | ...] of the same frames.
        z: their latents, ``(batch, samples, horizon, z_dim)``.
        prefix: the latents that the prefix was given, ``(batch, time, z_dim)`` and ``(batch, w_dim)``.
    """

    x: Tensor
    mean: Tensor
    z: Tensor
    prefix: Latents


@dataclass(frozen=True)
class ELBO:
    r"""The evidence lower bound of each sequence, split into its terms, in nats, every constant kept.

    .. math:: \mathcal L = \sum_t \mathbb E_q[\ln p(x_t | \cdot)]
              - \sum_t \mathbb E_q[D_{KL}(q(z_t | \cdot) \| p(z_t | \cdot))] - D_{KL}(q(w | x) \| p(w))

    (Girin et al., 2021, eq. 4.17.) Padded frames are exactly zero in every term.

    Attributes:
        log_likelihood: ``(batch, time)``.
        kl: ``(batch, time, z_dim)``, or ``(batch, time, 1)`` where the prior's covariance is full.
        kl_w: ``(batch,)``, or None.
        lengths: ``(batch,)``.
        prior_log_likelihood: ln p(x_t | ·) of latents z_t that are drawn from their prior along the posterior's path,
            ``(batch, time)``; it is no part of the bound, and there only where it was asked for.
        penalty: what training pays besides, ``(batch, time)``, such as the commitment to a codebook; no part of the
            bound, either.
    """

    log_likelihood: Tensor
    kl: Tensor
    kl_w: Tensor | None
    lengths: Tensor
    prior_log_likelihood: Tensor | None = None
    penalty: Tensor | None = None

    @property
    def total(self) -> Tensor:
        """The bound of each sequence, ``(batch,)``, in nats."""
        total = self.log_likelihood.sum(-1) - self.kl.sum((-2, -1))
        return total if self.kl_w is None else total - self.kl_w

    @property
    def per_frame(self) -> Tensor:
        """The bound in nats per frame, over all valid frames of the batch."""
        return self.total.sum() / self.lengths.sum()

    def terms(self) -> dict[str, Tensor]:
        """``elbo``, ``log_likelihood``, ``kl`` and, where there is one, ``kl_w``: scalars in nats per frame."""
        frames = self.lengths.sum()
        terms = {
            "elbo": self.per_frame,
            "log_likelihood": self.log_likelihood.sum() / frames,
            "kl": self.kl.sum() / frames,
        }
        if self.kl_w is not None:
            terms["kl_w"] = self.kl_w.sum() / frames
        return terms
