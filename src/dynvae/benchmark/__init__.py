"""The family side by side: train what is missing, measure, and write one table and one page."""

from __future__ import annotations

from dynvae.benchmark.plan import ROWS, BenchmarkConfig, Row
from dynvae.benchmark.run import Finished, run_benchmark
from dynvae.benchmark.workers import Stopped

__all__ = ["ROWS", "BenchmarkConfig", "Finished", "Row", "Stopped", "run_benchmark"]
