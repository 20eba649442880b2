"""Scores that model a listener: PESQ in its three spellings, STOI and ESTOI."""

from __future__ import annotations

__all__ = ["estoi", "pesq_nb", "pesq_raw", "pesq_wb", "raw_from_nb", "stoi"]

import math
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soxr
from numpy.typing import ArrayLike, NDArray

from dynvae.errors import require
from dynvae.metrics.score import ScoreError, check_pair

RATE = 16000
PESQ_SAFE_SECONDS = 20.0
"""The C code of PESQ has room for 50 utterances and no check. Each takes at least 0.2 s of speech and as much of
pause, so up to here it cannot overflow; beyond, it runs in a process of its own, which may crash alone."""
STOI_SECONDS = (256 + 29 * 128) / 10000
"""STOI correlates over 30 frames of 256 samples, half overlapping, at 10 kHz."""


def pesq_nb(reference: ArrayLike, estimate: ArrayLike, sample_rate: int = RATE) -> float:
    """Narrow-band PESQ, mapped to a mean opinion score (ITU-T P.862 and P.862.1), 1.02 to 4.55. Higher is better.

    This is ``pesq(..., "nb")`` of the package pesq. It is not the number of papers that used pypesq; that is
    :func:`pesq_raw`. Its time grows with the signal's: about 15 ms a second of speech on one core.

    Args:
        reference: the true waveform, ``(samples,)``.
        estimate: the waveform to be judged, ``(samples,)``.
        sample_rate: rate of both, in Hz. 8000 and 16000 are taken as they are, others resampled to 16000.

    Raises:
        ScoreError: a signal is silent, not finite, shorter than 0.25 s, or without speech.
        AudioError: the lengths differ.
        MissingExtraError: the package pesq is not installed.
    """
    return _pesq(reference, estimate, sample_rate, "nb")


def pesq_wb(reference: ArrayLike, estimate: ArrayLike, sample_rate: int = RATE) -> float:
    """Wide-band PESQ as a mean opinion score (ITU-T P.862.2), 1.02 to 4.64. Higher is better.

    Args:
        reference: the true waveform, ``(samples,)``.
        estimate: the waveform to be judged, ``(samples,)``.
        sample_rate: rate of both, in Hz; resampled to 16000.

    Raises:
        ScoreError: as for :func:`pesq_nb`, or the rate is below 16000 Hz.
        AudioError: the lengths differ.
        MissingExtraError: the package pesq is not installed.
    """
    if sample_rate < RATE:
        raise ScoreError("wide-band PESQ needs a rate of 16000 Hz or more")
    return _pesq(reference, estimate, sample_rate, "wb")


def pesq_raw(reference: ArrayLike, estimate: ArrayLike, sample_rate: int = RATE) -> float:
    """The raw score of ITU-T P.862, -0.5 to 4.5, which papers that used pypesq print as "PESQ". Higher is better.

    It is recovered from :func:`pesq_nb` by :func:`raw_from_nb`; arguments and errors are those.
    """
    return raw_from_nb(pesq_nb(reference, estimate, sample_rate))


def raw_from_nb(nb: float) -> float:
    """The raw P.862 score behind a narrow-band mean opinion score, by inverting the mapping of P.862.1.

    P.862.1 maps the raw score r to ``nb = 0.999 + 4 / (1 + exp(-1.4945 r + 4.6607))``.

    Example:
        >>> round(raw_from_nb(1.3825), 2), round(raw_from_nb(4.5486), 2)  # noisy speech, and an exact copy
        (1.62, 4.5)
    """
    return (4.6607 - math.log(4 / (nb - 0.999) - 1)) / 1.4945


def stoi(reference: ArrayLike, estimate: ArrayLike, sample_rate: int = RATE) -> float:
    """Short-time objective intelligibility (Taal et al., 2011), up to 1. Higher is better.

    Args:
        reference: the true waveform, ``(samples,)``.
        estimate: the waveform to be judged, ``(samples,)``.
        sample_rate: rate of both, in Hz; resampled to 16000.

    Raises:
        ScoreError: a signal is silent, not finite, or has less than 0.4 s of speech.
        AudioError: the lengths differ.
        MissingExtraError: the package pystoi is not installed.
    """
    return _stoi(reference, estimate, sample_rate, extended=False)


def estoi(reference: ArrayLike, estimate: ArrayLike, sample_rate: int = RATE) -> float:
    """Extended short-time objective intelligibility (Jensen and Taal, 2016), up to 1. Higher is better.

    Arguments and errors are those of :func:`stoi`.
    """
    return _stoi(reference, estimate, sample_rate, extended=True)


def _resample(signal: NDArray[np.float64], rate: int) -> NDArray[np.float64]:
    return signal if rate == RATE else soxr.resample(signal, rate, RATE)


def _pesq(reference: ArrayLike, estimate: ArrayLike, rate: int, band: Literal["nb", "wb"]) -> float:
    package = require("pesq", "metrics")
    pair = check_pair(reference, estimate)
    if rate != 8000:
        pair, rate = (_resample(pair[0], rate), _resample(pair[1], rate)), RATE
    if pair[0].size < rate / 4:
        raise ScoreError("shorter than the 0.25 s that PESQ needs")
    run = _pesq_here if pair[0].size <= PESQ_SAFE_SECONDS * rate else _pesq_apart
    return run(package, rate, *pair, band)


def _pesq_here(package: Any, rate: int, reference: NDArray, estimate: NDArray, band: str) -> float:
    try:
        score = float(package.pesq(rate, reference, estimate, band))
    except package.NoUtterancesError as error:
        raise ScoreError("PESQ finds no utterance") from error
    except package.PesqError as error:
        raise ScoreError(f"PESQ fails: {type(error).__name__}") from error
    if not math.isfinite(score):
        raise ScoreError("PESQ gives no finite number")
    return score


def _pesq_apart(package: Any, rate: int, reference: NDArray, estimate: NDArray, band: str) -> float:
    """The same in a process of its own: too many utterances crash the C code, and the whole process with it."""
    child = Path(__file__).with_name("_pesq_process.py")
    signals = np.stack([reference, estimate])
    done = subprocess.run(
        [sys.executable, str(child), str(rate), band], input=signals.tobytes(), capture_output=True, check=False
    )
    if done.returncode < 0 or done.returncode > 3:
        raise ScoreError("PESQ crashes: the signal holds more than the 50 utterances that it has room for")
    word = done.stdout.decode(errors="replace").strip()
    if done.returncode == 3:
        raise ScoreError("PESQ finds no utterance" if "NoUtter" in word else f"PESQ fails: {word}")
    try:
        return float(word)
    except ValueError:
        last = (done.stderr.decode(errors="replace").strip() or "no message").splitlines()[-1]
        raise ScoreError(f"PESQ in a process of its own fails: {last}") from None


def _stoi(reference: ArrayLike, estimate: ArrayLike, rate: int, *, extended: bool) -> float:
    package = require("pystoi", "metrics")
    s, estimated = (_resample(signal, rate) for signal in check_pair(reference, estimate))
    if s.size < STOI_SECONDS * RATE:
        raise ScoreError("shorter than the 0.4 s that STOI needs")
    # pystoi adds noise at the resolution of float64 from numpy's global stream: it is made to repeat, and the
    # caller's stream is left as it was.
    state = np.random.get_state()
    np.random.seed(0)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            score = float(package.stoi(s, estimated, RATE, extended=extended))
    finally:
        np.random.set_state(state)
    if any("Not enough STFT frames" in str(warning.message) for warning in caught):
        raise ScoreError("less than the 0.4 s of speech that STOI needs")
    if not math.isfinite(score):
        raise ScoreError("STOI gives no finite number")
    return score
