"""The STFT front end: a waveform becomes the power spectrogram that a model sees, and comes back unchanged."""

from __future__ import annotations

__all__ = ["FRONT_ENDS", "FrontEnd"]

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from dynvae.errors import ConfigError

_AT_ONCE = 1 << 19  # numbers: 2 MB of float32


@dataclass(frozen=True)
class FrontEnd:
    """Everything between a sound file and a model's input; a saved model carries it.

    The transform is ``X[t, f] = Σ_n w[n] x[t·hop + n - N/2] exp(-2πi f n / N)`` with the sine window
    ``w[n] = sin(π (n + ½) / N)``. Frame ``t`` is centred on sample ``t·hop``; there are ``1 + samples // hop`` frames
    and ``N/2 + 1`` bins. ``w²`` overlap-adds to a constant at 50 % and 75 % overlap; the same window serves both ways.

    Args:
        sample_rate: in hertz.
        window_length: ``N`` in samples, even; also the length of the Fourier transform.
        hop_length: samples between frames, at most ``N/2``.
        pad_mode: what lies beyond the ends of the signal: zeros (``"constant"``) or its mirror image (``"reflect"``).
        trim_db: quiet ends further than this below the loudest frame are cut by `prepare`; ``None`` keeps them.
        normalize: ``"peak"`` scales an utterance to a largest magnitude of 1 in `prepare`; ``"none"`` keeps its level.

    Raises:
        ConfigError: a value is out of range.

    Example:
        >>> front_end = FrontEnd(window_length=512, hop_length=256)
        >>> waveform = torch.sin(torch.arange(16000) / 10)
        >>> spectrum = front_end.stft(waveform)
        >>> spectrum.shape
        torch.Size([63, 257])
        >>> torch.allclose(front_end.istft(spectrum, length=16000), waveform, atol=1e-5)
        True
    """

    sample_rate: int = 16000
    window_length: int = 1024
    hop_length: int = 256
    pad_mode: Literal["constant", "reflect"] = "constant"
    trim_db: float | None = 30.0
    normalize: Literal["peak", "none"] = "peak"

    def __post_init__(self) -> None:
        for name in ("sample_rate", "window_length", "hop_length"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"front end: {name} is a positive whole number, not {value!r}")
        if self.window_length % 2 or self.hop_length > self.window_length // 2:
            raise ConfigError(f"front end: window_length must be even and hop_length at most half of it, not "
                              f"{self.window_length} and {self.hop_length}")  # fmt: skip
        if self.pad_mode not in ("constant", "reflect"):
            raise ConfigError(f"front end: pad_mode is 'constant' or 'reflect', not {self.pad_mode!r}")
        if self.normalize not in ("peak", "none"):
            raise ConfigError(f"front end: normalize is 'peak' or 'none', not {self.normalize!r}")
        if self.trim_db is not None and not self.trim_db > 0:
            raise ConfigError(f"front end: trim_db is a positive number of decibels or null, not {self.trim_db!r}")

    @property
    def bins(self) -> int:
        """Number of frequency bins, ``window_length / 2 + 1``."""
        return self.window_length // 2 + 1

    def frames(self, samples: int) -> int:
        """Number of frames of a signal of so many samples."""
        return 1 + samples // self.hop_length

    def window(self, like: Tensor) -> Tensor:
        """The sine window ``(window_length,)``, in the precision and on the device of a tensor."""
        # On a GPU it is computed there: a copy would wait for all work before it. Other devices may lack float64.
        n = torch.arange(self.window_length, dtype=torch.float64, device=like.device if like.is_cuda else None)
        window = torch.sin(math.pi * (n + 0.5) / self.window_length)
        return window.to(device=like.device, dtype=like.real.dtype if like.is_complex() else like.dtype)

    def pad(self, waveform: Tensor) -> Tensor:
        """Add half a window beyond each end, ``(..., samples)`` to ``(..., samples + window_length)``."""
        half = self.window_length // 2
        return self.extend(waveform, -half, waveform.shape[-1] + half)

    def extend(self, waveform: Tensor, start: int, stop: int) -> Tensor:
        """The samples from ``start`` to before ``stop`` of a signal that goes on beyond its ends as `pad_mode` says."""
        samples = waveform.shape[-1]
        if self.pad_mode == "constant" or samples < 2:
            return functional.pad(waveform, (-start, stop - samples))  # what is negative is cut off
        # A signal shorter than half a window is mirrored again and again, as a wave between two walls.
        index = torch.arange(start, stop, device=waveform.device).remainder(2 * samples - 2)
        return waveform[..., torch.minimum(index, 2 * samples - 2 - index)]

    def transform(self, padded: Tensor) -> Tensor:
        """The frames that fit into a signal, without padding: ``(..., samples)`` to complex ``(..., time, bins)``."""
        frames = padded.unfold(-1, self.window_length, self.hop_length)
        return torch.fft.rfft(frames * self.window(padded))

    def transform_power(self, padded: Tensor) -> Tensor:
        """The power of `transform`, real ``(..., time, bins)``: a few frames at a time, which stay in a CPU's cache."""
        frames = padded.unfold(-1, self.window_length, self.hop_length)
        window = self.window(padded)
        numbers = max(1, frames[..., :1, :].numel())  # of one frame, over all signals
        several = max(1, _AT_ONCE // numbers) if padded.device.type == "cpu" else max(1, frames.shape[-2])
        parts = [power_of(torch.fft.rfft(part * window)) for part in frames.split(several, -2)]
        return torch.cat(parts, -2) if len(parts) > 1 else parts[0]

    def stft(self, waveform: Tensor) -> Tensor:
        """Short-time Fourier transform of centred frames.

        Args:
            waveform: real, ``(..., samples)``, float32 or float64; any length, also shorter than a window.

        Returns:
            Complex spectrum ``(..., time, bins)`` with ``1 + samples // hop_length`` frames.
        """
        return self.transform(self.pad(waveform))

    def power(self, waveform: Tensor) -> Tensor:
        """Power spectrogram ``|X|²``, ``(..., samples)`` to ``(..., time, bins)``; exact zeros in silence."""
        return self.transform_power(self.pad(waveform))

    def istft(self, spectrum: Tensor, length: int | None = None) -> Tensor:
        """The signal whose transform is nearest to a spectrum in the least-squares sense; the inverse of `stft`.

        ``x[n] = Σ_t w[n - t·hop] y_t[n - t·hop] / Σ_t w²[n - t·hop]``, ``y_t`` the inverse transform of frame ``t``
        (Griffin and Lim, 1984, eq. 6). For a spectrum that `stft` made the result is the signal itself, to the rounding
        of its precision. At 50 % overlap only one frame sees the last ``length % hop_length`` samples, by the tail of
        its window, and rounding weighs more there; `prepare` cuts utterances to whole hops for that reason.

        Args:
            spectrum: complex ``(..., time, bins)``.
            length: samples of the result, at most ``(time - 1) * hop_length + window_length / 2``; by default
                ``(time - 1) * hop_length``.

        Returns:
            Real signal ``(..., length)``.

        Raises:
            ConfigError: the number of bins is not this front end's, or the frames do not reach to ``length``.
        """
        time, bins = spectrum.shape[-2:]
        half = self.window_length // 2
        reach = (time - 1) * self.hop_length + half
        length = (time - 1) * self.hop_length if length is None else length
        if bins != self.bins:
            raise ConfigError(f"a spectrum of {bins} bins does not belong to a front end of {self.bins} bins")
        if not 0 <= length <= reach:
            raise ConfigError(f"{time} frames give at most {reach} samples, not {length}")
        window = self.window(spectrum)
        frames = torch.fft.irfft(spectrum, n=self.window_length) * window
        signal = self._overlap_add(frames.flatten(0, -3)) if frames.dim() > 2 else self._overlap_add(frames[None])
        weight = self._overlap_add(window.square().expand(1, time, -1))
        kept = slice(half, half + length)
        return (signal[:, kept] / weight[:, kept]).reshape(*spectrum.shape[:-2], length)

    def _overlap_add(self, frames: Tensor) -> Tensor:
        """Add frames ``(batch, time, window_length)`` at their places: ``(batch, samples)``.

        Each frame is cut into pieces of a hop, and all pieces of one place are added at once.
        """
        batch, time, length = frames.shape
        pieces = -(-length // self.hop_length)
        cut = functional.pad(frames, (0, pieces * self.hop_length - length)).unflatten(-1, (pieces, -1))
        signal = frames.new_zeros(batch, time + pieces - 1, self.hop_length)
        for index in range(pieces):
            signal[:, index : index + time] += cut[:, :, index]
        return signal.flatten(1)[:, : (time - 1) * self.hop_length + length]

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values, for a JSON or YAML file."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> FrontEnd:
        """The front end of a saved dictionary.

        Raises:
            ConfigError: a key is unknown, or a value is out of range.
        """
        unknown = sorted(set(settings) - {field.name for field in dataclasses.fields(cls)})
        if unknown:
            raise ConfigError(f"front end: unknown setting {unknown[0]!r}; there are "
                              f"{', '.join(field.name for field in dataclasses.fields(cls))}")  # fmt: skip
        return cls(**settings)


def power_of(spectrum: Tensor) -> Tensor:
    """``|X|²`` of a complex spectrum, without the square root that would be squared again."""
    return spectrum.real.square().add_(spectrum.imag.square())


# The two published settings at 16 kHz, by the length of their windows.
FRONT_ENDS = {"64ms": FrontEnd(), "32ms": FrontEnd(window_length=512, hop_length=256)}
