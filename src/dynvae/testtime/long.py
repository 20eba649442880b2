"""Recordings of any length: enhanced in overlapping chunks, with one picture of the noise for all of them."""

from __future__ import annotations

__all__ = ["Chunks", "Told", "enhance_in_chunks"]

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynvae.audio.blocks import Resampler, overlapping
from dynvae.condition import Condition
from dynvae.errors import ConfigError
from dynvae.testtime.em import Progress
from dynvae.testtime.enhancement import Enhanced, Enhancer
from dynvae.testtime.noise import Noise, NoiseModel, Patterns
from dynvae.testtime.presets import Preset
from dynvae.testtime.scene import Draws, Scene

Sound = NDArray[np.float32]
Told = Callable[[int, int, Sound, Enhanced], None]
"""Called after each chunk with its number from 1, the number of all, the noisy sound and what became of it."""


@dataclass(frozen=True)
class Chunks:
    """How a long recording is cut.

    Args:
        seconds: longest chunk; what is shorter is enhanced as a whole.
        overlap: seconds that neighbours share, where one fades into the next.

    Raises:
        ConfigError: the overlap is longer than half a chunk, or not positive.
    """

    seconds: float = 30.0
    overlap: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.overlap <= self.seconds / 2:
            raise ConfigError(f"the overlap of chunks is positive and at most half a chunk, not {self.overlap} of "
                              f"{self.seconds} s")  # fmt: skip

    def plan(self, samples: int, rate: int) -> tuple[int, int, int]:
        """Number of chunks, and samples of one and of an overlap; all chunks are of equal length.

        Example:
            >>> Chunks(30, 2).plan(60 * 100, 100)
            (3, 2134, 200)
        """
        longest, overlap = round(self.seconds * rate), round(self.overlap * rate)
        if samples <= longest or overlap < 1:
            return 1, samples, 0
        count = math.ceil((samples - overlap) / (longest - overlap))
        return count, math.ceil((samples + (count - 1) * overlap) / count), overlap


def enhance_in_chunks(
    enhancer: Enhancer,
    blocks: Iterable[Sound],
    sample_rate: int,
    samples: int,
    *,
    chunks: Chunks = Chunks(),
    condition: Condition | None = None,
    seed: int = 0,
    name: str = "",
    progress: Progress | None = None,
    told: Told | None = None,
) -> Iterator[Sound]:
    r"""Enhance a recording of any length, in memory that does not grow with it.

    A recording that is no longer than a chunk is enhanced as :class:`Enhancer` does it. Else each chunk is one of its
    own, channel by channel, except that the spectral patterns of its noise start from those of the chunk before; where
    chunks overlap, :math:`y = (1 - f)\, y_{before} + f\, y_{after}` with :math:`f = \sin^2` from 0 to 1.

    Args:
        enhancer: prior and method.
        blocks: the recording piece by piece, each ``(channels, samples)``.
        sample_rate: of the recording, in hertz.
        samples: that it has, per channel.
        chunks: how it is cut.
        condition: what is known beside the sound, on the frames of the whole recording; see :class:`Enhancer`.
        seed: of each chunk's random numbers.
        name: what errors call it.
        progress: told how a chunk goes.
        told: what becomes of each chunk; its patterns are those of the first channel, if there are several chunks.

    Yields:
        The speech in pieces, each ``(channels, samples)``: as many samples as came, at their rate and level.

    Raises:
        AudioError: there is NaN or infinity in it.
    """
    rate = enhancer.front_end.sample_rate
    count, size, overlap = chunks.plan(round(samples * rate / sample_rate), rate)
    if count == 1:
        whole = np.concatenate(list(blocks), 1)
        found = enhancer(whole, sample_rate, condition=condition, seed=seed, name=name, progress=progress)
        if told is not None:
            told(1, 1, whole, found)
        yield found.waveform
        return
    fade = np.sin(np.linspace(0, np.pi / 2, overlap, dtype=np.float32)) ** 2
    tail: Sound | None = None
    known: list[Tensor | None] = []
    back: Resampler | None = None
    given = 0
    for index, chunk in enumerate(overlapping(blocks, sample_rate, rate, count, size, overlap), 1):
        known = known or [None] * len(chunk)
        seen = None
        if condition is not None:
            first = round((index - 1) * (size - overlap) / enhancer.front_end.hop_length)
            seen = condition.frames(first, condition.present.shape[1])
        back = back or Resampler(rate, sample_rate, len(chunk))
        parts = []
        for channel, sound in enumerate(chunk):
            one = Enhancer(enhancer.prior, _carried(enhancer.preset, known[channel]), front_end=enhancer.front_end,
                           device=enhancer.device)  # fmt: skip
            own = seen if seen is None or len(seen.present) == 1 else Condition(*(p[channel][None] for p in seen))
            parts.append(one(sound[None], rate, condition=own, seed=seed, name=name, progress=progress))
            if parts[-1].patterns is not None and not parts[-1].collapsed.any():
                known[channel] = parts[-1].patterns[0]
        found = _together(parts)
        if told is not None:
            told(index, count, chunk, found)
        speech = found.waveform
        if tail is not None:
            speech[:, :overlap] = (1 - fade) * tail + fade * speech[:, :overlap]
        if index < count:
            speech, tail = speech[:, :-overlap], speech[:, -overlap:]
        piece = back.push(speech, last=index == count)[:, : samples - given]
        given += piece.shape[1]
        yield piece
    if given < samples:  # what rounding of the rates has left open
        yield np.zeros((len(known), samples - given), np.float32)


@dataclass(frozen=True, eq=False)
class _Carried:
    """A noise model that starts from known patterns."""

    model: NoiseModel
    patterns: Tensor  # (batch, K, bins)

    def start(self, scene: Scene, draws: Draws) -> Noise:
        noise = self.model.start(scene, draws)
        if isinstance(noise, Patterns):
            noise.w = self.patterns
            noise.variance = torch.bmm(noise.h, noise.w)
        return noise


def _carried(preset: Preset, patterns: Tensor | None) -> Preset:
    return (
        preset
        if patterns is None
        else replace(preset, em=replace(preset.em, noise=_Carried(preset.em.noise, patterns)))
    )


def _together(parts: list[Enhanced]) -> Enhanced:
    """The channels of a chunk, of which silent ones have no objective."""
    heard = next((part for part in parts if part.iterations), parts[0])

    def column(part: Enhanced) -> Any:
        return (
            part.objective if len(part.iterations) == len(heard.iterations) else np.full_like(heard.objective, np.nan)
        )

    flags: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in ("energy", "collapsed", "silent")
    }
    objective = np.concatenate([column(part) for part in parts], 1)
    return replace(heard, waveform=np.concatenate([part.waveform for part in parts]), objective=objective, **flags)
