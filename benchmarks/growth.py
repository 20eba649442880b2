"""``python -m benchmarks.growth``: time per frame and memory as sequences become longer."""

from __future__ import annotations

import sys

from benchmarks.cases import RECURRENT
from benchmarks.command import main
from benchmarks.sweep import Sweep

SWEEP = Sweep(
    "growth",
    "Time and memory of steps of training against the length of the sequences.",
    tasks=("training",),
    shapes=tuple(f"32x{time}" for time in (50, 100, 200, 400, 800, 1600)),
    threads=("1",),
    models=RECURRENT,
    steps=3,
)

if __name__ == "__main__":
    sys.exit(main(SWEEP))
