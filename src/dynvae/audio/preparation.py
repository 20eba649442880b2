"""What is done to an utterance before its STFT, and how to undo it: offset, quiet ends, level."""

from __future__ import annotations

__all__ = ["Preparation", "prepare", "trim_bounds"]

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynvae.audio.stft import FrontEnd

_FRAME, _HOP = 2048, 512


def trim_bounds(waveform: NDArray[np.floating[Any]], decibels: float = 30.0) -> tuple[int, int]:
    """Where the sound begins and ends: the quiet ends lie more than so many decibels below the loudest frame.

    Frames of 2048 samples every 512, centred, zeros beyond the ends; the level of a frame is its root mean square. The
    sound reaches from the first to one hop after the last frame above the threshold. These are the bounds of
    ``librosa.effects.trim``, except that no absolute level counts: a quiet recording is cut like a loud one.

    Args:
        waveform: ``(samples,)``.
        decibels: the threshold below the loudest frame.

    Returns:
        First sample, and one past the last. All of a silent signal is kept.
    """
    samples = len(waveform)
    frames = 1 + samples // _HOP
    energy = np.zeros((frames + _FRAME // _HOP) * _HOP)
    np.square(waveform, out=energy[_FRAME // 2 : _FRAME // 2 + samples], dtype=np.float64)
    hops = energy.reshape(-1, _HOP).sum(axis=1)
    level = np.lib.stride_tricks.sliding_window_view(hops, _FRAME // _HOP).sum(axis=1)[:frames]
    loud = np.flatnonzero(level > level.max() * 10 ** (-decibels / 10))
    if not len(loud):
        return 0, samples
    return int(loud[0]) * _HOP, min(samples, int(loud[-1] + 1) * _HOP)


@dataclass(frozen=True)
class Preparation:
    """How one utterance is brought to a model: ``gain · (waveform - mean)[start:stop]``.

    Measured by `Preparation.of`, applied by `apply`, taken back by `undo`.
    """

    samples: int  # of the utterance before
    mean: float
    start: int
    stop: int
    gain: float

    @classmethod
    def of(cls, waveform: NDArray[np.floating[Any]], front_end: FrontEnd) -> Preparation:
        """Measure offset, bounds and level of an utterance ``(samples,)``.

        The end is cut to a whole number of hops (where there is one), so that every sample is seen by two frames or
        more. Silence gets a gain of 1.
        """
        mean = float(np.mean(waveform, dtype=np.float64)) if len(waveform) else 0.0
        centred = waveform - np.asarray(mean, waveform.dtype)
        if not np.any(np.diff(waveform)):  # a constant is silence, whatever rounding leaves of it
            centred = np.zeros_like(centred)
        start, stop = (0, len(centred)) if front_end.trim_db is None else trim_bounds(centred, front_end.trim_db)
        if stop - start >= front_end.hop_length:
            stop -= (stop - start) % front_end.hop_length
        peak = float(np.abs(centred[start:stop]).max(initial=0.0))
        gain = 1 / peak if front_end.normalize == "peak" and peak > np.finfo(np.float32).tiny else 1.0
        return cls(len(waveform), mean, start, stop, gain)

    def apply(self, waveform: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """The prepared utterance ``(stop - start,)``, in the precision of the waveform."""
        kind = waveform.dtype.type
        return (waveform[self.start : self.stop] - kind(self.mean)) * kind(self.gain)

    def undo(self, waveform: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """A processed utterance at its old level, place and length: ``(samples,)``; zeros where the ends were cut.

        The offset is not put back: it is a fault of the recording.

        Args:
            waveform: ``(stop - start,)``.
        """
        whole = np.zeros(self.samples, dtype=waveform.dtype)
        whole[self.start : self.stop] = waveform / waveform.dtype.type(self.gain)
        return whole


def prepare(waveform: Any, front_end: FrontEnd) -> NDArray[np.floating[Any]]:
    """Remove the offset, cut the quiet ends, bring the peak to 1; silence stays silence.

    Args:
        waveform: array or tensor ``(samples,)``; float64 stays so, everything else becomes float32.
        front_end: says which of the steps are done (``trim_db``, ``normalize``).

    Returns:
        The prepared waveform. `Preparation` does the same and can undo it.

    Example:
        >>> t = np.arange(16000) / 16000
        >>> quiet_then_loud = np.where(t < 0.5, 1e-4, 0.2) * np.sin(2 * np.pi * 440 * t) + 0.1
        >>> prepared = prepare(quiet_then_loud, FrontEnd())
        >>> len(prepared) < 10000, round(float(np.abs(prepared).max()), 6)
        (True, 1.0)
    """
    signal = np.asarray(waveform)
    signal = signal if signal.dtype == np.float64 else signal.astype(np.float32)
    return Preparation.of(signal, front_end).apply(signal)
