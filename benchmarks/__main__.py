"""``python -m benchmarks``: all benchmarks, into one file, one page of tables, one folder of plots."""

from __future__ import annotations

import sys

from benchmarks import growth, inference, input, training
from benchmarks.command import main

if __name__ == "__main__":
    sys.exit(main(training.SWEEP, inference.SWEEP, growth.SWEEP, input.INPUT))
