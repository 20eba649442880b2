"""How near separated sources are to the true ones."""

from __future__ import annotations

__all__ = ["best_order", "source_scores"]

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dynvae.metrics import Score, ScoreError, score, si_sdr

Sound = NDArray[np.float32]


def best_order(references: Sequence[Sound], estimates: Sequence[Sound], twins: Sequence[Sequence[int]]) -> list[int]:
    """Which estimate is taken for which reference: of sources that one model has found, the order of the best SI-SDR.

    Args:
        references: the true sources.
        estimates: the sources that were found.
        twins: for each source, all that have its model.
    """
    order = list(range(len(references)))
    for first, group in enumerate(twins):
        if group[0] == first and len(group) > 1:
            likeness = {(i, j): _likeness(references[i], estimates[j]) for i in group for j in group}
            best = max(
                itertools.permutations(group), key=lambda p: sum(likeness[pair] for pair in zip(group, p, strict=True))
            )
            for index, place in zip(group, best, strict=True):
                order[index] = place
    return order


def _likeness(reference: Sound, estimate: Sound) -> float:
    try:
        return si_sdr(reference, estimate)
    except ScoreError:
        return -200.0


def source_scores(
    references: Sequence[Sound],
    estimates: Sequence[Sound],
    twins: Sequence[Sequence[int]],
    sample_rate: int,
    metrics: Sequence[str],
) -> list[dict[str, Score]]:
    """Scores of each source, in the order of the references.

    Args:
        references: the true sources, ``(samples,)`` each.
        estimates: the sources that were found.
        twins: for each source, all that have its model, whose order is by chance.
        sample_rate: of all, in hertz.
        metrics: names of `dynvae.metrics.METRICS`.
    """
    order = best_order(references, estimates, twins)
    return [
        score(reference, estimates[place], sample_rate, metrics)
        for reference, place in zip(references, order, strict=True)
    ]
