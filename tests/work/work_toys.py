"""Work that is quick, wrong, or deadly to its worker. Payloads are plain; each start leaves a mark in a folder."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from dynvae.errors import AudioError, CheckpointError
from dynvae.files import atomic_write
from dynvae.work import Item, Work, item_seed


def toy(folder: Path | None = None, seconds: float = 0.0) -> Work:
    return partial(_do, folder, seconds)


def _do(folder: Path | None, seconds: float, items: Sequence[Item]) -> Iterator[Any]:
    for item in items:
        time.sleep(seconds)
        yield one(item, folder)


def one(item: Item, folder: Path | None) -> Any:
    """The item's seed; its payload tells what goes wrong before that, and how often."""
    starts = 0
    if folder is not None:
        marks = folder / "starts"
        marks.mkdir(parents=True, exist_ok=True)
        name = f"{item_seed(0, item.key)}."
        starts = sum(path.name.startswith(name) for path in marks.iterdir())
        (marks / f"{name}{starts}.{os.getpid()}").touch()
    what, times = item.payload or ("", 0)
    if starts < times:
        mishap(what)
    for output in item.outputs:
        assert folder is not None
        with atomic_write(folder / output) as temp:
            temp.write_text(item.key, encoding="utf-8", errors="surrogateescape")
    return item_seed(0, item.key)


def mishap(what: str) -> None:
    match what:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            os._exit(3)
        case "raise":
            raise ValueError("an odd\nnumber")
        case "refuse":
            raise AudioError("the file is silent")
        case "hang":
            time.sleep(600)


def unfit() -> Work:
    raise CheckpointError("model.safetensors is damaged")


def still_born() -> Work:
    os._exit(1)


def undefined() -> Work:
    return lambda items: [float("nan") if item.key.endswith("1") else 0.5 for item in items]


def mute() -> Work:
    return lambda items: []


def items(number: int, **troubles: Any) -> list[Item]:
    """Items with names that are not easy, each with an output; troubles by the number of the item."""
    return [
        Item(f"a b/ü {index} 音.wav", troubles.get(f"at{index}"), (f"out/ü {index} 音.txt",)) for index in range(number)
    ]


def starts(folder: Path, item: Item) -> int:
    """How often an item was begun."""
    return len(list((folder / "starts").glob(f"{item_seed(0, item.key)}.*")))
