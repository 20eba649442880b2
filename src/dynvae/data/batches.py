"""What a data set hands out, and how several of them become one batch with lengths."""

from __future__ import annotations

__all__ = ["Batch", "Item", "Waves", "Whole", "collate", "spectra"]

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from dynvae.audio import FrontEnd, Preparation
from dynvae.condition import Condition


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
    condition: Condition | None = None  # what is known beside x, absent behind each length


class Waves(NamedTuple):
    """Several sequences as the sound that their spectra are made of: half the bytes at 75 % overlap."""

    samples: Tensor  # (batch, samples), float32, from half a window before the first frame's centre on
    lengths: Tensor  # (batch,), int64; in frames
    names: list[str]
    condition: Condition | None = None  # on the frames

    def power(self, front_end: FrontEnd) -> Batch:
        """The batch of power spectra, made where the samples are."""
        return Batch(spectra(self.samples, self.lengths, front_end), self.lengths, self.names, self.condition)


def spectra(samples: Tensor, lengths: Tensor | None, front_end: FrontEnd) -> Tensor:
    """Power spectra of several sounds by one transform; the frames are those of `FrontEnd.power`, bit for bit on a CPU.

    Args:
        samples: ``(batch, samples)``, with what lies beyond the ends: half a window on either side, or the sound that
            is there.
        lengths: frames of each, ``(batch,)``; ``None`` if there is no padding.
        front_end: the STFT.

    Returns:
        ``(batch, time, bins)``, zeros behind each length.

    Example:
        >>> front_end, sound = FrontEnd(), torch.sin(torch.arange(4000) / 7)
        >>> x = spectra(front_end.pad(sound)[None], None, front_end)
        >>> torch.equal(x[0], front_end.power(sound))
        True
    """
    power = front_end.transform_power(samples)
    if lengths is None:
        return power
    valid = torch.arange(power.shape[1], device=power.device) < lengths[:, None]
    return power.mul_(valid[..., None])


def collate(items: Sequence[Item] | Sequence[Whole] | Batch | Waves) -> Batch | Waves:
    """Put items together, padded with zeros to the longest; a ready `Batch` or `Waves` passes through.

    Use it as the ``collate_fn`` of a `torch.utils.data.DataLoader`.

    Example:
        >>> batch = collate([Item(torch.ones(3, 2), 3, "a"), Item(torch.ones(1, 2), 1, "b")])
        >>> batch.x.shape, batch.lengths.tolist(), batch.names
        (torch.Size([2, 3, 2]), [3, 1], ['a', 'b'])
    """
    if isinstance(items, (Batch, Waves)):
        return items
    x = torch.nn.utils.rnn.pad_sequence([item.power for item in items], batch_first=True)
    lengths = torch.tensor([item.length for item in items], dtype=torch.int64)
    return Batch(x, lengths, [item.name for item in items])
