"""Signals that ask for an end, answered when it suits the work."""

from __future__ import annotations

__all__ = ["Stopped", "stop_signals"]

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any


class Stopped(KeyboardInterrupt):
    """SIGINT or SIGTERM has ended the work; its text says how to go on.

    Attributes:
        signum: the signal; commands exit with 128 + signum.
    """

    def __init__(self, signum: int, text: str = "") -> None:
        super().__init__(text)
        self.signum = signum


@contextlib.contextmanager
def stop_signals() -> Iterator[Callable[[], int]]:
    """The first SIGINT or SIGTERM of this block is only noted, and the second one raises :class:`Stopped`.

    Yields:
        A function that gives the signal that has come, or 0.
    """
    came: list[int] = []

    def note(signum: int, frame: Any) -> None:
        came.append(signum)
        if len(came) > 1:
            raise Stopped(signum)

    previous: dict[signal.Signals, Any] = {}
    with contextlib.suppress(ValueError):  # not in the main thread: then signals are somebody else's
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, note)
    try:
        yield lambda: came[0] if came else 0
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
