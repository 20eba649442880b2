"""What training minimises: the negative ELBO in nats per frame, with weighted KL, free bits and schedules.

The schedules are pure functions of the (fractional) epoch, so that a resumed run cannot get them wrong. Validation,
early stopping and the choice of the best weights never see them: they use the *final* objective, in which the KL has
its full weight and scheduled sampling its final probability.
"""

from __future__ import annotations

__all__ = ["Loss", "cyclical", "elbo_loss", "learning_rate", "linear", "ramp"]

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from dynvae.models.base import ELBO


class Loss(NamedTuple):
    """The loss of a batch, and the sums that it is made of.

    Attributes:
        value: scalar with gradient, nats per frame; the values of all processes add up to the loss of the whole batch.
        sums: ``(4,)`` float64 without gradient, over this process's part of the batch: log-likelihood, KL of z and
            KL of w in nats, and the number of valid frames.
        from_prior: the sum of the log-likelihoods of latents from the prior, float64 without gradient; zero if there
            are none.
    """

    value: Tensor
    sums: Tensor
    from_prior: Tensor


def elbo_loss(
    elbo: ELBO,
    *,
    kl_weight: float = 1.0,
    free_bits: float = 0.0,
    alpha: float = 0.0,
    total: Callable[[Tensor], Tensor] = lambda tensor: tensor,
) -> Loss:
    r"""The negative weighted ELBO, averaged over the valid frames of the batch.

    .. math::
        -\frac1N \Big( (1 - \alpha) \Big[ \sum \ln p(x_t|\cdot)
        - \beta \big[ \sum_j N \max(\lambda, KL_j / N) + KL_w \big] \Big]
        + \alpha \sum \mathbb E_{p(z_t | \cdot)} \ln p(x_t|\cdot) \Big)

    where N is the number of valid frames and KL_j the sum of the divergences of latent dimension j (free bits:
    Kingma et al., 2016, eq. 15, with every dimension a group of its own). Free bits leave the sequence-level w alone.
    :attr:`ELBO.penalty`, where there is one, is added.

    Args:
        elbo: the terms of the bound.
        kl_weight: β times the weight of the warm-up.
        free_bits: λ, nats per frame and latent dimension that cost nothing.
        alpha: α, the part of the objective that decodes latents from the *prior* (Sadeghi et al., 2020), so that a
            conditional prior has to learn what the condition tells. The bound must have been asked for them. Some
            published code calls 1 - α its alpha or beta.
        total: the sum of a tensor over all processes that share the batch. The identity for one process.
    """
    local_frames = elbo.lengths.sum()
    frames = total(local_frames)
    kl = elbo.kl.sum((0, 1))
    if free_bits > 0:
        # Which dimensions are free depends on the whole batch; a free dimension has a constant cost, no gradient.
        paid = total(kl.detach()) > free_bits * frames
        charged = torch.where(paid, kl, free_bits * local_frames)
    else:
        charged = kl
    divergence = charged.sum()
    kl_w = elbo.kl_w
    if kl_w is not None:
        divergence = divergence + kl_w.sum()
    log_likelihood = elbo.log_likelihood.sum()
    value = (kl_weight * divergence - log_likelihood) / frames
    from_prior = log_likelihood.new_zeros(())
    if elbo.prior_log_likelihood is not None:
        from_prior = elbo.prior_log_likelihood.sum()
        value = (1 - alpha) * value - alpha * from_prior / frames
    if elbo.penalty is not None:
        value = value + elbo.penalty.sum() / frames
    w = log_likelihood.new_zeros(()) if kl_w is None else kl_w.sum()
    sums = torch.stack([log_likelihood, kl.sum(), w, local_frames.to(w)]).detach().double()
    return Loss(value, sums, from_prior.detach().double())


def linear(epoch: float, duration: float) -> float:
    """KL warm-up: from 0 at epoch 0 to 1 at epoch ``duration``, then 1 (Bowman et al., 2016).

    Example:
        >>> [linear(epoch, 10) for epoch in (0, 5, 10, 20)]
        [0.0, 0.5, 1.0, 1.0]
    """
    return ramp(epoch, 0.0, duration, 1.0)


def cyclical(epoch: float, duration: float, cycles: int, rising: float = 0.5) -> float:
    """KL warm-up in cycles, each rising from 0 to 1 and then staying there (Fu et al., 2019, eq. 6-7); then 1.

    Args:
        epoch: where we are, in epochs, fractions allowed.
        duration: length of all cycles together, in epochs.
        cycles: how many.
        rising: part of a cycle in which the weight rises.

    Example:
        >>> [cyclical(epoch, 8, cycles=2) for epoch in (0, 1, 2, 3, 4, 5, 8, 9)]
        [0.0, 0.5, 1.0, 1.0, 0.0, 0.5, 1.0, 1.0]
    """
    if epoch >= duration:
        return 1.0
    period = duration / cycles
    return min(1.0, (epoch % period) / (period * rising))


def ramp(epoch: float, start: float, end: float, target: float) -> float:
    """0 until epoch ``start``, ``target`` from epoch ``end`` on, a straight line between: for scheduled sampling.

    Example:
        >>> [ramp(epoch, 2, 4, 0.8) for epoch in (0, 2, 3, 4, 9)]
        [0.0, 0.0, 0.4, 0.8, 0.8]
    """
    if epoch >= end:
        return target
    if epoch <= start:
        return 0.0
    return target * min(1.0, (epoch - start) / (end - start))


def learning_rate(step: int, total: int, *, peak: float, warmup: int, floor: float, cosine: bool = True) -> float:
    """The rate of a step: a linear rise over ``warmup`` steps, then half a cosine down to ``floor · peak``.

    Args:
        step: counted from 0.
        total: number of steps of the whole training.
        peak: the highest rate.
        warmup: steps of the rise; the first has rate ``peak / warmup``.
        floor: the last rate, as a part of the peak.
        cosine: False stays at the peak.

    Example:
        >>> [round(learning_rate(s, 12, peak=1.0, warmup=2, floor=0.1), 3) for s in (0, 1, 2, 7, 12)]
        [0.5, 1.0, 1.0, 0.55, 0.1]
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    if not cosine:
        return peak
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress)))
