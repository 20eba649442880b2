"""``dynvae benchmark enhancement --data PAIRS --methods A,B --out DIR``: ways to enhance speech, in one table."""

from __future__ import annotations

__all__ = ["run", "settings_of", "verb_parser"]

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

from dynvae.benchmark.enhancement import run_enhancement
from dynvae.benchmark.enhancement_config import DEFAULT_METRICS, EnhancementConfig
from dynvae.benchmark.enhancement_methods import KINDS, Method
from dynvae.benchmark.enhancement_table import to_markdown
from dynvae.cli.parsing import Parser, demand, make_parser, words
from dynvae.cli.progress import shown_work
from dynvae.cli.telling import notice, tell
from dynvae.errors import ConfigError
from dynvae.testtime import PRESETS
from dynvae.work import Stopped

DESCRIPTION = f"""Enhance noisy speech of which the clean speech is known by several methods, and write one table with
scores and real-time factors (table.md, table.csv, files.csv) and one page (index.html). What is done is not done again:
a benchmark that was stopped goes on. A method is a word such as wiener, mask:RUN, default:rvae-speech or
ldem:MODEL@CORPUS (the corpus of its training), or in YAML a mapping with kind, source, label, trained_on, supervision
and settings. There are {", ".join(KINDS)}, and the presets {", ".join(PRESETS)}."""
EXAMPLES = (
    "dynvae benchmark enhancement --data pairs --methods noisy,wiener,default:rvae-speech --out table",
    "dynvae benchmark enhancement --data speech --noise noise --snrs 0,5 --limit 10 --out table",
)


def run(arguments: list[str]) -> int:
    """Do the benchmark, and return 0; 1 if a file could not be enhanced, 130 or 143 if a signal has stopped it."""
    settings = verb_parser(arguments).parse_args(arguments)
    config = settings_of(settings)
    with shown_work("benchmark enhancement", config.out) as (say, report):
        try:
            measured = run_enhancement(config, say, report)
        except Stopped as stopped:
            notice("benchmark enhancement", stopped)
            return 128 + stopped.signum
    found = {"out": str(config.out), "rows": [dataclasses.asdict(row) for row in measured.rows],
             "notes": list(measured.notes), "report": str(measured.page)}  # fmt: skip
    lines = [
        to_markdown(measured.rows),
        *measured.notes,
        f"table:  {config.out}/table.md, {config.out}/table.csv, {config.out}/files.csv",
        f"report: {measured.page}",
    ]
    tell(found, lines, as_json=settings.json)
    return 1 if any(row.failed for row in measured.rows) else 0


def verb_parser(arguments: Sequence[str] = ()) -> Parser:
    """The parser of the verb."""
    parser = make_parser("benchmark enhancement", DESCRIPTION, EXAMPLES)
    add: Any = parser.add_argument
    add("--config", action="config", help="a YAML file of settings; options that follow win over it")
    add("--data", type=str, help="pairs: a manifest with the columns clean and noisy, or a folder that holds one, or "
        "folders of clean and of noisy files; with --noise a corpus of clean speech")  # fmt: skip
    add("--noise", type=str | None, default=None, help="a corpus of noise, to be mixed to the speech")
    add("--snrs", type=list[float] | str, default=[-5.0, 0.0, 5.0, 10.0], help="ratios of these mixtures, in dB")
    add("--methods", type=list[str | dict[str, Any]] | str, default=["noisy", "subtraction", "wiener", "default"],
        help="rows of the table")  # fmt: skip
    add("--out", type=str, help="folder of the results")
    add("--split", type=str, default="test", help="of the data")
    add(
        "--corpus", type=str, default="", help="name of the test's corpus, with which those of the training are matched"
    )
    add("--against", type=str, default="noisy", help="the method that the others are compared with, file by file")
    add("--metrics", type=list[str] | str, default=list(DEFAULT_METRICS), help="scores to compute")
    add("--limit", type=int | None, default=None, help="so many pairs, spread evenly over all")
    add("--examples", type=int, default=2, help="pairs to hear and to see in the report")
    add("--seed", type=int, default=0, help="of all random numbers")
    add("--engine", type=Literal["processes", "ray"], default="processes", help="whose workers")
    add("--workers", type=int, default=0, help="files at a time; 0: this process alone, best for real-time factors")
    add("--overwrite", action="store_true", help="replace what other settings have left")
    return parser


def settings_of(options: Any) -> EnhancementConfig:
    """What the options say.

    Raises:
        ConfigError: one is missing or wrong.
    """
    demand(options, "benchmark enhancement", "data", "out")
    try:
        snrs = tuple(float(word) for word in words(options.snrs))
    except ValueError:
        raise ConfigError(f"ratios are numbers of decibels, not {options.snrs}") from None
    return EnhancementConfig(
        data=options.data,
        out=options.out,
        methods=tuple(Method.of(what) for what in words(options.methods)),
        noise=options.noise,
        snrs=snrs,
        split=options.split,
        corpus=options.corpus,
        against=options.against,
        metrics=tuple(words(options.metrics)),
        limit=options.limit,
        examples=options.examples,
        seed=options.seed,
        engine=options.engine,
        workers=options.workers,
        overwrite=options.overwrite,
    )
