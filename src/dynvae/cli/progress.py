"""The progress bar of the verbs: on standard error, and only where that is a terminal."""

from __future__ import annotations

__all__ = ["progress_bar", "progress_of", "shown_work"]

import contextlib
import functools
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

from dynvae.cli.telling import writes


def progress_bar(*columns: ProgressColumn) -> Progress:
    """A bar that counts things and tells the time that is left; it is gone when the work is done.

    Args:
        columns: what stands behind the bar instead.
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *(columns or (MofNCompleteColumn(), TimeRemainingColumn())),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )


@contextlib.contextmanager
def progress_of(title: str, begun: Callable[[], None] | None = None) -> Iterator[Callable[[int, int | None], None]]:
    """A bar for one piece of work: what is called with how many are done, and of how many.

    Args:
        title: beside the bar.
        begun: is called once, when the work has begun.
    """
    with progress_bar() as bar:
        task = bar.add_task(title, total=None)
        once = functools.cache(begun or (lambda: None))

        def report(done: int, total: int | None) -> None:
            once()
            bar.update(task, completed=done, total=total)

        yield report


@contextlib.contextmanager
def shown_work(verb: str, out: object) -> Iterator[tuple[Callable[[str], None], Callable[[str, int, int], None]]]:
    """Two ways to tell of long work: by lines with the time since its beginning, and by bars with a label each.

    Args:
        verb: e.g. ``"benchmark"``.
        out: folder of its results, which is told in the first line.
    """
    start = time.monotonic()
    with progress_bar() as bar:
        tasks: dict[str, Any] = {}
        once = functools.cache(functools.partial(writes, verb, "tables, report and what they are made of", out))

        def report(label: str, done: int, total: int) -> None:
            if label not in tasks:
                tasks[label] = bar.add_task(label, total=total)
            bar.update(tasks[label], completed=done, visible=done < total)

        def say(line: str) -> None:
            once()
            spent = int(time.monotonic() - start)
            text = f"{spent // 60:3d}:{spent % 60:02d}  {line}"
            bar.console.print(text, highlight=False, markup=False, soft_wrap=True)

        yield say, report
