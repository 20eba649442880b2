"""What clips of sound are compared by: features of each, from anything that gives some."""

from __future__ import annotations

__all__ = ["EXTRACTORS", "Extractor", "LogMel", "distance_names", "extract", "extractor"]

import math
from collections.abc import Callable, Iterable
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from dynvae.errors import ConfigError, DataError


class Extractor(Protocol):
    """Anything that makes features of clips; it may have ``distance_names``, too (see :func:`distance_names`).

    Attributes:
        name: tells which features these are, e.g. in tables.
        sample_rate: that it takes, in hertz.
    """

    @property
    def name(self) -> str: ...

    @property
    def sample_rate(self) -> int: ...

    def __call__(self, waves: Tensor) -> Tensor:
        """From clips of one length, ``(n, samples)``, to their features ``(n, d)``."""


def distance_names(extractor: Extractor) -> tuple[str, str]:
    """What the Fréchet and the kernel distance of these features are called.

    FDSD and KDSD stand for the features of one published network; others do not take the names.
    """
    names = getattr(extractor, "distance_names", ("Fréchet distance", "kernel distance"))
    return names[0], names[1]


def extract(extractor: Extractor, batches: Iterable[Tensor]) -> Tensor:
    """The features of all clips, ``(n, d)`` in float64.

    Args:
        extractor: makes them.
        batches: clips, each ``(some, samples)`` at the extractor's rate.

    Raises:
        DataError: there are no clips, or what comes out is not ``(some, d)`` or not finite.
    """
    found = []
    for waves in batches:
        features = extractor(waves).detach().cpu().double()
        if features.dim() != 2 or len(features) != len(waves):
            raise DataError(
                f"{extractor.name} has to make (n, d) of {tuple(waves.shape)}, and made {tuple(features.shape)}"
            )
        if not bool(torch.isfinite(features).all()):
            raise DataError(f"{extractor.name} has made features that are NaN or infinite")
        found.append(features)
    if not found:
        raise DataError("there are no clips to make features of")
    return torch.cat(found)


class LogMel:
    """Features that need no weights: statistics of the log-mel spectrogram, and its modulation spectrum.

    A clip is brought to a mean of 0 and a power of 1. Its power in 40 triangular bands between 60 Hz and 7,600 Hz,
    equally wide on the mel scale (2595 log10(1 + f / 700)), in Hann windows of 25 ms every 10 ms, gives levels
    L = log10(power + 1e-6), in bels; the floor is far below speech. There are 180 features of a clip:

    - 40: the mean level in each band (the long-term spectrum),
    - 40: its standard deviation (how lively it is),
    - 40: the root mean square of its change from frame to frame (how abrupt),
    - 60: the modulation spectrum: in 10 groups of 4 bands, log10 of the power of the level's fluctuation in 6 octaves
      of modulation frequency from 1 Hz (1 to 2, 2 to 4, ..., 32 to 50), where syllables and phones are.

    They are computed in float64, clip by clip, without chance. They know of spectrum, rhythm and dynamics, and nothing
    of words and little of pitch: a first judgement, and no replacement for a network that has learnt speech.

    Example:
        >>> LogMel()(torch.sin(torch.arange(25600) / 10).expand(2, -1)).shape
        torch.Size([2, 180])
    """

    name = "log-mel"
    sample_rate = 16000

    _WINDOW, _HOP, _FFT, _BANDS, _GROUP = 400, 160, 512, 40, 4
    _EDGES = (1, 2, 4, 8, 16, 32, 50)
    _FLOOR = 1e-6

    def __init__(self) -> None:
        self._window = torch.hann_window(self._WINDOW, dtype=torch.float64)
        self._mel = _triangles(self._BANDS, 60.0, 7600.0, self._FFT // 2 + 1, self.sample_rate)

    def __call__(self, waves: Tensor) -> Tensor:
        """From ``(n, samples)``, at least 1.02 s long, to ``(n, 180)``.

        Raises:
            ConfigError: the clips are too short for a modulation of 1 Hz.
        """
        waves = waves.detach().cpu().double()
        frames = 1 + (waves.shape[-1] - self._WINDOW) // self._HOP
        rate = self.sample_rate / self._HOP
        if frames < rate:
            raise ConfigError(
                f"{self.name} features need clips of 1.02 s or more, not {waves.shape[-1] / self.sample_rate:g} s"
            )
        waves = waves - waves.mean(-1, keepdim=True)
        waves = waves / waves.square().mean(-1, keepdim=True).sqrt().clamp(min=1e-12)
        spectrum = torch.fft.rfft(waves.unfold(-1, self._WINDOW, self._HOP) * self._window, self._FFT)
        power = (spectrum.real.square() + spectrum.imag.square()) / self._window.square().sum() / self._FFT
        level = (power @ self._mel.T + self._FLOOR).log10()
        fluctuation = level.unflatten(-1, (-1, self._GROUP)).mean(-1)
        fluctuation = (fluctuation - fluctuation.mean(1, keepdim=True)).transpose(1, 2)
        taper = torch.hann_window(frames, periodic=False, dtype=torch.float64)
        modulation = torch.fft.rfft(fluctuation * taper).abs().square() / taper.square().sum()
        frequency = torch.arange(modulation.shape[-1]) * (rate / frames)
        octaves = torch.stack(
            [modulation[..., (low <= frequency) & (frequency < high)].mean(-1)
             for low, high in zip(self._EDGES, self._EDGES[1:], strict=False)], -1
        )  # fmt: skip
        steps = level.diff(dim=1).square().mean(1).sqrt()
        modulations = (octaves + self._FLOOR).log10().flatten(1)
        return torch.cat([level.mean(1), level.std(1, correction=0), steps, modulations], -1)


def _triangles(bands: int, low: float, high: float, bins: int, sample_rate: int) -> Tensor:
    """Triangular filters, equally wide on the mel scale, with a peak of 1, ``(bands, bins)``."""
    lowest, highest = (2595 * math.log10(1 + hertz / 700) for hertz in (low, high))
    mel = torch.linspace(lowest, highest, bands + 2, dtype=torch.float64)
    corners = 700 * (10 ** (mel / 2595) - 1)
    frequency = torch.linspace(0, sample_rate / 2, bins, dtype=torch.float64)
    rising = (frequency - corners[:-2, None]) / (corners[1:-1] - corners[:-2])[:, None]
    falling = (corners[2:, None] - frequency) / (corners[2:] - corners[1:-1])[:, None]
    return functional.relu(torch.minimum(rising, falling))


def _log_mel(weights: str | None, sample_rate: int | None) -> Extractor:
    if weights is not None or sample_rate not in (None, LogMel.sample_rate):
        raise ConfigError(f"log-mel features take no weights, and sound of {LogMel.sample_rate} Hz")
    return LogMel()


def _deep_speech_2(weights: str | None, sample_rate: int | None) -> Extractor:
    from dynvae.metrics.deepspeech2 import DeepSpeech2

    if sample_rate not in (None, DeepSpeech2.sample_rate):
        raise ConfigError(f"DeepSpeech2 takes sound of {DeepSpeech2.sample_rate} Hz")
    return DeepSpeech2.load(_given(weights, "deepspeech2"))


def _onnx(weights: str | None, sample_rate: int | None) -> Extractor:
    from dynvae.metrics.networks import OnnxFeatures

    return OnnxFeatures(_given(weights, "onnx"), sample_rate or 16000)


def _torchscript(weights: str | None, sample_rate: int | None) -> Extractor:
    from dynvae.metrics.networks import TorchScriptFeatures

    return TorchScriptFeatures(_given(weights, "torchscript"), sample_rate or 16000)


def _given(weights: str | None, name: str) -> str:
    if weights is None:
        raise ConfigError(f"{name} features need the file of a network (weights)")
    return weights


EXTRACTORS: dict[str, Callable[[str | None, int | None], Extractor]] = {
    "log-mel": _log_mel,
    "deepspeech2": _deep_speech_2,
    "onnx": _onnx,
    "torchscript": _torchscript,
}
"""The kinds of features by name."""


def extractor(name: str = "log-mel", weights: str | None = None, sample_rate: int | None = None) -> Extractor:
    """Make an extractor.

    Args:
        name: ``"log-mel"`` (:class:`LogMel`); ``"deepspeech2"``, the network of FDSD; ``"onnx"`` or ``"torchscript"``,
            any network of yours. A TorchScript file is a program: take it from nobody whom you do not trust.
        weights: file of the network.
        sample_rate: that a network of yours takes; 16000 by default.

    Raises:
        ConfigError: there is no such kind, or it does not take what is given.
        CheckpointError: the file cannot be used.
        MissingExtraError: onnxruntime is not installed.
    """
    if name not in EXTRACTORS:
        raise ConfigError(f"there are no features '{name}'; there are {', '.join(EXTRACTORS)}")
    return EXTRACTORS[name](weights, sample_rate)
