"""How a verb tells what it will write, what came out, and what it noticed on the way."""

from __future__ import annotations

__all__ = ["count", "notice", "tell", "writes"]

import json
import sys
from collections.abc import Iterable
from typing import Any


def writes(verb: str, work: str, place: object) -> None:
    """Say what a verb is about to write, and where: when its input is accepted, for a refusal is one line.

    Args:
        verb: e.g. ``"enhance"``.
        work: what is written, e.g. ``"3 files"``.
        place: a file or a folder.
    """
    notice(verb, f"writes {work} to {place}")


def notice(verb: str, text: object) -> None:
    """Say to standard error what a reader should know of a file, or of what went wrong with it."""
    print(f"dynvae {verb}: {text}", file=sys.stderr)


def tell(found: Any, lines: Iterable[object], *, as_json: bool) -> None:
    """Print what came out: as JSON for programs, or in lines for people.

    Args:
        found: fit for JSON.
        lines: the same, less what nobody reads.
        as_json: which of the two.
    """
    if as_json:
        print(json.dumps(found, ensure_ascii=False, indent=2))
        return
    for line in lines:
        print(line)


def count(number: int, noun: str) -> str:
    """A number with its noun: one file, two files."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
