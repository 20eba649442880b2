"""``python -m benchmarks.inference``: analysis with resynthesis, and generation, of one sequence on one thread."""

from __future__ import annotations

import sys

from benchmarks.command import main
from benchmarks.sweep import Sweep

SWEEP = Sweep(
    "inference",
    "Time analysis with resynthesis, and generation, of one long sequence by dynvae and by the published code.",
    tasks=("analysis", "generation"),
    shapes=("1x1000",),
    threads=("1",),
)

if __name__ == "__main__":
    sys.exit(main(SWEEP))
