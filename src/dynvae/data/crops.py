"""Training data: crops of equal length, cut anew each epoch, with the true signal around them."""

from __future__ import annotations

__all__ = ["Crops"]

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from dynvae.audio import FrontEnd
from dynvae.data.bank import Bank
from dynvae.data.batches import Batch, Item, Waves
from dynvae.data.corpus import Corpus
from dynvae.data.decode import Kind
from dynvae.errors import ConfigError

_Index = int | tuple[int, int]


class Crops(Dataset[Item]):
    """Crops of a fixed number of STFT frames; item = power ``(frames, bins)``, valid length, name of the utterance.

    An utterance of ``T`` frames gives ``T // frames`` consecutive crops, which begin at a random frame of the
    remainder, drawn anew each epoch. A shorter utterance gives one item, padded with zeros. The frames are those of the
    whole utterance's STFT: an utterance is prepared as a whole, and a crop sees what lies around it.

    An item depends on ``(seed, epoch, index)`` and the corpus alone, never on the worker that makes it.

    Args:
        corpus: the utterances, usually ``Corpus.open(...).split("train")``.
        front_end: the STFT and the preparation.
        frames: frames of a crop.
        seed: decides where the crops begin.
        on_bad: ``"error"`` or ``"skip"`` for unusable files; see `dynvae.data.Bank`, in `bank` after.
        samples: ``"exact"`` or ``"int16"``: how the sound is kept; see `dynvae.data.Bank`.
        cache: folder to keep it in, memory-mapped; by default it is in memory.
        progress: called with the number of files prepared and of all.

    Example: a training loop's data, with the same batches however often it is interrupted::

        crops = Crops(Corpus.open("speech").split("train"), FrontEnd(), frames=50)
        sampler = CropSampler(crops, batch_size=32, seed=1)
        loader = torch.utils.data.DataLoader(crops, batch_sampler=sampler, collate_fn=collate)
        for epoch in range(10):
            sampler.set_epoch(epoch)
            for batch in loader:
                ...
    """

    def __init__(
        self,
        corpus: Corpus,
        front_end: FrontEnd | None = None,
        frames: int = 50,
        *,
        seed: int = 0,
        on_bad: Literal["error", "skip"] = "error",
        samples: Kind = "exact",
        cache: Path | None = None,
        progress: Callable[[int, int], None] | None = None,
    ):
        if frames < 1 or seed < 0:
            raise ConfigError(f"crops need a positive number of frames and a seed from 0, not {frames} and {seed}")
        self.front_end = front_end or FrontEnd()
        self.frames = frames
        self.seed = seed
        self.epoch = 0
        self.bank = Bank(corpus, self.front_end, on_bad, samples=samples, cache=cache, progress=progress)
        lengths = np.array([self.bank.frames(i) for i in range(len(self.bank))])
        counts = np.maximum(1, lengths // frames)
        self._slack = np.maximum(0, lengths - counts * frames)
        self._utterance = np.repeat(np.arange(len(counts)), counts)
        self._place = np.arange(len(self._utterance)) - np.repeat(np.cumsum(counts) - counts, counts)
        self._offsets: tuple[int, NDArray[np.int64]] | None = None

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of plain indices. `CropSampler` sends the epoch along, which reaches running workers too."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._utterance)

    def __getitem__(self, index: _Index) -> Item:
        batch = self.__getitems__([index])
        return Item(batch.x[0], int(batch.lengths[0]), batch.names[0])

    def __getitems__(self, indices: Sequence[_Index]) -> Batch:
        """Several crops, by one transform for all; what a `DataLoader` calls. An index is ``i`` or ``(epoch, i)``."""
        return self.waves(indices).power(self.front_end)

    def waves(self, indices: Sequence[_Index]) -> Waves:
        """The sound of several crops, for a transform elsewhere: ``waves(...).power(front_end)`` are the crops."""
        hop, window = self.front_end.hop_length, self.front_end.window_length
        reach = (self.frames - 1) * hop + window
        samples = np.empty((len(indices), reach), np.float32)
        lengths = torch.empty(len(indices), dtype=torch.int64)
        names = []
        for row, index in enumerate(indices):
            utterance, begin = self.find(index)
            self.bank.cut(utterance, begin * hop - window // 2, samples[row])
            lengths[row] = min(self.frames, self.bank.frames(utterance) - begin)
            names.append(self.bank.utterances[utterance].name)
        return Waves(torch.from_numpy(samples), lengths, names)

    def find(self, index: _Index) -> tuple[int, int]:
        """The utterance of a crop, as its place in `bank`, and the frame where it begins."""
        epoch, item = (self.epoch, index) if isinstance(index, (int, np.integer)) else index
        if not 0 <= item < len(self):
            raise IndexError(item)
        if self._offsets is None or self._offsets[0] != epoch:
            drawn = np.random.default_rng([self.seed, epoch]).integers(0, self._slack, endpoint=True)
            self._offsets = (epoch, drawn)
        utterance = int(self._utterance[item])
        return utterance, int(self._offsets[1][utterance]) + int(self._place[item]) * self.frames
