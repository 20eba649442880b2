"""The files of a corpus, decoded, resampled and prepared, in the samples that a store keeps."""

from __future__ import annotations

__all__ = ["Entry", "Kind", "decode", "stamp"]

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dynvae.audio import FrontEnd, Preparation, read_audio, resample
from dynvae.data.corpus import Corpus, Utterance
from dynvae.errors import AudioError

Kind = Literal["exact", "int16"]

_FULL = 32768.0  # integers of 16-bit files are so many times the numbers that they are read as
_AHEAD = 64 << 20  # bytes of files that may be decoded before their turn; their samples take several times that


class Entry(NamedTuple):
    """What is known of one file of the corpus, and where its samples are.

    The prepared waveform is the samples themselves where they are float32, and ``(samples · scale - offset) · gain``
    where they are int16.
    """

    name: str
    size: int  # bytes of the file, and
    changed: int  # its time of change in ns: another file where they differ
    preparation: Preparation
    problem: str = ""  # why it cannot be used; then it has no samples
    silent: bool = False
    rate: int = 0  # of the file, hertz
    begin: int = 0  # of its samples among the bytes of all
    kind: str = "float32"
    scale: float = 1.0
    offset: float = 0.0
    gain: float = 1.0


def stamp(path: Path) -> tuple[int, int]:
    """Size in bytes and time of change in ns: another file where they differ; -1 where there is none."""
    try:
        status = path.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def decode(corpus: Corpus, front_end: FrontEnd, kind: Kind) -> Iterator[tuple[Entry, NDArray[Any]]]:
    """The entry and samples of every file, in the corpus's order, by several threads a little ahead of their use."""
    threads = min(16, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        ahead: deque[tuple[int, Future[tuple[Entry, NDArray[Any]]]]] = deque()  # with the bytes of the file
        try:
            for utterance in corpus:
                size = stamp(utterance.path)[0]
                while ahead and (len(ahead) > 2 * threads or size + sum(each for each, _ in ahead) > _AHEAD):
                    yield ahead.popleft()[1].result()
                ahead.append((size, pool.submit(_decode, utterance, front_end, kind)))
            while ahead:
                yield ahead.popleft()[1].result()
        finally:
            pool.shutdown(cancel_futures=True)


def _decode(utterance: Utterance, front_end: FrontEnd, kind: Kind) -> tuple[Entry, NDArray[Any]]:
    """The samples of one file as they are kept."""
    seen = stamp(utterance.path)
    try:
        signal, rate = read_audio(utterance.path)
        signal = resample(signal, rate, front_end.sample_rate)
    except AudioError as error:
        nothing = Preparation(0, 0.0, 0, 0, 1.0)
        return Entry(utterance.name, *seen, nothing, problem=str(error)), np.zeros(0, np.float32)
    preparation = Preparation.of(signal, front_end)
    prepared = preparation.apply(signal)
    entry = Entry(utterance.name, *seen, preparation, silent=not prepared.any(), rate=rate)
    own = signal[preparation.start : preparation.stop] * _FULL
    integers = np.rint(own)
    if np.array_equal(own, integers) and np.abs(integers + 0.5).max(initial=0) < _FULL:  # -32768 ... 32767
        entry = entry._replace(kind="int16", scale=1 / _FULL, offset=preparation.mean, gain=preparation.gain)
    elif kind == "int16":
        scale = (float(np.abs(prepared).max(initial=0)) or 1.0) / 32767
        integers = np.rint(prepared / scale)
        entry = entry._replace(kind="int16", scale=scale)
    else:
        return entry, prepared
    return entry, integers.astype(np.int16)
