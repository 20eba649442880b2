"""Time, memory, and the rate of this machine's matrix products."""

from __future__ import annotations

__all__ = ["Sample", "Samples", "clock_of", "interleave", "matmul_rates", "peak_memory", "ratio"]

import contextlib
import ctypes
import gc
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Literal, NamedTuple

import torch

PRODUCTS = [(6400, inner, columns) for inner in (256, 513) for columns in (256, 512, 513)]
"""The products of a batch of 6400 frames with the layers of the published models: (rows, inner, columns)."""


class Sample(NamedTuple):
    """Seconds that one run took: by the clock on the wall, and of all the process's threads together."""

    wall: float
    cpu: float


class Samples(list[Sample]):
    """Runs of one thing."""

    def median(self) -> Sample:
        return Sample(median(it.wall for it in self), median(it.cpu for it in self))

    def spread(self, clock: str) -> float:
        """Half the range of the runs, as a part of their median."""
        times = [getattr(it, clock) for it in self]
        return (max(times) - min(times)) / 2 / median(times)


def _timed(run: Callable[[], object]) -> Sample:
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return Sample(time.perf_counter() - wall, time.process_time() - cpu)


def interleave(runs: Mapping[str, Callable[[], object]], steps: int, warmup: int = 2) -> dict[str, Samples]:
    """Time several things in turn, A B C A B C ..., so that whatever else the machine does meets all alike.

    Args:
        runs: what to time.
        steps: how often.
        warmup: rounds before that are not counted.
    """
    samples = {name: Samples() for name in runs}
    with _no_collector():
        for turn in range(warmup + steps):
            for name, run in runs.items():
                sample = _timed(run)
                if turn >= warmup:
                    samples[name].append(sample)
    return samples


@contextlib.contextmanager
def _no_collector() -> Iterator[None]:
    """Keep Python's garbage collector away, which would begin in the middle of anything."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def clock_of(threads: int) -> Literal["wall", "cpu"]:
    """Which time counts: with one thread the process's own, which others hardly disturb; with more, the wall's."""
    return "cpu" if threads == 1 else "wall"


def ratio(samples: Mapping[str, Samples], code: str, clock: str) -> float | None:
    """How often as fast as the reference a code is; None if there is no reference."""
    if "reference" not in samples:
        return None
    return float(getattr(samples["reference"].median(), clock) / getattr(samples[code].median(), clock))


def matmul_rates(seconds: float = 0.03) -> dict[str, Sample]:
    """The best sustained rate of float32 products, in operations per second, by library.

    ``"mkl"`` is what torch uses by default. ``"onednn"`` takes its place where the float32 precision is set to
    ``"medium"``; on a processor with AMX that would round to bfloat16, and is left out.

    Args:
        seconds: to spend on each shape.

    Returns:
        Operations per second on the wall's clock, and per second of the process's time.
    """
    libraries = {"mkl": "highest"}
    if torch.backends.mkldnn.is_available() and not torch.cpu._is_amx_tile_supported():
        libraries["onednn"] = "medium"
    rates = {}
    for name, precision in libraries.items():
        with _matmul_precision(precision):
            each = [_product_rate(*shape, seconds) for shape in PRODUCTS]
        rates[name] = Sample(max(it.wall for it in each), max(it.cpu for it in each))
    return rates


def _product_rate(rows: int, inner: int, columns: int, seconds: float) -> Sample:
    left, right, out = torch.ones(rows, inner), torch.ones(inner, columns), torch.empty(rows, columns)
    torch.mm(left, right, out=out)
    samples = Samples([_timed(lambda: torch.mm(left, right, out=out))])
    while sum(it.wall for it in samples) < seconds:
        samples.append(_timed(lambda: torch.mm(left, right, out=out)))
    return Sample(*(2 * rows * inner * columns / max(it, 1e-9) for it in samples.median()))


@contextlib.contextmanager
def _matmul_precision(precision: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def peak_memory(run: Callable[[], object]) -> float | None:
    """How far the process's resident memory rose while something ran, in MB; None where Linux does not tell.

    What the C library keeps of freed memory is given back before, so that it is not reused unseen.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the high-water mark begins anew
    except (AttributeError, OSError):
        return None
    before = _status("VmRSS")
    run()
    return max(0.0, (_status("VmHWM") - before) / 1000)


def _status(name: str) -> float:
    """A figure of this process's memory in kB (of 1024 bytes, whatever the kernel calls them)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1.024 for line in lines if line.startswith(f"{name}:"))
