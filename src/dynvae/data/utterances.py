"""Evaluation data: whole utterances, as they are prepared for training."""

from __future__ import annotations

__all__ = ["Utterances"]

from typing import Literal

from torch.utils.data import Dataset

from dynvae.audio import FrontEnd
from dynvae.data.bank import Bank
from dynvae.data.batches import Whole
from dynvae.data.corpus import Corpus


class Utterances(Dataset[Whole]):
    """Whole utterances: prepared waveform, power ``(frames, bins)``, path and speaker.

    Silent files are kept, so that an evaluation can count them with their reason.

    Args:
        corpus: the utterances, usually ``Corpus.open(...).split("test")``.
        front_end: the STFT and the preparation.
        on_bad: ``"error"`` stops at an unusable file; ``"skip"`` leaves it out and tells of it in `skipped`.
        memory: bytes of waveforms to keep.
    """

    def __init__(
        self,
        corpus: Corpus,
        front_end: FrontEnd | None = None,
        *,
        on_bad: Literal["error", "skip"] = "error",
        memory: int = 2 << 30,
    ):
        self.front_end = front_end or FrontEnd()
        self.bank = Bank(corpus, self.front_end, on_bad=on_bad, keep_silence=True, memory=memory)

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
