"""Utterances prepared once: the usable ones of a corpus, whole or in pieces."""

from __future__ import annotations

__all__ = ["Bank"]

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynvae.audio import FrontEnd, Preparation
from dynvae.data.corpus import Corpus, Utterance
from dynvae.data.decode import Kind
from dynvae.data.store import Store
from dynvae.errors import ConfigError, DataError

logger = logging.getLogger(__name__)

_TOLD = 20  # files that are left out; dynvae check tells of all


class Bank:
    """The prepared waveforms of a corpus, indexed like a list.

    Every file is read when the bank is made, or has been when its store was, so that a bad one is known before hours of
    training have passed.

    Args:
        corpus: the utterances.
        front_end: how they are prepared; files of another rate are resampled, with a notice.
        on_bad: ``"error"`` stops at a file that cannot be used; ``"skip"`` leaves it out, with a warning and a line in
            `skipped`.
        keep_silence: keep utterances without any sound. Training leaves them out, with a warning: the density of
            silence has no upper bound.
        samples: ``"exact"``: 16-bit files at the front end's rate take two bytes a sample, others four; or ``"int16"``:
            two bytes for all, with some noise; see `dynvae.data.store.Store`.
        cache: folder of a memory-mapped file with the samples, which every process and every later run shares. By
            default they are in this process's memory.
        progress: called with the number of files prepared and of all, unless they are found in the cache.

    Raises:
        AudioError: a file is bad, and ``on_bad`` is ``"error"``.
        DataError: no utterance is left, or the cache cannot be written.
    """

    def __init__(
        self,
        corpus: Corpus,
        front_end: FrontEnd,
        on_bad: Literal["error", "skip"] = "error",
        keep_silence: bool = False,
        *,
        samples: Kind = "exact",
        cache: Path | None = None,
        progress: Callable[[int, int], None] | None = None,
    ):
        if on_bad not in ("error", "skip"):
            raise ConfigError(f"on_bad is 'error' or 'skip', not {on_bad!r}")
        if samples not in ("exact", "int16"):
            raise ConfigError(f"samples are kept as 'exact' or 'int16', not {samples!r}")
        self.front_end = front_end
        self.store = Store.of(corpus, front_end, samples, cache, skip=on_bad == "skip", progress=progress)
        self.utterances: list[Utterance] = []
        self.preparations: list[Preparation] = []
        self.skipped: list[tuple[Utterance, str]] = []
        self._places: list[int] = []  # in the store
        rates: Counter[int] = Counter()
        for place, (utterance, entry) in enumerate(zip(corpus, self.store.entries, strict=True)):
            silence = f"{utterance.path}: silence" if entry.silent and not keep_silence else ""
            if entry.problem or silence:
                self.skipped.append((utterance, entry.problem or silence))
                continue
            rates[entry.rate] += 1
            self.utterances.append(utterance)
            self.preparations.append(entry.preparation)
            self._places.append(place)
        self._report(corpus, rates)

    def _report(self, corpus: Corpus, rates: Counter[int]) -> None:
        if self.skipped:
            logger.warning("%s: %d of %d files are left out:", corpus.root, len(self.skipped), len(corpus))
            for _, reason in self.skipped[:_TOLD]:
                logger.warning("  %s", reason)
            if len(self.skipped) > _TOLD:
                logger.warning("  and %d more; dynvae check tells of all", len(self.skipped) - _TOLD)
        if not self.utterances:
            raise DataError(f"{corpus.root}: no usable utterance among {len(corpus)} files; "
                            "dynvae check tells what is wrong with each")  # fmt: skip
        for rate, count in rates.items():
            if rate != self.front_end.sample_rate:
                logger.warning("%s: %d files are resampled from %d Hz to %d Hz",
                               corpus.root, count, rate, self.front_end.sample_rate)  # fmt: skip

    def samples(self, index: int) -> int:
        """Length of a prepared utterance in samples."""
        preparation = self.preparations[index]
        return preparation.stop - preparation.start

    def frames(self, index: int) -> int:
        """Length of a prepared utterance in STFT frames."""
        return self.front_end.frames(self.samples(index))

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: int) -> Tensor:
        """A prepared utterance, float32 ``(samples,)``."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        waveform = np.empty(self.samples(index), np.float32)
        self.cut(index, 0, waveform)
        return torch.from_numpy(waveform)

    def cut(self, index: int, start: int, out: NDArray[np.float32]) -> None:
        """Fill ``out`` with an utterance from sample ``start`` on; beyond its ends it goes on as the front end says."""
        samples, place = self.samples(index), self._places[index]
        first, last = min(max(0, -start), len(out)), max(0, min(len(out), samples - start))  # what lies inside
        self.store.read(place, start + first, out[first:last])
        if first == 0 and last == len(out):
            return
        if self.front_end.pad_mode == "constant":
            out[:first] = out[last:] = 0
        else:
            out[:] = self.front_end.extend(self[index], start, start + len(out)).numpy()
