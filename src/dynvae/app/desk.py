"""What all tabs are built with: gradio, the models, the limits, and how work is done and failures are told."""

from __future__ import annotations

__all__ = ["Desk", "polite"]

import contextlib
import functools
import logging
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from dynvae.app.limits import Limits, Sound
from dynvae.app.pictures import played
from dynvae.app.shelf import Shelf
from dynvae.errors import DynvaeError
from dynvae.training.machine import flush_denormals

logger = logging.getLogger(__name__)

_LONGEST = 400
OUR_FAULT = "That did not work, and it is the server's fault; its log tells more."


def polite(function: Callable[..., Any], refusal: Callable[[str], Exception]) -> Callable[..., Any]:
    """A function whose failures become one line that a visitor can read; what nobody expected goes to the log.

    Args:
        function: the work.
        refusal: makes the error of a line.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        flush_denormals()  # a setting of each thread
        try:
            return function(*args, **kwargs)
        except DynvaeError as error:
            line = " ".join(str(error).split())
            raise refusal(line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…") from None
        except Exception as error:
            logger.exception("the demo's %s", function.__qualname__)
            raise refusal(OUR_FAULT) from error

    return call


@dataclass(frozen=True)
class Desk:
    """The tabs' common ground.

    Args:
        gr: the module gradio.
        shelf: the models.
        limits: of what visitors may ask for.
        folder: of files for visitors.
    """

    gr: Any
    shelf: Shelf
    limits: Limits
    folder: Path

    def file(self, name: str) -> Path:
        """Where a file for a visitor can be written."""
        place = self.folder / secrets.token_hex(12)
        place.mkdir()
        return place / name

    @contextlib.contextmanager
    def sides(self, about: str) -> Iterator[tuple[Any, Any]]:
        """A sentence on top, and two columns below it: what to give, what to get. Narrow pages stack them."""
        self.gr.Markdown(" ".join(about.split()), elem_classes="about")
        with self.gr.Row(equal_height=False):
            left = self.gr.Column(scale=2, min_width=300)
            right = self.gr.Column(scale=3, min_width=300)
        yield left, right

    def recorder(self, label: str, identity: str) -> Any:
        """Where a visitor records or uploads sound."""
        return self.gr.Audio(label=label, sources=["upload", "microphone"], type="filepath", buttons=["download"],
                             elem_id=identity)  # fmt: skip

    def player(self, label: str, identity: str, *, visible: bool = True) -> Any:
        """What plays a result. It can be downloaded, but not shared, for which gradio would send it elsewhere."""
        return self.gr.Audio(label=label, interactive=False, buttons=["download"], visible=visible, elem_id=identity)

    def filled(self, players: Sequence[Any], sounds: Sequence[Sound], titles: Sequence[str]) -> list[Any]:
        """Updates of players: the first ones get sounds and titles, the others are hidden."""
        shown = [self.gr.Audio(value=played(sound), label=title, visible=True)
                 for sound, title in zip(sounds, titles, strict=True)]  # fmt: skip
        return shown + [self.gr.Audio(value=None, visible=False)] * (len(players) - len(sounds))

    def job(self, event: Any, function: Callable[..., Any], inputs: Sequence[Any], outputs: Sequence[Any], *,
            name: str) -> Any:  # fmt: skip
        """Have an event do work that takes a place in the queue, and that programs can call as ``/name``."""
        return event(self._polite(function), list(inputs), list(outputs), api_name=name, concurrency_id="work",
                     concurrency_limit=self.limits.jobs, show_progress="minimal")  # fmt: skip

    def quick(self, event: Any, function: Callable[..., Any], inputs: Sequence[Any], outputs: Sequence[Any]) -> Any:
        """Have an event do something that takes no time worth telling."""
        return event(self._polite(function), list(inputs), list(outputs), api_visibility="private",
                     show_progress="hidden", concurrency_limit=4)  # fmt: skip

    def _polite(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return polite(function, lambda line: self.gr.Error(escape(line, quote=False), print_exception=False))
