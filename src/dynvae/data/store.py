"""The prepared sound of a corpus, decoded once: one file of samples with an index behind them, mapped into memory.

The file ends in the index (JSON) and 16 bytes that tell its length and that the file is whole. It is written under a
lock and appears at once, so that of several processes that need it one writes and the others wait; a corpus whose files
have changed is prepared anew. Removing the folder costs no more than the time to make it again.
"""

from __future__ import annotations

__all__ = ["Store", "store_folder"]

import contextlib
import dataclasses
import hashlib
import io
import json
import logging
import os
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from dynvae.audio import FrontEnd, Preparation
from dynvae.data.builtin import cache_folder
from dynvae.data.corpus import Corpus
from dynvae.data.decode import Entry, Kind, decode, stamp
from dynvae.errors import AudioError, DataError
from dynvae.files import atomic_write

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]

_MARK = struct.Struct("<8sQ")  # the end of a whole file: its kind, and the bytes of the index before it
_MAGIC = b"dynvae-1"  # another number for another layout, or another way to prepare


def store_folder() -> Path:
    """Where stores are kept: ``sound`` in the cache folder."""
    return cache_folder() / "sound"


class Store:
    """The samples of a corpus's files, in a mapped file or in memory, and what is known of each file.

    A file of 16 bits, one channel and the front end's rate keeps its own integers: two bytes a sample, and nothing is
    lost. Any other file is kept in float32 (``"exact"``), or rounded to 65,535 steps that its peak just fits
    (``"int16"``): nothing clips, and the error is noise, 98 dB below a sine of the peak's level. That is more than
    resampling leaves in a band that it empties, and a likelihood of powers sees it: on 30 utterances the ELBO of the
    bundled models moved by less than 1 nat per frame for 24-bit recordings, by 5 to 95 after 22.05 kHz.

    Args:
        entries: of the files, in the corpus's order.
        data: the bytes of all files' samples.
        path: the file that ``data`` is mapped from, if any; another process maps it instead of getting a copy.
    """

    def __init__(self, entries: list[Entry], data: NDArray[np.uint8], path: Path | None = None) -> None:
        self.entries, self.data, self.path = entries, data, path

    @classmethod
    def of(
        cls,
        corpus: Corpus,
        front_end: FrontEnd,
        kind: Kind = "exact",
        folder: Path | None = None,
        *,
        skip: bool = False,
        progress: Progress | None = None,
    ) -> Store:
        """Find the store of a corpus in a folder, or make it there; without a folder, make it in memory.

        Args:
            corpus: the files.
            front_end: how they are prepared; its window does not matter.
            kind: ``"exact"`` or ``"int16"``.
            folder: e.g. `store_folder`; every corpus has a folder in it.
            skip: go on at a file that cannot be used, and keep the reason in its entry.
            progress: called with the number of files prepared and of all, when a store is made.

        Raises:
            AudioError: a file cannot be used, and ``skip`` is false.
            DataError: the store cannot be written.
        """
        if folder is None:
            buffer = io.BytesIO()
            entries = _write(buffer, corpus, front_end, kind, skip, progress)
            return cls(entries, np.frombuffer(buffer.getbuffer(), np.uint8))
        identity = _identity(corpus, front_end, kind)
        path = folder / hashlib.sha256(identity.encode()).hexdigest()[:16] / "samples"
        store = cls._open(path, identity, corpus)
        try:
            if store is None:
                path.parent.mkdir(parents=True, exist_ok=True)
                with _alone(path.with_name("lock")):
                    store = cls._open(path, identity, corpus)  # another process may have made it
                    if store is None:
                        _make(path, identity, corpus, front_end, kind, skip, progress)
                        store = cls._open(path, identity, corpus)
        except OSError as error:
            raise DataError(f"{path}: the prepared sound of {corpus.root} cannot be kept ({error.strerror or error}); "
                            "name another folder by DYNVAE_CACHE, or keep it in memory") from error  # fmt: skip
        if store is None:
            raise DataError(f"{corpus.root}: its files change while they are read; try again when they rest")
        if not skip:
            for entry in store.entries:
                if entry.problem:
                    raise AudioError(entry.problem)
        return store

    @classmethod
    def _open(cls, path: Path, identity: str, corpus: Corpus) -> Store | None:
        """The store in a file, if it is whole and the files are still those that it was made of."""
        try:
            with path.open("rb") as file:
                end = file.seek(-_MARK.size, os.SEEK_END)
                magic, length = _MARK.unpack(file.read())
                if magic != _MAGIC:
                    raise ValueError("no mark at its end")
                file.seek(end - length)
                index = json.loads(file.read(length))
            entries = [Entry._make([*row[:3], Preparation(*row[3]), *row[4:]]) for row in index["entries"]]
            data = _map(path, end - length)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("%s is damaged (%s) and is made anew", path, error)
            return None
        now = [(utterance.name, *stamp(utterance.path)) for utterance in corpus]
        if index["identity"] != identity or [entry[:3] for entry in entries] != now:
            logger.info("%s: files have changed since they were prepared", corpus.root)
            return None
        return cls(entries, data, path)

    def read(self, index: int, start: int, out: NDArray[np.float32]) -> None:
        """Fill ``out`` with a prepared waveform from sample ``start`` on; it must not reach beyond the end."""
        entry = self.entries[index]
        kind = np.dtype(entry.kind)
        begin = entry.begin + start * kind.itemsize
        np.copyto(out, self.data[begin : begin + len(out) * kind.itemsize].view(kind))
        if kind != np.float32:
            # The same operations in the same precision as Preparation.apply: the same bits.
            out *= np.float32(entry.scale)
            out -= np.float32(entry.offset)
            out *= np.float32(entry.gain)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "data": self.data if self.path is None else len(self.data)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if self.path is not None:
            self.data = _map(self.path, state["data"])


def _map(path: Path, size: int) -> NDArray[np.uint8]:
    return np.memmap(path, np.uint8, "r", shape=(size,))


def _identity(corpus: Corpus, front_end: FrontEnd, kind: Kind) -> str:
    """All that decides what a store holds, but for the content of the files."""
    decisive = {
        "kind": kind, "order": sys.byteorder, "root": str(corpus.root.resolve()), "rate": front_end.sample_rate,
        "hop": front_end.hop_length, "trim": front_end.trim_db, "normalize": front_end.normalize,
        "libsndfile": soundfile.__libsndfile_version__, "soxr": soxr.__version__,
        "files": hashlib.sha256("\0".join(u.name for u in corpus).encode("utf-8", "surrogateescape")).hexdigest(),
    }  # fmt: skip
    return json.dumps(decisive)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait until no other process is in such a block; the system ends a lock with its process.

    Where there are no locks (Windows, some network folders) nobody waits, and the same file is written twice.
    """
    with path.open("ab") as file:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                logger.info("waiting for the process that prepares this corpus (%s)", path)
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make(
    path: Path, identity: str, corpus: Corpus, front_end: FrontEnd, kind: Kind, skip: bool, progress: Progress | None
) -> None:
    logger.info("preparing %d files of %s", len(corpus), corpus.root)
    for left in path.parent.glob(".tmp-*"):  # by a process that was killed
        left.unlink(missing_ok=True)
    with atomic_write(path) as temp, temp.open("wb") as file:
        entries = _write(file, corpus, front_end, kind, skip, progress)
        size = file.tell()
        rows = [[*entry[:3], dataclasses.astuple(entry.preparation), *entry[4:]] for entry in entries]
        index = json.dumps({"identity": identity, "entries": rows}).encode()
        file.write(index + _MARK.pack(_MAGIC, len(index)))
    hours = sum(entry.preparation.stop - entry.preparation.start for entry in entries) / front_end.sample_rate / 3600
    logger.info("%.2f hours of prepared sound are kept in %s (%.0f MB)", hours, path, size / 1e6)


def _write(
    file: BinaryIO, corpus: Corpus, front_end: FrontEnd, kind: Kind, skip: bool, progress: Progress | None
) -> list[Entry]:
    """Write the samples of all files, and return what is known of them."""
    entries: list[Entry] = []
    begin = 0  # in bytes
    for entry, samples in decode(corpus, front_end, kind):
        if entry.problem and not skip:
            raise AudioError(entry.problem)
        file.write(samples.data)
        entries.append(entry._replace(begin=begin))
        begin += samples.nbytes
        if progress:
            progress(len(entries), len(corpus))
    return entries
