"""Order, crops and noise as functions of (seed, step) alone: nothing to save, nothing that a resumed run can lose."""

from __future__ import annotations

__all__ = ["Plan", "StepSampler", "seeded", "stream_seed"]

import hashlib
from collections.abc import Iterator, Sized
from dataclasses import dataclass

import torch
from torch.utils.data import Sampler

from dynvae.data.sampling import CropSampler
from dynvae.training.config import TrainConfig


def stream_seed(*key: object) -> int:
    """A seed for one named stream of randomness, e.g. ``stream_seed(seed, "noise", step)``; streams are unrelated."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def seeded(device: torch.device | str, *key: object) -> torch.Generator:
    """A generator at the start of the stream ``key``."""
    return torch.Generator(device).manual_seed(stream_seed(*key))


@dataclass(frozen=True)
class Plan:
    """Steps, epochs and validations of a run.

    Attributes:
        items: crops in the training set.
        steps_per_epoch: full batches in an epoch; the crops left over differ from epoch to epoch.
        total_steps: steps of the whole run.
        interval: steps between validations.

    Example:
        >>> plan = Plan.make(TrainConfig(epochs=3, batch_size=4, validate_every=0.5), range(18))
        >>> plan.steps_per_epoch, plan.total_steps, plan.interval, plan.stop(5), plan.epoch(6)
        (4, 12, 2, 6, 1.5)
    """

    items: int
    steps_per_epoch: int
    total_steps: int
    interval: int

    @classmethod
    def make(cls, config: TrainConfig, crops: Sized, processes: int = 1) -> Plan:
        """The plan for a training set.

        Raises:
            ConfigError: the batch cannot be shared evenly by the processes.
        """
        steps_per_epoch = CropSampler(crops, config.batch_size, world_size=processes).batches
        total = config.epochs * steps_per_epoch
        total = total if config.max_steps is None else min(total, config.max_steps)
        return cls(len(crops), steps_per_epoch, total, max(1, round(config.validate_every * steps_per_epoch)))

    def epoch(self, step: int) -> float:
        """The epoch of a step, with its fraction."""
        return step / self.steps_per_epoch

    def stop(self, step: int) -> int:
        """The step before which the next validation comes, seen from ``step``."""
        return min(self.total_steps, (step // self.interval + 1) * self.interval)

    def validates(self, step: int) -> bool:
        """Whether a validation follows when ``step`` steps are done."""
        return step > 0 and (step % self.interval == 0 or step >= self.total_steps)


class StepSampler(Sampler[list[tuple[int, int]]]):
    """The batches of the steps from ``start`` to before ``stop``, across epochs.

    Args:
        crops: the training set.
        plan: its steps.
        batch_size: crops in a step, over all processes.
        seed: of the order.
        rank: this process, of ``processes``.
        processes: how many share a batch.

    Yields:
        Lists of ``(epoch, index)``: this process's share of each batch.
    """

    def __init__(
        self, crops: Sized, plan: Plan, batch_size: int, seed: int, *, rank: int = 0, processes: int = 1
    ) -> None:
        self.crops, self.plan, self.batch_size, self.seed = crops, plan, batch_size, seed
        self.rank, self.processes = rank, processes
        self.start, self.stop = 0, plan.total_steps

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        step = self.start
        while step < self.stop:
            for batch in self._epoch(step, self.rank, self.processes):
                yield batch
                step += 1
                if step == self.stop:
                    break

    def batch(self, step: int) -> list[tuple[int, int]]:
        """The whole batch of a step, of all processes."""
        return next(iter(self._epoch(step, 0, 1)))

    def _epoch(self, step: int, rank: int, processes: int) -> CropSampler:
        """The rest of a step's epoch."""
        epoch, place = divmod(step, self.plan.steps_per_epoch)
        return CropSampler(self.crops, self.batch_size, seed=self.seed, epoch=epoch, rank=rank, world_size=processes,
                           start_batch=place)  # fmt: skip
