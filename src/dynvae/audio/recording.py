"""A recording on its way through something that takes single channels of one rate and of a peak of one."""

from __future__ import annotations

__all__ = ["Recording"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynvae.audio.files import resample
from dynvae.errors import AudioError


@dataclass(frozen=True, eq=False)
class Recording:
    """A recording of any rate, level and number of channels, as signals to work on; `back` makes it what it was.

    Attributes:
        signals: the channels that are not silent, ``(heard, samples)``, at ``rate``, without offset, of peak one.
        heard: which channels these are.
        shape: of the recording.
        sample_rate: of the recording, in hertz.
        rate: of the signals, in hertz.
        peak: of each of these channels.
    """

    signals: NDArray[np.float32]
    heard: NDArray[np.intp]
    shape: tuple[int, ...]
    sample_rate: int
    rate: int
    peak: NDArray[np.float32]

    @classmethod
    def of(cls, waveform: Any, sample_rate: int, rate: int, name: str = "") -> Recording:
        """Take a recording apart.

        Args:
            waveform: array or tensor of floats, ``(samples,)`` or ``(channels, samples)``.
            sample_rate: its rate, in hertz.
            rate: the rate of the signals.
            name: what errors call it.

        Raises:
            AudioError: it is empty, NaN or infinite somewhere, or no waveform.
        """
        shown = f"{name}: " if name else ""
        signal = np.asarray(waveform.detach().cpu() if hasattr(waveform, "detach") else waveform)
        if signal.ndim not in (1, 2) or not np.issubdtype(signal.dtype, np.floating):
            raise AudioError(f"{shown}a waveform is floating-point, (samples,) or (channels, samples), not "
                             f"{signal.dtype} {signal.shape}")  # fmt: skip
        if signal.size == 0:
            raise AudioError(f"{shown}the waveform {signal.shape} has no samples")
        bad = ~np.isfinite(np.atleast_2d(signal))
        if bad.any():
            raise AudioError(f"{shown}{int(bad.sum())} samples are NaN or infinite, first at index "
                             f"{int(np.flatnonzero(bad.any(0))[0])}; repair or remove them")  # fmt: skip
        channels = np.atleast_2d(signal).astype(np.float32)
        # Before the change of rate, which would make a ringing step of an offset at either end.
        centred = channels - channels.mean(1, keepdims=True, dtype=np.float64).astype(np.float32)
        low = np.stack([resample(channel, sample_rate, rate) for channel in centred])
        low = low if low.shape[1] else centred[:, :1]  # too short for a sample at the lower rate
        peak = np.abs(low).max(1, initial=0)
        # A constant is silence, whatever rounding leaves of it.
        heard = np.flatnonzero([np.diff(channel).any() for channel in channels] & (peak >= 1e-30))
        return cls(low[heard] / peak[heard, None], heard, signal.shape, sample_rate, rate, peak[heard])

    def back(self, signals: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """The recording with other signals in place of its own, at its rate and level; silence stays silence.

        Args:
            signals: one for each of `signals`, of the same length.
        """
        channels = np.zeros((1, *self.shape)[-2:], np.float32)
        for index, peak, signal in zip(self.heard, self.peak, signals, strict=True):
            there = resample(signal * peak, self.rate, self.sample_rate)[: channels.shape[1]]
            channels[index, : len(there)] = there
        return channels.reshape(self.shape)
