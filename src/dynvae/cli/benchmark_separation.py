"""``dynvae benchmark separation --sources A,B --models M,N --out DIR``: ways to separate, in one table a source."""

from __future__ import annotations

__all__ = ["run", "separation_settings_of", "verb_parser"]

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

from dynvae.benchmark.separation import SEPARATION_METHODS, SeparationConfig, run_separation
from dynvae.cli.parsing import Parser, demand, make_parser, words
from dynvae.cli.progress import shown_work
from dynvae.cli.telling import notice, tell
from dynvae.work import Stopped

DESCRIPTION = f"""Mix excerpts of recordings, separate them by several methods, and write a table for each source
(table.md, SOURCE.csv), with scores and real-time factors. What is done is not done again: a benchmark that was stopped
goes on. The methods are {", ".join(SEPARATION_METHODS)}. Sources of one model are scored in the order that fits
best."""
EXAMPLES = ("dynvae benchmark separation --sources flute,speech --models models/flute,models/speech --out table",)


def run(arguments: list[str]) -> int:
    """Do the benchmark, and return 0; 1 if a mixture could not be separated, 130 or 143 if a signal has stopped it."""
    settings = verb_parser(arguments).parse_args(arguments)
    config = separation_settings_of(settings)
    with shown_work("benchmark separation", config.out) as (say, report):
        try:
            measured = run_separation(config, say, report)
        except Stopped as stopped:
            notice("benchmark separation", stopped)
            return 128 + stopped.signum
    rows = {source: [dataclasses.asdict(row) for row in table] for source, table in measured.rows.items()}
    lines = [measured.text, f"table:  {config.out}/table.md"]
    tell({"out": str(config.out), "rows": rows}, lines, as_json=settings.json)
    return 1 if any(row.failed for rows in measured.rows.values() for row in rows) else 0


def verb_parser(arguments: Sequence[str] = ()) -> Parser:
    """The parser of the verb."""
    parser = make_parser("benchmark separation", DESCRIPTION, EXAMPLES)
    add: Any = parser.add_argument
    add("--config", action="config", help="a YAML file of settings; options that follow win over it")
    add("--sources", type=list[str] | str | None, default=None,
        help="corpora, or 'flute', which is synthesised; the same one twice for two speakers")  # fmt: skip
    add("--models", type=list[str] | str | None, default=None, help="one for each source")
    add("--names", type=list[str] | str | None, default=None, help="of the sources")
    add("--methods", type=list[str] | str, default=list(SeparationConfig.methods), help="rows of the tables")
    add("--out", type=str | None, default=None, help="folder of the results")
    add("--count", type=int, default=50, help="number of mixtures")
    add("--seconds", type=float, default=2.0, help="their length")
    add("--ratio", type=float, default=0.0, help="level of the first source over each of the others, in dB")
    add("--iterations", type=int, default=SeparationConfig.iterations, help="of the mixture of DVAEs")
    add("--split", type=str, default="test", help="of the corpora")
    add("--metrics", type=list[str] | str, default=list(SeparationConfig.metrics), help="scores to compute")
    add("--examples", type=int, default=2, help="mixtures whose sounds are kept")
    add("--seed", type=int, default=0, help="of all random numbers")
    add("--engine", type=Literal["processes", "ray"], default="processes", help="whose workers")
    add("--workers", type=int, default=0, help="mixtures at a time; 0: this process alone, best for real-time factors")
    add("--overwrite", action="store_true", help="replace what other settings have left")
    return parser


def separation_settings_of(options: Any) -> SeparationConfig:
    """What the options say.

    Raises:
        ConfigError: one is missing or wrong.
    """
    demand(options, "benchmark separation", "sources", "models", "out")
    given = {name: getattr(options, name) for name in SeparationConfig.__dataclass_fields__}
    for name in ("sources", "models", "names", "methods", "metrics"):
        given[name] = tuple(words(given[name])) if given[name] else ()
    return SeparationConfig(**given)
