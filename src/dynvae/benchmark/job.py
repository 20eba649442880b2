"""One run of one row, in a process of its own: ``python -m dynvae.benchmark.job RUN/job.json``.

It trains what is not trained yet, measures what is not measured yet, and leaves ``result.json`` in the run's folder.
Its messages go to standard error, where the benchmark reads them.
"""

from __future__ import annotations

__all__ = ["do", "main"]

import csv
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

from dynvae.benchmark.plan import RESULT, ROWS, Job
from dynvae.data import Corpus
from dynvae.errors import DynvaeError
from dynvae.evaluation import evaluate
from dynvae.files import atomic_write
from dynvae.pretrained import load
from dynvae.training import TrainConfig, train
from dynvae.training.machine import flush_denormals
from dynvae.work import Stopped

logger = logging.getLogger("dynvae.benchmark.job")  # also where this module is __main__


def do(job: Job) -> int:
    """Train and measure, and return 0; 130 or 143 if a signal has stopped it, and its state is saved.

    Raises:
        DynvaeError: it cannot be done.
    """
    resume = _can_resume(job)
    outcome = train(
        ROWS[job.row].model,
        data=job.data,
        out=job.folder,
        model=dict(job.model),
        front_end=job.front_end,
        init=job.init or None,
        train=TrainConfig(**{**job.train, "betas": tuple(job.train["betas"])}),
        resume=resume,
    )
    if outcome.signum:
        return 128 + outcome.signum
    training = _training(job.path)
    logger.info("trained in %.0f s; best epoch %g, validation ELBO %.2f nats/frame",
                training["seconds"], outcome.best["epoch"], outcome.best["elbo"])  # fmt: skip
    model = load(job.folder)
    test = Corpus.open(job.data).split("test")
    modes: dict[str, Any] = {}
    for mode in job.modes:
        start = time.monotonic()
        evaluation = evaluate(
            model,
            test,
            mode=mode,  # type: ignore[arg-type]
            latents=job.latents,  # type: ignore[arg-type]
            metrics=job.metrics,
            out=job.path / "evaluation" / mode,
            overwrite=True,
        )
        modes[mode] = evaluation.to_dict()
        shown = [f"{name} {summary.mean:.3f}" for name, summary in evaluation.scores.items()
                 if name in ("si_sdr", "pesq_wb", "estoi") and summary.mean is not None]  # fmt: skip
        logger.info("%s: %s on %d files in %.0f s", mode, ", ".join(shown), len(test), time.monotonic() - start)
    result = {
        "job": job.to_json(),
        "training": {**training, "best": outcome.best, "steps": outcome.step},
        "parameters": sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        "modes": modes,
    }
    with atomic_write(job.path / RESULT) as temp:
        temp.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


def _can_resume(job: Job) -> bool:
    """Whether there is a state to go on from. A log without one is of a run that was killed at its very beginning."""
    if any((job.path / "checkpoints").glob("*")):
        return True
    (job.path / "metrics.csv").unlink(missing_ok=True)
    return False


def _training(folder: Path) -> dict[str, float]:
    """How long the training has taken, over all its parts, and how far it went."""
    with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
        last = list(csv.DictReader(file))[-1]
    return {"seconds": float(last["seconds"]), "epochs": float(last["epoch"])}


def main(arguments: list[str]) -> int:
    """Do the job that a file describes; 1 with a line on standard error if it cannot be done."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    root = logging.getLogger("dynvae")
    root.handlers, root.propagate = [handler], False
    root.setLevel(logging.INFO)
    flush_denormals()
    job = Job.from_json(json.loads(Path(arguments[0]).read_text(encoding="utf-8")))
    try:
        return do(job)
    except DynvaeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Stopped as stop:
        return 128 + stop.signum


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
