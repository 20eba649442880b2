"""Many scores in a few numbers."""

from __future__ import annotations

__all__ = ["Summary", "summarize"]

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dynvae.metrics.score import Score

DRAWS_AT_ONCE = 2**21


@dataclass(frozen=True)
class Summary:
    """The scores of a set of files.

    Attributes:
        mean: the mean over the files that have a score; None if none has.
        median: their median.
        low: lower end of the interval of the mean; None with fewer than two files.
        high: upper end of it.
        n: number of files that have a score.
        failures: number of files without one, by reason, the most frequent first.
    """

    mean: float | None
    median: float | None
    low: float | None
    high: float | None
    n: int
    failures: dict[str, int]


def summarize(
    scores: Iterable[Score | float], *, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Summary:
    """Mean, median, and a bootstrap interval of the mean; failures are counted by reason and averaged nowhere.

    The interval is the percentile bootstrap over files (Efron and Tibshirani, 1993, section 13.3). It does not depend
    on the files' order. It says how far the mean would move with other files of the same kind; files of one
    speaker resemble each other, so that with other *speakers* it would move more.

    Args:
        scores: of each file; plain numbers count as scores, NaN and infinity as failures.
        confidence: probability that the interval covers.
        resamples: number of bootstrap resamples.
        seed: of their draws.

    Example:
        >>> summarize([1.0, 2.0, 6.0, Score.failure("too short")])
        Summary(mean=3.0, median=2.0, low=1.0, high=6.0, n=3, failures={'too short': 1})
    """
    all_scores = [score if isinstance(score, Score) else Score.of(float(score)) for score in scores]
    values = np.sort([score.value for score in all_scores if not score.failed])
    failures = dict(Counter(score.reason for score in all_scores if score.failed).most_common())
    if not values.size:
        return Summary(None, None, None, None, 0, failures)
    low, high = None, None
    if values.size > 1:
        tail = (1 - confidence) / 2
        low, high = (float(end) for end in np.quantile(_means(values, resamples, seed), [tail, 1 - tail]))
    return Summary(float(values.mean()), float(np.median(values)), low, high, values.size, failures)


def _means(values: NDArray[np.float64], resamples: int, seed: int) -> NDArray[np.float64]:
    """The means of bootstrap resamples, drawn in chunks so that memory does not grow with the number of files."""
    generator = np.random.default_rng(seed)
    means = []
    for start in range(0, resamples, chunk := max(1, DRAWS_AT_ONCE // values.size)):
        draws = generator.integers(values.size, size=(min(chunk, resamples - start), values.size))
        means.append(values[draws].mean(axis=1))
    return np.concatenate(means)
