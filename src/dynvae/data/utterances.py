"""Evaluation data: whole utterances, as they are prepared for training."""

from __future__ import annotations

__all__ = ["Utterances"]

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch.utils.data import Dataset

from dynvae.audio import FrontEnd
from dynvae.data.bank import Bank
from dynvae.data.batches import Waves, Whole
from dynvae.data.corpus import Corpus
from dynvae.data.decode import Kind


class Utterances(Dataset[Whole]):
    """Whole utterances: prepared waveform, power ``(frames, bins)``, path and speaker.

    Args:
        corpus: the utterances, usually ``Corpus.open(...).split("test")``.
        front_end: the STFT and the preparation.
        on_bad: ``"error"`` stops at an unusable file; ``"skip"`` leaves it out and tells of it in `skipped`.
        keep_silence: keep silent files, so that an evaluation can count them with their reason.
        samples: ``"exact"`` or ``"int16"``: how the sound is kept; see `dynvae.data.Bank`.
        cache: folder to keep it in, memory-mapped; by default it is in memory.
        progress: called with the number of files prepared and of all.
    """

    def __init__(
        self,
        corpus: Corpus,
        front_end: FrontEnd | None = None,
        *,
        on_bad: Literal["error", "skip"] = "error",
        keep_silence: bool = True,
        samples: Kind = "exact",
        cache: Path | None = None,
        progress: Callable[[int, int], None] | None = None,
    ):
        self.front_end = front_end or FrontEnd()
        self.bank = Bank(corpus, self.front_end, on_bad, keep_silence, samples=samples, cache=cache, progress=progress)

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """Name and reason of the files that were left out."""
        return [(utterance.name, reason) for utterance, reason in self.bank.skipped]

    @property
    def lengths(self) -> list[int]:
        """Frames of every utterance, for `BatchByLength`."""
        return [self.bank.frames(index) for index in range(len(self.bank))]

    def __len__(self) -> int:
        return len(self.bank)

    def __getitem__(self, index: int) -> Whole:
        waveform = self.bank[index]
        power = self.front_end.power(waveform)
        utterance, preparation = self.bank.utterances[index], self.bank.preparations[index]
        return Whole(power, len(power), utterance.name, waveform, utterance.path, utterance.speaker, preparation)

    def waves(self, indices: Sequence[int]) -> Waves:
        """The sound of several utterances, padded to the longest: ``waves(...).power(front_end)`` are their spectra."""
        window = self.front_end.window_length
        reaches = [self.bank.samples(index) + window for index in indices]
        samples = np.zeros((len(indices), max(reaches)), np.float32)
        for row, (index, reach) in enumerate(zip(indices, reaches, strict=True)):
            self.bank.cut(index, -(window // 2), samples[row, :reach])
        lengths = torch.tensor([self.bank.frames(index) for index in indices])
        names = [self.bank.utterances[index].name for index in indices]
        return Waves(torch.from_numpy(samples), lengths, names)
