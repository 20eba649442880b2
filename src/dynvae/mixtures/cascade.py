"""A first guess of where objects are, piece by piece."""

from __future__ import annotations

__all__ = ["cascade"]

import torch
from torch import Tensor

from dynvae.mixtures.engine import Mixture
from dynvae.mixtures.gaussian import Observations
from dynvae.mixtures.values import Estimate


def cascade(
    mixture: Mixture,
    observed: Observations,
    first: Estimate,
    *,
    length: int = 30,
    sure: float | None = None,
    active: Tensor | None = None,
    refined: bool = True,
) -> Estimate:
    """Guess whole sequences from where sources begin, piece by piece (Lin et al., 2023).

    A piece begins as if nothing moved, from where the piece before has ended after VEM. (As published, the first frame
    of each piece has this place for its mean.)

    Args:
        mixture: what each piece is solved by.
        observed: the observations of the whole.
        first: the sources at the first frame, ``(batch, source, feature)``.
        length: of a piece, in frames; the last may be shorter.
        sure: variance of the law of the first frame of each piece, as published 1e-5; that of ``first`` by default.
        active: which sources exist, ``(batch, source)``.
        refined: give what VEM has found; otherwise, as published, the resting guesses that it began with.

    Returns:
        The sources at all frames.
    """
    time = observed.values.shape[1]
    place, parts = first, []
    for begin in range(0, time, length):
        end = min(begin + length, time)
        resting = Estimate.constant(place, end - begin)
        start = place if sure is None else Estimate(place.mean, torch.full_like(place.mean, sure))
        found = mixture.run(observed.frames(begin, end), resting, start=start, active=active)
        parts.append(found.estimate if refined else resting)
        place = Estimate(found.mean[:, :, -1], place.variance)
    return Estimate(*(torch.cat(part, 2) for part in zip(*parts, strict=True)))
