"""Mixtures of any length: separated in overlapping chunks, in which the sources keep their places."""

from __future__ import annotations

__all__ = ["separate_in_chunks"]

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from dynvae.audio.blocks import Resampler, overlapping
from dynvae.mixtures.engine import Progress
from dynvae.separation.separator import Parted, Separator
from dynvae.testtime.long import Chunks

Sound = NDArray[np.float32]
Told = Callable[[int, int, Parted], None]
"""Called after each chunk with its number from 1, the number of all, and what became of it."""


def separate_in_chunks(
    separator: Separator,
    blocks: Iterable[Sound],
    sample_rate: int,
    samples: int,
    *,
    chunks: Chunks | None = None,
    seed: int = 0,
    name: str = "",
    progress: Progress | None = None,
    told: Told | None = None,
) -> Iterator[Sound]:
    r"""Separate a recording of any length, in memory that does not grow with it.

    A recording that is no longer than a chunk is separated as :class:`Separator` does it. Else each chunk is one of its
    own; sources of one model are put in the order in which they sound most alike where chunks overlap, and fade into
    one another there.

    Args:
        separator: models and settings.
        blocks: the recording piece by piece, each ``(channels, samples)``.
        sample_rate: of the recording, in hertz.
        samples: that it has, per channel.
        chunks: how it is cut; by default into half-minutes.
        seed: of each chunk's random numbers.
        name: what errors call it.
        progress: told how a chunk goes.
        told: what becomes of each chunk.

    Yields:
        The sources in pieces, each ``(source, channels, samples)``: as many samples as came, at their rate and level.

    Raises:
        AudioError: there is NaN or infinity in it.
    """
    rate, chunks = separator.front_end.sample_rate, chunks or Chunks()
    count, size, overlap = chunks.plan(round(samples * rate / sample_rate), rate)
    if count == 1:
        found = separator(np.concatenate(list(blocks), 1), sample_rate, seed=seed, name=name, progress=progress)
        if told is not None:
            told(1, 1, found)
        yield found.waveforms
        return
    fade = np.sin(np.linspace(0, np.pi / 2, overlap, dtype=np.float32)) ** 2
    tail: Sound | None = None
    back: Resampler | None = None
    given, shape = 0, (0, 0)
    for index, chunk in enumerate(overlapping(blocks, sample_rate, rate, count, size, overlap), 1):
        found = separator(chunk, rate, seed=seed, name=name, progress=progress)
        if told is not None:
            told(index, count, found)
        parts = found.waveforms
        shape = parts.shape[:2]
        back = back or Resampler(rate, sample_rate, shape[0] * shape[1])
        if tail is not None:
            order = separator.order_like(tail.reshape(len(tail), -1), parts[:, :, :overlap].reshape(len(parts), -1))
            parts = parts[order]
            parts[:, :, :overlap] = (1 - fade) * tail + fade * parts[:, :, :overlap]
        if index < count:
            parts, tail = parts[:, :, :-overlap], parts[:, :, -overlap:]
        flat = back.push(parts.reshape(-1, parts.shape[-1]), last=index == count)[:, : samples - given]
        given += flat.shape[1]
        yield flat.reshape(*shape, -1)
    if given < samples:  # what rounding of the rates has left open
        yield np.zeros((*shape, samples - given), np.float32)
