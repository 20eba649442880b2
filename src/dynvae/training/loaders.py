"""The data of a run, as Lightning is given it."""

from __future__ import annotations

__all__ = ["Sound", "Steps", "TrainingData", "validation_loader"]

import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from dynvae.data import Crops, Utterances, Waves
from dynvae.data.sampling import BatchByLength
from dynvae.training.config import TrainConfig
from dynvae.training.streams import StepSampler


@dataclass(frozen=True)
class TrainingData:
    """What a run trains and validates on.

    Args:
        crops: training items, by (epoch, index).
        utterances: validation items.
        lengths: frames of each validation item.
        collate: makes a batch, with ``x``, ``lengths`` and ``names``, of some items; or `dynvae.data.Waves`, of which
            the step makes spectra.
    """

    crops: Dataset[Any]
    utterances: Dataset[Any]
    lengths: Sequence[int]
    collate: Callable[[Any], Any]

    def batch(self, keys: list[tuple[int, int]]) -> Any:
        """A training batch, by the epochs and indices of its items."""
        several = getattr(self.crops, "__getitems__", None)
        return self.collate(several(keys) if several else [self.crops[key] for key in keys])


class Sound(Dataset[Waves]):
    """Crops or utterances as samples; their spectra are made in the step, in one call and on the model's device."""

    def __init__(self, data: Crops | Utterances) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: Any) -> Waves:
        return self.data.waves([index])

    def __getitems__(self, indices: list[Any]) -> Waves:
        return self.data.waves(indices)


class Steps:
    """What lies between here and the next validation; to Lightning that is an epoch, of unknown length."""

    def __init__(self, module: Any, sampler: StepSampler, data: TrainingData, config: TrainConfig) -> None:
        self.module, self.sampler = module, sampler
        self.loader = DataLoader(
            data.crops,
            batch_sampler=sampler,
            collate_fn=data.collate,
            num_workers=config.workers,
            persistent_workers=config.workers > 0,
            worker_init_fn=_leave_signals_to_the_parent,
            pin_memory=torch.cuda.is_available(),
        )

    def __iter__(self) -> Iterator[Any]:
        self.sampler.start = self.module.step
        self.sampler.stop = self.sampler.plan.stop(self.module.step)
        yield from self.loader


def validation_loader(data: TrainingData, config: TrainConfig, rank: int, processes: int) -> DataLoader[Any]:
    """Whole utterances, like lengths together, every ``processes``-th batch from the ``rank``-th on."""
    batches = list(BatchByLength(data.lengths, batch_size=config.batch_size, max_frames=config.valid_frames))
    return DataLoader(data.utterances, batch_sampler=batches[rank::processes], collate_fn=data.collate)


def _leave_signals_to_the_parent(worker: int) -> None:
    """A terminal sends Ctrl-C to all; the parent still needs its workers for the step that it finishes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
