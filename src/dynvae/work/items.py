"""What there is to do, and what became of it."""

from __future__ import annotations

__all__ = ["Batches", "Item", "Make", "Outcome", "Work", "item_seed", "singly"]

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Item:
    """One piece of work, as a rule one file.

    Attributes:
        key: its stable name, as the corpus calls the file. It decides the item's random numbers (:func:`item_seed`),
            and whether a later run knows the item again.
        payload: all else that the work needs; it is pickled.
        outputs: files that exist once it is done: absolute, or relative to the folder of the run. They must be written
            whole or not at all (`dynvae.files.atomic_write`).
    """

    key: str
    payload: Any = None
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of an item.

    Attributes:
        key: the item's.
        value: what the work gave for it; None if it failed.
        problem: why it failed; empty if it did not.
        seconds: that the work took, in the last attempt.
        attempts: how often it was begun.
        trace: the traceback of an error that nobody has meant.
    """

    key: str
    value: Any = None
    problem: str = ""
    seconds: float = 0.0
    attempts: int = 1
    trace: str = ""


Work = Callable[[Sequence[Item]], Iterable[Any]]
"""Does items and gives the value of each, in their order; a generator hands each over as soon as it is ready."""

Make = Callable[[], Work]
"""Gets a worker ready (loads the model, say). It is pickled: a function or class of a module, or a `partial`."""

Batches = Callable[[Sequence[Item]], Iterable[Sequence[Item]]]
"""Puts items together that go to a worker at a time."""


def singly(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Batches of one."""
    return ([item] for item in items)


def item_seed(seed: int, key: str) -> int:
    """The seed of an item's random numbers: decided by its key, whatever the order, the batch or the worker.

    Args:
        seed: of the whole run.
        key: of the item.

    Returns:
        An integer from 0 to 2⁶³ - 1, as `torch.Generator.manual_seed` takes it.

    Example:
        >>> item_seed(0, "a.wav") == item_seed(0, "a.wav") != item_seed(1, "a.wav")
        True
    """
    digest = hashlib.sha256(f"{seed}\0{key}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") >> 1
