"""What a metric gives: a number, or the reason why there is none."""

from __future__ import annotations

__all__ = ["Score", "ScoreError", "check_pair", "score_packages"]

import importlib.metadata
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dynvae.errors import AudioError, DynvaeError


class ScoreError(DynvaeError):
    """A pair of signals that a metric is not defined on; the text is the reason, the same for all such pairs."""


class Score(NamedTuple):
    """The result of one metric on one pair of signals.

    Attributes:
        value: the number; NaN if there is none.
        reason: why there is none; empty if there is one.

    Example:
        >>> Score(9.5).failed, Score.failure("the reference is silent").failed
        (False, True)
    """

    value: float
    reason: str = ""

    @classmethod
    def failure(cls, reason: str) -> Score:
        """A score without a number."""
        return cls(math.nan, reason)

    @classmethod
    def of(cls, value: float) -> Score:
        """A number, or a failure where it is NaN or infinite."""
        return cls(value) if math.isfinite(value) else cls.failure("not a finite number")

    @property
    def failed(self) -> bool:
        """Whether there is no number."""
        return bool(self.reason)


def check_pair(reference: ArrayLike, estimate: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The two waveforms in float64, once it is sure that they can be compared.

    Args:
        reference: the true waveform, ``(samples,)``.
        estimate: the waveform to be judged, sample by sample in step with it.

    Raises:
        AudioError: they are not two waveforms of one length; nothing aligns them here.
        ScoreError: one of them is empty, silent, or holds NaN or infinity.
    """
    pair = np.asarray(reference, np.float64), np.asarray(estimate, np.float64)
    if pair[0].ndim != 1 or pair[0].shape != pair[1].shape:
        shapes = " and ".join(str(signal.shape) for signal in pair)
        raise AudioError(f"a score needs two mono waveforms of one length; reference and estimate are {shapes}")
    if not pair[0].size:
        raise ScoreError("the signals are empty")
    for name, signal in zip(("reference", "estimate"), pair, strict=True):
        if not np.isfinite(signal).all():
            raise ScoreError(f"NaN or infinite samples in the {name}")
    for name, signal in zip(("reference", "estimate"), pair, strict=True):
        if not signal.any():
            raise ScoreError(f"the {name} is silent")
    return pair


def score_packages() -> dict[str, str | None]:
    """The versions that decide scores; None for a package that is not installed."""
    versions: dict[str, str | None] = {}
    for name in ("dynvae", "torch", "pesq", "pystoi"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return versions
