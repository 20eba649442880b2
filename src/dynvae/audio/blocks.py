"""Sound in blocks, for recordings of any length: reading, writing and resampling in memory that does not grow."""

from __future__ import annotations

__all__ = ["BLOCK", "Kept", "Resampler", "Writer", "overlapping", "read_blocks", "survey"]

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from dynvae.audio.files import _PCM_BITS, AudioInfo, _info, _integers, _name, _show, open_audio
from dynvae.errors import AudioError
from dynvae.files import atomic_write

BLOCK = 1 << 16
"""Samples of a channel that are read at a time."""


def read_blocks(path: str | os.PathLike[str], samples: int = BLOCK) -> Iterator[NDArray[np.float32]]:
    """A sound file piece by piece, each ``(channels, samples)``, the last one shorter; scaled as `read_audio` does.

    Raises:
        AudioError: the file is missing, empty, not sound or cut short.
    """
    with open_audio(path) as file:
        info, done = _info(file), 0
        while done < info.samples:
            try:
                block = file.read(samples, dtype="float32", always_2d=True)
            except (soundfile.LibsndfileError, RuntimeError) as error:
                raise AudioError(f"{_show(path)}: damaged or cut short ({error}); get the file anew") from error
            if not len(block):
                raise AudioError(f"{_show(path)}: cut short, {done} of {info.samples} samples; get the file anew")
            done += len(block)
            yield np.ascontiguousarray(block.T)


def survey(path: str | os.PathLike[str]) -> AudioInfo:
    """Read a whole file once, to know before any work that it can be used; what its header says.

    Raises:
        AudioError: it cannot be read, or holds NaN or infinity.
    """
    with open_audio(path) as file:
        info = _info(file)
    bad, first, done = 0, 0, 0
    for block in read_blocks(path):
        wrong = ~np.isfinite(block)
        if wrong.any():
            first = first if bad else done + int(np.flatnonzero(wrong.any(0))[0])
            bad += int(wrong.sum())
        done += block.shape[1]
    if bad:
        raise AudioError(f"{_show(path)}: {bad} samples are NaN or infinite, first at index {first}; repair or remove "
                         "it")  # fmt: skip
    return info


class Resampler:
    """A stream at another rate, by the same filter as `resample`, and with the same samples, however it is cut.

    Args:
        source: rate of what comes, in hertz.
        target: rate of what goes.
        channels: of both.

    Example:
        >>> resampler = Resampler(48000, 16000, 2)
        >>> sound = np.zeros((2, 48000), np.float32)
        >>> sum(part.shape[1] for part in (resampler.push(sound), resampler.finish()))
        16000
    """

    def __init__(self, source: int, target: int, channels: int) -> None:
        self._channels = channels
        self._stream = (
            None if source == target else soxr.ResampleStream(source, target, channels, "float32", quality="HQ")
        )

    def push(self, block: NDArray[np.float32], last: bool = False) -> NDArray[np.float32]:
        """Give ``(channels, samples)``, and get what is ready in the same form."""
        if self._stream is None:
            return block
        ready = self._stream.resample_chunk(np.ascontiguousarray(block.T), last=last)
        return np.asarray(ready, np.float32).reshape(-1, self._channels).T

    def finish(self) -> NDArray[np.float32]:
        """The rest, once everything was given."""
        return self.push(np.zeros((self._channels, 0), np.float32), last=True)


def overlapping(
    blocks: Iterable[NDArray[np.float32]], source: int, target: int, count: int, size: int, overlap: int
) -> Iterator[NDArray[np.float32]]:
    """Overlapping chunks of a recording, at another rate: so many of one size, the last with all that is left.

    Args:
        blocks: the recording piece by piece, each ``(channels, samples)``.
        source: its rate, in hertz.
        target: that of the chunks.
        count: number of chunks.
        size: samples of one.
        overlap: samples that neighbours share.
    """
    resampler: Resampler | None = None
    held: list[NDArray[np.float32]] = []
    number = 1
    for block in blocks:
        resampler = resampler or Resampler(source, target, len(block))
        held.append(resampler.push(block))
        while number < count and sum(part.shape[1] for part in held) >= size:
            together = np.concatenate(held, 1)
            yield together[:, :size].copy()
            held = [together[:, size - overlap :].copy()]
            number += 1
    assert resampler is not None
    yield np.concatenate([*held, resampler.finish()], 1)


@dataclass(frozen=True)
class Kept:
    """A format to write in.

    Attributes:
        format: of libsndfile, e.g. WAV.
        subtype: e.g. PCM_16.
        suffix: of the file's name.
    """

    format: str
    subtype: str
    suffix: str

    @classmethod
    def of(cls, info: AudioInfo, suffix: str, *, float_samples: bool = False) -> Kept:
        """The format of a file; where libsndfile can read it but not write it, or for 32-bit samples of ``float``, WAV.

        Args:
            info: of the file.
            suffix: of its name.
            float_samples: write 32-bit floating-point samples, which hold what is beyond full scale, too.
        """
        if not float_samples and soundfile.check_format(info.format, info.subtype):
            return cls(info.format, info.subtype, suffix)
        return cls("WAV", "FLOAT" if float_samples else "PCM_16", ".wav")


class Writer:
    """Writes a sound file block by block; it takes its name when it is whole. A context manager.

    Args:
        path: of the file.
        kept: its format.
        sample_rate: in hertz.
        channels: of the blocks.

    Attributes:
        clipped: samples so far that were beyond full scale, in a format that cannot hold them.

    Raises:
        AudioError: the format cannot be written so.
    """

    def __init__(self, path: str | os.PathLike[str], kept: Kept, sample_rate: int, channels: int) -> None:
        self.path, self.kept, self.clipped = Path(path), kept, 0
        self._sample_rate, self._channels = sample_rate, channels
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            temp = stack.enter_context(atomic_write(self.path))
            try:
                file = soundfile.SoundFile(
                    _name(temp), "w", self._sample_rate, self._channels, self.kept.subtype, format=self.kept.format
                )
            except (soundfile.LibsndfileError, ValueError, TypeError) as error:
                raise AudioError(f"{_show(self.path)}: cannot be written as {self.kept.subtype} ({error})") from error
            self._file = stack.enter_context(file)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def write(self, block: NDArray[np.float32]) -> None:
        """Add ``(channels, samples)``.

        Raises:
            AudioError: the disk is full, or the format gives up.
        """
        signal = block.T
        if self.kept.subtype not in ("FLOAT", "DOUBLE"):
            self.clipped += int(np.count_nonzero(np.abs(signal) > 1))
            bits = _PCM_BITS.get(self.kept.subtype)
            signal = np.clip(signal, -1, 1) if bits is None else _integers(signal, bits)
        try:
            self._file.write(signal)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise AudioError(f"{_show(self.path)}: cannot be written ({error})") from error
