"""Sequences of vectors, whatever they are, as training crops and as whole sequences."""

from __future__ import annotations

__all__ = ["SequenceCrops", "Sequences"]

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from dynvae.data.batches import Batch
from dynvae.errors import ConfigError


class Sequences(Dataset[Batch]):
    """Whole sequences, padded to the longest of a batch.

    Args:
        frames: of each sequence, ``(time, feature)``.
        names: theirs.
    """

    def __init__(self, frames: Sequence[Tensor], names: Sequence[str]) -> None:
        self.frames, self.names = list(frames), list(names)

    @property
    def lengths(self) -> list[int]:
        """Frames of every sequence, for `BatchByLength`."""
        return [len(frames) for frames in self.frames]

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Several sequences as one batch; what a `DataLoader` calls."""
        chosen = [self.frames[index] for index in indices]
        lengths = torch.tensor([len(frames) for frames in chosen])
        return Batch(pad_sequence(chosen, batch_first=True), lengths, [self.names[index] for index in indices])


class SequenceCrops(Dataset[Batch]):
    """Crops of a fixed number of frames, cut as `dynvae.data.Crops` cuts sound.

    A sequence of T frames gives T // length consecutive crops, which begin at a random frame of the remainder, drawn
    anew each epoch; a shorter one gives one item, padded with zeros. An item depends on ``(seed, epoch, index)`` alone.

    Args:
        frames: of each sequence, ``(time, feature)``.
        names: theirs.
        length: frames of a crop.
        seed: decides where the crops begin, and how they are changed.
        change: what is done to a crop ``(frames, feature)``, given a source of randomness.

    Raises:
        ConfigError: there is nothing to cut, or the length is not positive.
    """

    def __init__(
        self,
        frames: Sequence[Tensor],
        names: Sequence[str],
        length: int,
        *,
        seed: int = 0,
        change: Callable[[Tensor, np.random.Generator], Tensor] | None = None,
    ) -> None:
        if not frames or length < 1 or seed < 0:
            raise ConfigError(f"crops need sequences, a positive length and a seed from 0, not {length} and {seed}")
        self.frames, self.names, self.length, self.seed = list(frames), list(names), length, seed
        self.change = change
        lengths = np.array([len(each) for each in self.frames])
        counts = np.maximum(1, lengths // length)
        self._slack = np.maximum(0, lengths - counts * length)
        self._items = [(sequence, place) for sequence, count in enumerate(counts) for place in range(count)]

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int | tuple[int, int]) -> Batch:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int | tuple[int, int]]) -> Batch:
        """Several crops as one batch; what a `DataLoader` calls. An index is ``i`` or ``(epoch, i)``."""
        x = torch.zeros(len(indices), self.length, self.frames[0].shape[-1])
        lengths, names = [], []
        for row, index in enumerate(indices):
            epoch, item = index if isinstance(index, tuple) else (0, index)
            sequence, place = self._items[item]
            begin = place * self.length + int(self._offsets(epoch)[sequence])
            crop = self.frames[sequence][begin : begin + self.length]
            if self.change is not None:
                crop = self.change(crop, np.random.default_rng([self.seed, epoch, 1, item]))
            x[row, : len(crop)] = crop
            lengths.append(len(crop))
            names.append(self.names[sequence])
        return Batch(x, torch.tensor(lengths), names)

    def _offsets(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch]).integers(0, self._slack, endpoint=True)
