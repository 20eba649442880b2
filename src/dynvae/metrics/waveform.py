"""Scores that compare two waveforms sample by sample."""

from __future__ import annotations

__all__ = ["rmse", "sdr", "si_sdr"]

import numpy as np
from numpy.typing import ArrayLike

from dynvae.metrics.score import check_pair


def rmse(reference: ArrayLike, estimate: ArrayLike) -> float:
    r"""Root mean square error with the optimal gain, on the scale where the reference peaks at one.

    .. math:: \min_\alpha \sqrt{\frac1N \sum_n (s_n - \alpha \hat s_n)^2} \; / \; \max_n |s_n|

    (Girin et al., 2021, section 13; Leglaive et al., 2020.) Neither signal's level matters. Lower is better.

    Args:
        reference: the true waveform, ``(samples,)``.
        estimate: the waveform to be judged, ``(samples,)``.

    Raises:
        ScoreError: a signal is empty, silent or not finite.
        AudioError: the lengths differ.

    Example:
        >>> rmse([0.0, 1.0, 0.0, -1.0], [0.0, 4.0, 4.0, 0.0])  # half of the energy is explained by alpha = 1/8
        0.6123724356957945
    """
    s, estimated = check_pair(reference, estimate)
    s = s / np.abs(s).max()
    estimated = estimated / np.abs(estimated).max()
    gain = np.sum(s * estimated) / np.sum(estimated**2)
    return float(np.sqrt(np.mean((s - gain * estimated) ** 2)))


def si_sdr(reference: ArrayLike, estimate: ArrayLike) -> float:
    r"""Scale-invariant signal-to-distortion ratio in dB, means not removed.

    .. math:: 10 \log_{10} \frac{\|\alpha s\|^2}{\|\alpha s - \hat s\|^2}, \quad
              \alpha = \frac{\hat s^\top s}{\|s\|^2}

    (Le Roux et al., 2019, eq. 3.) Neither signal's level matters. Higher is better. An exact copy scores 156.5,
    the resolution of float64, and an orthogonal signal -156.5, where the equation says plus and minus infinity.

    Args:
        reference: the true waveform, ``(samples,)``.
        estimate: the waveform to be judged, ``(samples,)``.

    Raises:
        ScoreError: a signal is empty, silent or not finite.
        AudioError: the lengths differ.

    Example:
        >>> round(si_sdr([3.0, -0.5, 2.0, 7.0], [2.5, 0.0, 2.0, 8.0]), 4)  # the number in torchmetrics' manual
        18.403
    """
    s, estimated = check_pair(reference, estimate)
    s = s / np.abs(s).max()
    estimated = estimated / np.abs(estimated).max()
    target = np.sum(estimated * s) / np.sum(s**2) * s
    explained, distortion = float(np.sum(target**2)), float(np.sum((target - estimated) ** 2))
    resolution = np.finfo(np.float64).eps * (explained + distortion)
    return float(10 * np.log10(max(explained, resolution) / max(distortion, resolution)))


def sdr(reference: ArrayLike, estimate: ArrayLike, taps: int = 512) -> float:
    r"""Signal-to-distortion ratio in dB, where a filter of the reference is no distortion (BSS Eval).

    .. math:: \max_h 10 \log_{10} \frac{\|h * s\|^2}{\|h * s - \hat s\|^2}

    over filters h of so many taps (Vincent, Gribonval and Févotte, 2006). It is that of BSS Eval for whole signals:
    what other sources leave counts as distortion, too. Higher is better, and never below :func:`si_sdr`.

    Args:
        reference: the true waveform, ``(samples,)``.
        estimate: the waveform to be judged, ``(samples,)``.
        taps: length of the filter.

    Raises:
        ScoreError: a signal is empty, silent or not finite.
        AudioError: the lengths differ.

    Example:
        >>> wave = np.sin(np.arange(4000.0) ** 1.5)
        >>> delayed = np.concatenate([np.zeros(3), wave[:-3]])
        >>> bool(si_sdr(wave, delayed) < 5), bool(sdr(wave, delayed) > 25)
        (True, True)
    """
    s, estimated = check_pair(reference, estimate)
    s, estimated = s / np.abs(s).max(), estimated / np.abs(estimated).max()
    size = 1 << (len(s) + taps - 1).bit_length()
    spectrum, other = np.fft.rfft(s, size), np.fft.rfft(estimated, size)
    own = np.fft.irfft(np.abs(spectrum) ** 2, size)[:taps]
    cross = np.fft.irfft(np.conj(spectrum) * other, size)[:taps]
    places = np.abs(np.subtract.outer(np.arange(taps), np.arange(taps)))
    matrix = own[places] + np.finfo(np.float64).eps * taps * own[0] * np.eye(taps)
    explained = float(cross @ np.linalg.solve(matrix, cross))
    total = float(np.sum(estimated**2))
    resolution = np.finfo(np.float64).eps * total
    return float(10 * np.log10(max(explained, resolution) / max(total - explained, resolution)))
