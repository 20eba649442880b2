"""Which items make up a batch: by chance for training, by length for evaluation; the same again for the same seed."""

from __future__ import annotations

__all__ = ["BatchByLength", "CropSampler"]

from collections.abc import Iterator, Sequence, Sized

import numpy as np
from torch.utils.data import Sampler

from dynvae.errors import ConfigError


class CropSampler(Sampler[list[tuple[int, int]]]):
    """Batches of an epoch in random order, the same whoever computes them and wherever one starts.

    Batch ``b`` of an epoch is a fixed set of crops, whatever the number of processes: rank ``r`` of ``world_size``
    takes the ``r``-th equal slice of it. A run that stopped goes on at ``start_batch`` with what it would have seen.

    Args:
        dataset: the items; only its length is used.
        batch_size: size of the **global** batch, all processes together; a multiple of ``world_size``.
        seed: of the order.
        epoch: see `set_epoch`.
        rank: this process, from 0.
        world_size: number of processes.
        start_batch: batches of the first epoch that are done already.
        shuffle: whether the order is random.
        drop_last: leave out the last batch where it is not full (unless it is the only one). Otherwise it is cut to a
            multiple of ``world_size``.

    Yields:
        Lists of ``(epoch, index)``, which `Crops` understands.

    Raises:
        ConfigError: the numbers do not fit together.

    Example:
        >>> one = list(CropSampler(range(10), batch_size=4, seed=3))
        >>> two = [list(CropSampler(range(10), batch_size=4, seed=3, rank=r, world_size=2)) for r in (0, 1)]
        >>> one == [a + b for a, b in zip(*two)]
        True
    """

    def __init__(
        self,
        dataset: Sized,
        batch_size: int,
        *,
        seed: int = 0,
        epoch: int = 0,
        rank: int = 0,
        world_size: int = 1,
        start_batch: int = 0,
        shuffle: bool = True,
        drop_last: bool = True,
    ):
        if not 0 <= rank < world_size or batch_size < 1 or batch_size % world_size:
            raise ConfigError(f"a global batch of {batch_size} items cannot be shared by {world_size} processes "
                              f"(rank {rank}); make it a multiple")  # fmt: skip
        if len(dataset) < world_size:
            raise ConfigError(f"{len(dataset)} items are too few for {world_size} processes")
        if seed < 0 or epoch < 0 or start_batch < 0:
            raise ConfigError("seed, epoch and start_batch are not negative")
        self.dataset = dataset
        self.batch_size, self.shuffle, self.drop_last = batch_size, shuffle, drop_last
        self.seed, self.epoch, self.start_batch = seed, epoch, start_batch
        self.rank, self.world_size = rank, world_size

    @property
    def batches(self) -> int:
        """Batches of a whole epoch, without regard to ``start_batch``."""
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + int(full == 0 or (not self.drop_last and rest >= self.world_size))

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        """Choose the epoch, and from which of its batches on. Naming the present epoch again keeps its start."""
        if epoch != self.epoch or start_batch:
            self.epoch, self.start_batch = epoch, start_batch

    def __len__(self) -> int:
        return max(0, self.batches - self.start_batch)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, size = self.epoch, len(self.dataset)
        order = np.random.default_rng([self.seed, epoch, 1]).permutation(size) if self.shuffle else np.arange(size)
        for batch in range(self.start_batch, self.batches):
            items = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            share = len(items) // self.world_size
            yield [(epoch, int(item)) for item in items[self.rank * share : (self.rank + 1) * share]]


class BatchByLength(Sampler[list[int]]):
    """Batches of sequences of similar length, so that little of them is padding.

    Args:
        lengths: frames of every item, e.g. ``utterances.lengths``.
        batch_size: items of a batch at most.
        max_frames: frames of a batch at most, padding counted; a longer item is a batch of its own.
        shuffle: draw the order of the batches, and of items of equal length, from ``(seed, epoch)``. Otherwise the
            longest come first, so that what does not fit into memory is known at once.
        seed: of the order.
        epoch: see `set_epoch`.

    Example:
        >>> list(BatchByLength([5, 9, 1, 8], batch_size=2))
        [[1, 3], [0, 2]]
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int = 16,
        max_frames: int | None = None,
        *,
        shuffle: bool = False,
        seed: int = 0,
        epoch: int = 0,
    ):
        if batch_size < 1 or (max_frames is not None and max_frames < 1) or seed < 0 or epoch < 0:
            raise ConfigError("batch_size and max_frames are positive; seed and epoch are not negative")
        self.lengths = [int(length) for length in lengths]
        self.batch_size, self.max_frames = batch_size, max_frames
        self.shuffle, self.seed, self.epoch = shuffle, seed, epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the order is drawn for."""
        self.epoch = epoch

    def _batches(self) -> list[list[int]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(len(self.lengths)).tolist() if self.shuffle else range(len(self.lengths))
        batches: list[list[int]] = []
        for item in sorted(order, key=lambda item: -self.lengths[item]):
            # The first of a batch is its longest: it tells the padded size.
            room = self.batch_size
            if batches and self.max_frames is not None:
                room = min(room, max(1, self.max_frames // max(1, self.lengths[batches[-1][0]])))
            if not batches or len(batches[-1]) >= room:
                batches.append([])
            batches[-1].append(item)
        if self.shuffle:
            batches = [batches[index] for index in rng.permutation(len(batches))]
        return batches

    def __len__(self) -> int:
        return len(self._batches())

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._batches())
