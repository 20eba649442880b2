"""``python -m benchmarks.training``: steps of training."""

from __future__ import annotations

import sys

from benchmarks.command import main
from benchmarks.sweep import Sweep

SWEEP = Sweep(
    "training",
    "Time full steps of training (forward, loss, backward, Adam) of dynvae and of the published code.",
    tasks=("training",),
    shapes=("128x50", "32x150"),
    threads=("1", "2"),
)

if __name__ == "__main__":
    sys.exit(main(SWEEP))
