"""Utterances read and prepared once, and kept in memory as far as they fit."""

from __future__ import annotations

__all__ = ["Bank"]

import logging
from collections import Counter
from typing import Literal

import torch
from torch import Tensor

from dynvae.audio import FrontEnd, Preparation, read_audio, resample
from dynvae.data.corpus import Corpus, Utterance
from dynvae.errors import AudioError, ConfigError, DataError

logger = logging.getLogger(__name__)


class Bank:
    """The prepared waveforms of a corpus, indexed like a list.

    Every file is read when the bank is made, so that a bad one is known before hours of training have passed. What does
    not fit into memory is read again when it is asked for.

    Args:
        corpus: the utterances.
        front_end: how they are prepared; files of another rate are resampled, with a notice.
        on_bad: ``"error"`` stops at a file that cannot be used; ``"skip"`` leaves it out, with a warning and a line in
            `skipped`.
        keep_silence: keep utterances without any sound. Training leaves them out, with a warning: the density of
            silence has no upper bound.
        memory: bytes of waveforms to keep, 2 GiB by default (9 hours at 16 kHz).

    Raises:
        AudioError: a file is bad, and ``on_bad`` is ``"error"``.
        DataError: no utterance is left.
    """

    def __init__(
        self,
        corpus: Corpus,
        front_end: FrontEnd,
        on_bad: Literal["error", "skip"] = "error",
        keep_silence: bool = False,
        memory: int = 2 << 30,
    ):
        if on_bad not in ("error", "skip"):
            raise ConfigError(f"on_bad is 'error' or 'skip', not {on_bad!r}")
        self.front_end = front_end
        self.utterances: list[Utterance] = []
        self.preparations: list[Preparation] = []
        self.skipped: list[tuple[Utterance, str]] = []
        self._kept: dict[int, Tensor] = {}
        rates: Counter[int] = Counter()
        free = memory
        for utterance in corpus:
            try:
                waveform, preparation, rate = _load(utterance, front_end)
            except AudioError as error:
                if on_bad == "error":
                    raise
                self.skipped.append((utterance, str(error)))
                continue
            if not keep_silence and not waveform.any():
                self.skipped.append((utterance, f"{utterance.path}: silence"))
                continue
            rates[rate] += 1
            size = waveform.numel() * waveform.element_size()
            if size <= free:
                self._kept[len(self.utterances)] = waveform
                free -= size
            self.utterances.append(utterance)
            self.preparations.append(preparation)
        self._report(corpus, rates)

    def _report(self, corpus: Corpus, rates: Counter[int]) -> None:
        if self.skipped:
            logger.warning("%s: %d of %d files are left out, the first because of %s",
                           corpus.root, len(self.skipped), len(corpus), self.skipped[0][1])  # fmt: skip
        if not self.utterances:
            raise DataError(f"{corpus.root}: no usable utterance among {len(corpus)} files; "
                            "dynvae check tells what is wrong with each")  # fmt: skip
        for rate, count in rates.items():
            if rate != self.front_end.sample_rate:
                logger.warning("%s: %d files are resampled from %d Hz to %d Hz",
                               corpus.root, count, rate, self.front_end.sample_rate)  # fmt: skip
        if len(self._kept) < len(self.utterances):
            logger.warning("%s: %d of %d utterances do not fit into memory and are read again each time",
                           corpus.root, len(self.utterances) - len(self._kept), len(self.utterances))  # fmt: skip

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
        kept = self._kept.get(index)
        return _load(self.utterances[index], self.front_end)[0] if kept is None else kept


def _load(utterance: Utterance, front_end: FrontEnd) -> tuple[Tensor, Preparation, int]:
    """The prepared waveform of a file, what was done to it, and the rate that the file had."""
    signal, rate = read_audio(utterance.path)
    signal = resample(signal, rate, front_end.sample_rate)
    preparation = Preparation.of(signal, front_end)
    return torch.from_numpy(preparation.apply(signal)), preparation, rate
