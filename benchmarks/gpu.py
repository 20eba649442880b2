"""``python -m benchmarks.gpu``: steps of training on a GPU, launched kernel by kernel and as one CUDA graph."""

from __future__ import annotations

__all__ = ["Row", "main", "measure"]

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.cases import CASES, Case
from benchmarks.command import pick, shapes
from benchmarks.sounds import speech_like
from dynvae.errors import DynvaeError
from dynvae.files import atomic_write
from dynvae.models import DVAE
from dynvae.training.graphs import GraphedStep

WARMUP = 3
MODELS = ",".join(name for name in CASES if name != "kvae")  # which cannot be captured


class Row(NamedTuple):
    """One model on batches of one shape.

    Attributes:
        model: name of the case.
        batch: sequences.
        frames: of each.
        eager_ms: median time of a step, kernel by kernel.
        graph_ms: the same as a graph.
        deviation: relative difference of the two losses after the last step.
        memory_mb: peak of both together.
    """

    model: str
    batch: int
    frames: int
    eager_ms: float
    graph_ms: float
    deviation: float
    memory_mb: float


def measure(case: Case, x: Tensor, steps: int) -> Row:
    """Time a step with Adam and clipping, on the device of ``x``, ``(batch, time, bins)``; A B A B ..., medians."""
    on_gpu = x.is_cuda
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    codes = {"eager": _step(case, x, most=0), "graph": _step(case, x, most=1)}
    times: dict[str, list[float]] = {name: [] for name in codes}
    losses = {}
    for turn in range(WARMUP + 1 + steps):  # one more, in which the graph is captured
        for name, step in codes.items():
            started = _now(on_gpu)
            done = step(x)
            if turn > WARMUP:
                times[name].append(1000 * (_now(on_gpu) - started))
            losses[name] = float(done.loss)
    return Row(
        case.name,
        x.shape[0],
        x.shape[1],
        median(times["eager"]),
        median(times["graph"]),
        abs(losses["graph"] / losses["eager"] - 1),
        torch.cuda.max_memory_allocated() / 1e6 if on_gpu else 0.0,
    )


def _step(case: Case, x: Tensor, most: int) -> GraphedStep:
    def objective(model: DVAE, x: Tensor, lengths: Tensor | None, generator: torch.Generator) -> Tensor:
        return -model.elbo(x, lengths, generator=generator, free_running=case.free_running).per_frame

    torch.manual_seed(0)
    model = case.build().to(x.device)
    rate = torch.tensor(1e-4, device=x.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, foreach=x.is_cuda, capturable=x.is_cuda)
    generator = torch.Generator(x.device).manual_seed(0)
    return GraphedStep(model, optimizer, objective, clip=5.0, generator=generator, warmup=WARMUP, most=most)


def _now(on_gpu: bool) -> float:
    """The time, once the GPU has done what it was given."""
    if on_gpu:
        torch.cuda.synchronize()
    return time.perf_counter()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table, and write what was asked for.

    Args:
        arguments: of the command line.

    Returns:
        0; 2 where there is no GPU, or after a mistake of the caller's.
    """
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--models", default=MODELS, help=f"of {', '.join(CASES)}")
    parser.add_argument("--shapes", default="128x50,32x150,1024x50", help="batch x time")
    parser.add_argument("--steps", type=int, default=20, help="of which the median counts")
    parser.add_argument("--tf32", action="store_true", help="let products round their factors to TF32")
    parser.add_argument("--json", type=Path, help="file for the results")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("benchmarks.gpu: there is no GPU here that PyTorch can use", file=sys.stderr)
        return 2
    torch.set_float32_matmul_precision("high" if options.tf32 else "highest")
    try:
        cases = pick("model", options.models.split(","), CASES)
        sizes = shapes(options.shapes.split(","))
    except DynvaeError as error:
        print(f"benchmarks.gpu: {error}", file=sys.stderr)
        return 2
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {'TF32' if options.tf32 else 'float32'}\n")
    print("| model | batch | eager, ms | graph, ms | times faster | deviation | memory, MB |")
    print("|---|---|---|---|---|---|---|")
    rows = []
    for case in cases.values():
        for batch, frames in sizes:
            row = measure(case, speech_like(batch, frames).cuda(), options.steps)
            rows.append(row)
            print(
                f"| {row.model} | {batch} x {frames} | {row.eager_ms:.2f} | {row.graph_ms:.2f} "
                f"| {row.eager_ms / row.graph_ms:.2f} | {row.deviation:.1e} | {row.memory_mb:.0f} |",
                flush=True,
            )
    if options.json:
        with atomic_write(options.json) as temp:
            temp.write_text(json.dumps([row._asdict() for row in rows], indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
