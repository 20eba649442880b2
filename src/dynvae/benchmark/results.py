"""From the runs' results to the entries of the table."""

from __future__ import annotations

__all__ = ["Results", "dependencies_of", "entries", "files_scores", "result_of", "ticks"]

import contextlib
import functools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from dynvae.benchmark.plan import RESULT, ROWS, BenchmarkConfig, Job
from dynvae.dependencies import Dependencies, Parents
from dynvae.evaluation import read_scores
from dynvae.metrics import Score, Summary, summarize
from dynvae.models import build
from dynvae.report import Entry, Ticks

Results = Mapping[str, Mapping[str, Any] | None]
"""The result of each job by its name; None where there is none."""


def result_of(job: Job) -> dict[str, Any] | None:
    """What an earlier run of exactly this job has left, if it came to its end."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        result: dict[str, Any] = json.loads((job.path / RESULT).read_text(encoding="utf-8"))
        if Job.from_json(result["job"]).identity == job.identity:
            return result
    return None


@functools.cache
def dependencies_of(row: str) -> Dependencies:
    """The declared structure of a row's model."""
    return build(ROWS[row].model, x_dim=2, z_dim=2).dependencies


def ticks(row: str) -> Ticks:
    """The three properties of a row, derived from its model's declared dependencies."""
    declared = dependencies_of(row)
    return Ticks(declared.autoregressive, declared.true_posterior, declared.dynamical_latent)


def static(row: str) -> bool:
    """Whether nothing connects the frames of a row's model: x_t depends on z_t alone, and z_t on nothing."""
    declared = dependencies_of(row)
    return not declared.parents("prior").spans and declared.parents("likelihood") == Parents.parse("z[t]")


def files_scores(job: Job, mode: str) -> dict[str, dict[str, Score]]:
    """The scores of every test file, by file and by name."""
    rows = read_scores(job.path / "evaluation" / mode)
    return {path: dict(row.scores) for path, row in rows.items()}


def entries(config: BenchmarkConfig, jobs: Sequence[Job], results: Results, failed: Mapping[str, str]) -> list[Entry]:
    """The table's entries, in the order of ``config.models``.

    With several seeds, the score of a file is its mean over the seeds; the interval is over files, and the spread over
    seeds is told beside it.
    """
    table: list[Entry] = []
    for name in config.models:
        runs = [job for job in jobs if job.row == name]
        done = [job for job in runs if results.get(job.name)]
        reasons = [failed[job.name] for job in runs if job.name in failed]
        for mode in runs[0].modes:
            told = mode if ticks(name).autoregressive else ""
            table.append(_entry(name, told, mode, done, results, reasons))
    return table


def _entry(name: str, told: str, mode: str, done: Sequence[Job], results: Results, reasons: Sequence[str]) -> Entry:
    title, properties = ROWS[name].title, ticks(name)
    if not done:
        reason = reasons[0] if reasons else "it was not trained"
        return Entry(title, told, properties, static=static(name), failed=reason)
    found = [result for job in done if (result := results[job.name])]
    scores = _pooled([files_scores(job, mode) for job in done])
    means = [{key: value["mean"] for key, value in result["modes"][mode]["scores"].items()} for result in found]
    spread = {}
    if len(done) > 1:
        for key in scores:
            known = [mean[key] for mean in means if mean.get(key) is not None]
            spread[key] = (max(known) - min(known)) / 2 if known else math.nan
    return Entry(
        title,
        told,
        properties,
        static=static(name),
        scores=scores,
        parameters=found[0]["parameters"],
        seconds=sum(result["training"]["seconds"] for result in found) / len(found),
        epochs=sum(result["training"]["epochs"] for result in found) / len(found),
        spread=spread,
        seeds=len(done),
        failed=reasons[0] if reasons else "",
    )


def _pooled(runs: Sequence[Mapping[str, Mapping[str, Score]]]) -> dict[str, Summary]:
    """The summaries over files; a file that fails with one seed is a failure."""
    first = runs[0]
    names = list(dict.fromkeys(name for scores in first.values() for name in scores))
    pooled: dict[str, Summary] = {}
    for name in names:
        values: list[Score] = []
        for path in first:
            scores = [run[path][name] for run in runs if path in run]
            bad = next((score for score in scores if score.failed), None)
            values.append(bad or Score(sum(score.value for score in scores) / len(scores)))
        pooled[name] = summarize(values)
    return pooled
