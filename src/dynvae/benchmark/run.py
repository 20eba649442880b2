"""The benchmark from beginning to end."""

from __future__ import annotations

__all__ = ["Finished", "run_benchmark"]

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from dynvae.audio import FRONT_ENDS
from dynvae.benchmark.page import write_report
from dynvae.benchmark.plan import BenchmarkConfig, plan
from dynvae.benchmark.results import entries, result_of
from dynvae.benchmark.workers import run_jobs
from dynvae.data import Corpus
from dynvae.errors import ConfigError, require
from dynvae.evaluation import spread
from dynvae.files import atomic_write
from dynvae.report import Entry, to_csv, to_markdown

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finished:
    """What a benchmark has come to.

    Attributes:
        table: the entries.
        failed: the reasons of the runs that failed, by name.
        page: the HTML report.
        seconds: it took.
    """

    table: Sequence[Entry]
    failed: dict[str, str]
    page: Path
    seconds: float


def run_benchmark(config: BenchmarkConfig, say: Callable[[str], None] = logger.info) -> Finished:
    """Train what is missing, go on with what was stopped, measure, and write table and report.

    In ``config.out`` come ``table.md``, ``table.csv``, ``index.html``, ``plots/``, and in ``runs/`` a training run for
    each row and seed, with its ``evaluation/``. What is complete is not done again. A run that fails leaves a gap in
    the table and does not stop the others.

    Args:
        config: the settings.
        say: takes lines that tell what is being done.

    Raises:
        ConfigError: a setting is wrong, or the folder holds runs that were begun with other settings.
        DataError: the corpus cannot be used, or lacks a split.
        Stopped: a signal came; the same call goes on.
    """
    start = time.monotonic()
    for module, extra in (("lightning.pytorch", "train"), ("matplotlib", "report"), ("pesq", "metrics")):
        require(module, extra)
    if config.front_end not in FRONT_ENDS:
        raise ConfigError(f"there is no front end '{config.front_end}'; there are {', '.join(FRONT_ENDS)}")
    out = Path(config.out)
    data, counts = _data(config, out)
    jobs = plan(config, data)
    results = {job.name: result_of(job) for job in jobs}
    todo = [job for job in jobs if results[job.name] is None]
    at_once, threads = _share(config, len(todo))
    say(f"data: {config.data}, {', '.join(f'{split} {count}' for split, count in counts.items())} files")
    say(f"runs: {len(jobs)} in {out / 'runs'}, {len(jobs) - len(todo)} of them complete; "
        f"{at_once} at a time with {threads} thread(s) each")  # fmt: skip
    failed = run_jobs(todo, at_once=at_once, threads=threads, say=say) if todo else {}
    results |= {job.name: result_of(job) for job in todo}
    table = entries(config, jobs, results, failed)
    for name, text in (("table.md", to_markdown(table)), ("table.csv", to_csv(table))):
        with atomic_write(out / name) as temp:
            temp.write_text(text, encoding="utf-8")
    say("drawing plots and writing the report")
    page = write_report(config, jobs, results, table, seconds=time.monotonic() - start)
    return Finished(table, failed, page, time.monotonic() - start)


def _data(config: BenchmarkConfig, out: Path) -> tuple[str, dict[str, int]]:
    """The corpus with absolute paths, cut to ``config.files``, and the number of files in each split.

    Raises:
        DataError: it cannot be opened, or lacks a split.
    """
    corpus = Corpus.open(config.data)
    splits = {name: corpus.split(name) for name in ("train", "valid", "test")}
    kept = {name: spread(split, config.files.get(name)) for name, split in splits.items()}
    counts = {name: len(utterances) for name, utterances in kept.items()}
    if not config.files:
        path = Path(config.data)
        return (str(path.resolve()) if path.exists() else config.data), counts
    manifest = out.resolve() / "corpus.csv"
    names = {utterance.name for utterances in kept.values() for utterance in utterances}
    corpus.filter(lambda utterance: utterance.name in names).write_manifest(manifest)
    return f"{manifest}@{corpus.root.resolve()}", counts


def _share(config: BenchmarkConfig, todo: int) -> tuple[int, int]:
    """Runs at a time, and threads of each.

    One thread each on as many processes as there are cores is faster than more threads on one: the networks are
    small, and their recursions cannot be shared between threads.
    """
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if torch.cuda.is_available() and not config.jobs:
        at_once = 1
    else:
        at_once = config.jobs or usable
    at_once = max(1, min(at_once, todo))
    return at_once, config.threads or (1 if at_once > 1 else min(usable, 4))
