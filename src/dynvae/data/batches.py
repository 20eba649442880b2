"""What a data set hands out, and how several of them become one batch with lengths."""

from __future__ import annotations

__all__ = ["Batch", "Item", "Whole", "collate"]

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from dynvae.audio import Preparation


class Item(NamedTuple):
    """A crop for training."""

    power: Tensor  # (frames, bins), float32; zeros behind `length`
    length: int  # valid frames
    name: str  # the utterance it was cut from


class Whole(NamedTuple):
    """A whole utterance for evaluation, prepared (offset, quiet ends, level)."""

    power: Tensor  # (frames, bins), float32
    length: int  # frames
    name: str  # path below the corpus's folder
    waveform: Tensor  # (samples,), float32, what `power` was computed from
    path: Path
    speaker: str
    preparation: Preparation  # undoes the preparation of `waveform`


class Batch(NamedTuple):
    """Several sequences side by side."""

    x: Tensor  # (batch, time, bins); zeros behind each length
    lengths: Tensor  # (batch,), int64
    names: list[str]


def collate(items: Sequence[Item] | Sequence[Whole] | Batch) -> Batch:
    """Put items together, padded with zeros to the longest; a ready `Batch` passes through.

    Use it as the ``collate_fn`` of a `torch.utils.data.DataLoader`.

    Example:
        >>> batch = collate([Item(torch.ones(3, 2), 3, "a"), Item(torch.ones(1, 2), 1, "b")])
        >>> batch.x.shape, batch.lengths.tolist(), batch.names
        (torch.Size([2, 3, 2]), [3, 1], ['a', 'b'])
    """
    if isinstance(items, Batch):
        return items
    x = torch.nn.utils.rnn.pad_sequence([item.power for item in items], batch_first=True)
    lengths = torch.tensor([item.length for item in items], dtype=torch.int64)
    return Batch(x, lengths, [item.name for item in items])
