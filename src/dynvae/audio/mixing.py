"""Speech and noise put together at a signal-to-noise ratio."""

from __future__ import annotations

__all__ = ["cut_noise", "mix", "noise_gain"]

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynvae.errors import AudioError

Signal = NDArray[np.floating[Any]]


def noise_gain(speech_power: float, noise_power: float, snr: float) -> float:
    r"""What noise has to be multiplied by for the wanted signal-to-noise ratio.

    .. math:: g = \sqrt{\frac{P_s}{P_b} 10^{-\mathrm{snr} / 10}}

    Args:
        speech_power: mean square of the speech.
        noise_power: mean square of the noise.
        snr: the wanted ratio, in dB.

    Raises:
        AudioError: one of the two is silent, or a number is not finite.

    Example:
        >>> noise_gain(0.01, 0.04, snr=0.0)
        0.5
    """
    if not (np.isfinite([speech_power, noise_power, snr]).all() and speech_power > 0 and noise_power > 0):
        raise AudioError(f"speech of power {speech_power:g} and noise of power {noise_power:g} cannot be mixed at "
                         f"{snr:g} dB")  # fmt: skip
    return float(np.sqrt(speech_power / noise_power * 10 ** (-snr / 10)))


def cut_noise(noise: Signal, samples: int, start: int = 0) -> Signal:
    """So many samples of a recording of noise from some sample on; at its end it begins anew, with a seam.

    Example:
        >>> cut_noise(np.array([0.0, 1.0, 2.0]), 5, start=2)
        array([2., 0., 1., 2., 0.])
    """
    if not len(noise):
        raise AudioError("there is no noise in a recording of no samples")
    return np.take(noise, np.arange(start, start + samples), mode="wrap")


def mix(speech: Signal, noise: Signal, snr: float, start: int = 0) -> Signal:
    """Noisy speech: the speech as it is, and the noise at a level that gives the wanted ratio.

    The ratio is that of the two mean squares over the whole of the speech, pauses included; ITU-T P.56 would count the
    active speech alone, which gives a little more noise at the same figure.

    Args:
        speech: ``(samples,)``.
        noise: a recording of the same rate; it is cut or repeated.
        snr: in dB.
        start: first sample of the noise.

    Raises:
        AudioError: speech or noise is silent.

    Example:
        >>> mix(np.array([0.1, -0.1, 0.1, -0.1]), np.array([0.4, 0.4]), snr=0.0)
        array([0.2, 0. , 0.2, 0. ])
    """
    noise = cut_noise(noise, len(speech), start).astype(speech.dtype)
    speech_power, noise_power = _power(speech), _power(noise)
    return speech + speech.dtype.type(noise_gain(speech_power, noise_power, snr)) * noise


def _power(signal: Signal) -> float:
    return float(np.mean(np.square(signal, dtype=np.float64))) if len(signal) else 0.0
