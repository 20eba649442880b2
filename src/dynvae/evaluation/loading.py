"""The files of an evaluation: which, in which batches, and how each comes to the model."""

from __future__ import annotations

__all__ = ["batches", "load", "spread"]

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from dynvae.audio import FrontEnd, audio_info, prepare, read_audio
from dynvae.data import Utterance
from dynvae.errors import AudioError

T = TypeVar("T")

BATCH_SECONDS = 160.0
"""Sound in a batch, padding included: it bounds the memory, to about 20 MB a tensor at 513 bins."""


def spread(corpus: Iterable[T], limit: int | None) -> list[T]:
    """All utterances or pairs, or so many at even distances: neighbours in a corpus are mostly of one speaker."""
    items = list(corpus)
    if limit is None or limit >= len(items):
        return items
    return [items[i] for i in np.linspace(0, len(items) - 1, limit).round().astype(int)]


def batches(utterances: Sequence[Utterance], batch_size: int) -> Iterator[list[Utterance]]:
    """Neighbours in length together, the longest first."""
    seconds = {utterance.name: _seconds(utterance) for utterance in utterances}
    batch: list[Utterance] = []
    for utterance in sorted(utterances, key=lambda utterance: (-seconds[utterance.name], utterance.name)):
        if batch and (len(batch) == batch_size or (len(batch) + 1) * seconds[batch[0].name] > BATCH_SECONDS):
            yield batch
            batch = []
        batch.append(utterance)
    if batch:
        yield batch


def load(utterance: Utterance, front_end: FrontEnd) -> Tensor:
    """The prepared waveform, ``(samples,)``.

    Raises:
        AudioError: the file cannot be read, or is silent; the text does not repeat the file's name.
    """
    try:
        waveform, _ = read_audio(utterance.path, sample_rate=front_end.sample_rate)
    except AudioError as error:
        raise AudioError(str(error).removeprefix(f"{utterance.path}: ")) from error
    prepared = prepare(waveform, front_end)
    if not prepared.any():
        raise AudioError("the file is silent")
    return torch.from_numpy(prepared)


def _seconds(utterance: Utterance) -> float:
    if utterance.seconds is not None:
        return utterance.seconds
    try:
        return audio_info(utterance.path).seconds
    except AudioError:
        return 0.0  # loading it tells what is wrong
