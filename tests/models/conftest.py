"""Tests that run on the compiled executor, and know that they did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from dynvae.native import status
from dynvae.recurrence import compiled, executor


@pytest.fixture
def compiled_runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Run programs on the compiled executor, and count the calls of its two functions in C."""
    if not status().available:
        pytest.skip(f"the compiled executor is not there: {status().reason}")
    counts: Counter[str] = Counter()
    call = compiled._call

    def counting(function: str, *arguments: object) -> None:
        counts[function] += 1
        call(function, *arguments)

    monkeypatch.setattr(compiled, "_call", counting)
    with executor("compiled"):
        yield counts
