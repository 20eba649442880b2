"""Where a run takes place: devices, processes, precision; and a Lightning that keeps to its work."""

from __future__ import annotations

__all__ = [
    "Machine",
    "accelerator",
    "flush_denormals",
    "is_main",
    "own_randomness",
    "quiet",
    "strategy",
    "threads",
]

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch


@dataclass(frozen=True)
class Machine:
    """Where to train.

    Args:
        accelerator: auto takes a GPU if there is one.
        devices: processes on each machine, each with a GPU of its own if there are GPUs.
        strategy: of Lightning, e.g. ddp; auto takes ddp where there are several processes.
        num_nodes: machines.
        precision: 32-true, bf16-mixed, 16-mixed or 64-true; likelihood and loss have at least 32 bits.
    """

    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int = 1
    strategy: str = "auto"
    num_nodes: int = 1
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "64-true"] = "32-true"


def is_main() -> bool:
    """Whether this is the process that writes, of those that a launcher has started for one run."""
    ranks = (os.environ.get(name) for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"))
    return int(next((rank for rank in ranks if rank), "0")) == 0


def flush_denormals() -> None:
    """Take denormal numbers for zero, in this process from now on.

    Power spectra near silence and what networks make of them are denormal numbers, on which processors are slow: with
    zeros in their place a step takes as little as a quarter of the time. Commands call this when they begin, and
    functions do not: torch's threads take the setting over when they are made, and keep it.
    """
    torch.set_flush_denormal(True)


def own_randomness() -> contextlib.AbstractContextManager[None]:
    """Leave the process's random state as it was."""
    return torch.random.fork_rng(devices=range(torch.cuda.device_count()))


def accelerator(machine: Machine) -> str:
    if machine.accelerator == "auto":
        return "gpu" if torch.cuda.is_available() else "cpu"
    return machine.accelerator


def strategy(machine: Machine) -> Any:
    from lightning.pytorch.strategies import DDPStrategy

    several = machine.devices * machine.num_nodes > 1
    if machine.strategy == "ddp" or (machine.strategy == "auto" and several):
        backend = "nccl" if accelerator(machine) == "gpu" else "gloo"
        # Buffers are constants or follow from the weights; sharing them would need equally many batches everywhere.
        return DDPStrategy(broadcast_buffers=False, gradient_as_bucket_view=True, process_group_backend=backend)
    return machine.strategy


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence what Lightning says to everybody; errors still come through."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "lightning")]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"(lightning|torch\.utils\.tensorboard|tensorboard)(\..*)?")
        try:
            yield
        finally:
            for each, level in zip(loggers, levels, strict=True):
                each.setLevel(level)


@contextlib.contextmanager
def threads(number: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if number is not None:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
