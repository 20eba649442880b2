"""``dynvae benchmark --models A,B --data CORPUS --out DIR``: train, measure and compare."""

from __future__ import annotations

__all__ = ["run", "verb_parser"]

import dataclasses
import signal
from collections.abc import Sequence
from typing import Any, Literal

from dynvae.audio import FRONT_ENDS
from dynvae.benchmark import ROWS, BenchmarkConfig, Stopped, run_benchmark
from dynvae.cli.parsing import Parser, demand, make_parser, words
from dynvae.cli.progress import shown_work
from dynvae.cli.telling import notice, tell
from dynvae.errors import ConfigError
from dynvae.metrics import METRICS
from dynvae.report import to_markdown
from dynvae.training import TrainConfig

DESCRIPTION = """Train several models, measure each by analysis-resynthesis, and write one table (table.md, table.csv)
and one page (index.html) with plots and sound. The runs are in runs/ROW-seedN: what is complete is not done again, what
was stopped goes on."""
EXAMPLES = (
    "dynvae benchmark --models vae,dkf,srnn --data speech --out comparison --epochs 20",
    "dynvae benchmark --config recipes/demo/config.yaml --out demo",
)


def run(arguments: list[str]) -> int:
    """Do the benchmark, and return 0; 1 if some row has failed, 130 or 143 if a signal has stopped it."""
    settings = verb_parser(arguments).parse_args(arguments)
    config = _config(settings)
    with shown_work("benchmark", config.out) as (say, _):
        try:
            finished = run_benchmark(config, say)
        except Stopped as stopped:
            notice("benchmark", f"stopped by {signal.Signals(stopped.signum).name}; the same command goes on")
            return 128 + stopped.signum
    found = {
        "out": str(config.out), "rows": [dataclasses.asdict(entry) for entry in finished.table],
        "failed": dict(finished.failed), "report": str(finished.page), "seconds": finished.seconds,
    }  # fmt: skip
    lines = [
        to_markdown(finished.table),
        *(f"failed: {name}: {reason}" for name, reason in finished.failed.items()),
        f"table:  {config.out}/table.md, {config.out}/table.csv",
        f"plots:  {config.out}/plots",
        f"report: {finished.page}",
        f"done in {finished.seconds / 60:.1f} minutes",
    ]
    tell(found, lines, as_json=settings.json)
    return 1 if finished.failed else 0


def verb_parser(arguments: Sequence[str] = ()) -> Parser:
    """The parser of the verb."""
    parser = make_parser("benchmark", DESCRIPTION, EXAMPLES)
    add: Any = parser.add_argument
    add("--config", action="config", help="a YAML file of settings; options that follow win over it")
    add("--models", type=list[str] | str, default=list(ROWS), help=f"rows of the table: {','.join(ROWS)}")
    add("--data", type=str, help="folder of audio files, manifest (.csv, .jsonl), or 'builtin'")
    add("--out", type=str, help="folder of the results")
    add("--seeds", type=list[int] | str, default=[0], help="one run of each row for each, e.g. 0,1")
    add("--modes", type=list[str] | str, default=["teacher-forced", "generation"],
        help="what an autoregressive model sees as its past when it is measured")  # fmt: skip
    add("--front-end", type=Literal[tuple(FRONT_ENDS)], default="64ms", help="window of the STFT")
    add("--epochs", type=int, default=None, help="short for --train.epochs")
    add("--rows", type=dict[str, dict[str, Any]], default={},
        help="what differs for a row, e.g. in YAML: rows: {kvae: {model: {...}, train: {lr: 0.001}}}")  # fmt: skip
    add("--files", type=dict[str, int], default={}, help="at most so many files of a split, e.g. {test: 50}")
    add("--latents", type=Literal["sample", "mean"], default="sample", help="of the posterior, when measuring")
    add("--metrics", type=list[str] | str, default=list(METRICS), help="scores to compute")
    add("--examples", type=int, default=3, help="test files to hear and to see in the report")
    add("--jobs", type=int, default=0, help="runs at a time; 0: one for each core, or one if there is a GPU")
    add("--threads", type=int, default=0, help="of each run; 0 shares the cores")
    parser.add_class_arguments(TrainConfig, "train", skip={"seed", "threads"})
    return parser


def _config(options: Any) -> BenchmarkConfig:
    demand(options, "benchmark", "data", "out")
    train = TrainConfig(**options.train.as_dict())
    if options.epochs is not None:
        train = dataclasses.replace(train, epochs=options.epochs)
    return BenchmarkConfig(
        data=options.data,
        out=options.out,
        models=tuple(words(options.models)),
        seeds=tuple(_number(word) for word in words(options.seeds)),
        modes=tuple(words(options.modes)),
        front_end=options.front_end,
        train=train,
        rows={name: dict(row) for name, row in options.rows.items()},
        files=dict(options.files),
        latents=options.latents,
        metrics=tuple(words(options.metrics)),
        examples=options.examples,
        jobs=options.jobs,
        threads=options.threads,
    )


def _number(word: str) -> int:
    try:
        return int(word)
    except ValueError:
        raise ConfigError(f"a seed is a whole number, not '{word}'") from None
