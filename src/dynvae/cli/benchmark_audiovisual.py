"""``dynvae benchmark audiovisual --data CORPUS --noise NOISE --out DIR``: what lips add, in tables and curves."""

from __future__ import annotations

__all__ = ["av_settings_of", "run", "verb_parser"]

from collections.abc import Sequence
from typing import Any, Literal

from dynvae.audio import FRONT_ENDS
from dynvae.benchmark.audiovisual import run_audiovisual
from dynvae.benchmark.audiovisual_config import AV_METRICS, AV_ROWS, AVConfig
from dynvae.cli.parsing import Parser, demand, make_parser, words
from dynvae.cli.progress import shown_work
from dynvae.cli.telling import notice, tell
from dynvae.data.lips import LipSettings
from dynvae.errors import ConfigError
from dynvae.testtime import PRESETS
from dynvae.training import TrainConfig
from dynvae.video.corruption import CORRUPTIONS
from dynvae.work import Stopped

DESCRIPTION = f"""Train models of sound and lips, enhance noisy speech with each, with the clip's own lips, with a share
of their frames spoilt, and with another clip's, and write tables, curves and what they say about the use of lips
(tables.md, findings.md, scores.csv, index.html). What is done is not done again. Rows: {", ".join(AV_ROWS)}."""
EXAMPLES = ("dynvae benchmark audiovisual --config recipes/grid/benchmark.yaml --out table",)


def run(arguments: list[str]) -> int:
    """Do the benchmark, and return 0; 130 or 143 if a signal has stopped it."""
    settings = verb_parser(arguments).parse_args(arguments)
    config = av_settings_of(settings)
    with shown_work("benchmark audiovisual", config.out) as (say, report):
        try:
            measured = run_audiovisual(config, say, report)
        except Stopped as stopped:
            notice("benchmark audiovisual", stopped)
            return 128 + stopped.signum
    files = [f"{config.out}/{name}" for name in ("tables.md", "findings.md", "scores.csv")]
    found = {"out": str(config.out), "findings": measured.findings, "files": files, "report": str(measured.page)}
    lines = [measured.tables, measured.findings, f"tables: {', '.join(files)}", f"report: {measured.page}"]
    tell(found, lines, as_json=settings.json)
    return 0


def verb_parser(arguments: Sequence[str] = ()) -> Parser:
    """The parser of the verb."""
    plan = AVConfig("", "", "")
    parser = make_parser("benchmark audiovisual", DESCRIPTION, EXAMPLES)
    add: Any = parser.add_argument
    add("--config", action="config", help="a YAML file of settings; options that follow win over it")
    add("--data", type=str, help="a corpus of clean speech with lips: a manifest with the column lips or video, or a "
        "folder in which they lie beside the sound")  # fmt: skip
    add("--noise", type=str, help="a corpus of noise")
    add("--out", type=str, help="folder of the results")
    add("--rows", type=list[str] | str, default=list(plan.rows), help="methods to compare")
    add("--seeds", type=list[int] | str, default=list(plan.seeds), help="each trains every model")
    add("--snrs", type=list[float] | str, default=list(plan.snrs), help="ratios of the mixtures, in dB")
    add("--split", type=str, default=plan.split, help="of speech and noise, for the test")
    add("--limit", type=int | None, default=None, help="so many clips, spread evenly over all")
    add("--corruption", type=Literal[CORRUPTIONS], default=plan.corruption, help="what spoils the lips")
    add("--share", type=float, default=plan.share, help="of the frames that is spoilt")
    add("--swapped", type=list[str] | str, default=list(plan.swapped),
        help="rows that are also given the lips of another clip")  # fmt: skip
    add("--preset", type=Literal[tuple(PRESETS)], default=plan.preset, help="of the engine, for all rows")
    add("--iterations", type=int | None, default=None, help="of EM; the preset's by default")
    add("--metrics", type=list[str] | str, default=list(AV_METRICS), help="scores to compute")
    add("--front-end", type=Literal[tuple(FRONT_ENDS)], default=plan.front_end, help="window of the STFT")
    add("--model", type=dict[str, Any], default={}, help="arguments of all models")
    add("--view", type=dict[str, Any], default={}, help="arguments of the models that see lips, e.g. {v_dim: 576}")
    add("--together", type=int, default=plan.together, help="recordings that are enhanced in one batch")
    add("--workers", type=int, default=0, help="batches at a time; 0: this process alone")
    add("--overwrite", action="store_true", help="replace scores that other settings have left")
    parser.add_class_arguments(LipSettings, "lips")
    parser.add_class_arguments(TrainConfig, "train", skip={"seed"})
    parser.set_defaults({"train.alpha": plan.train.alpha})
    return parser


def av_settings_of(options: Any) -> AVConfig:
    """What the options say.

    Raises:
        ConfigError: one is missing or wrong.
    """
    demand(options, "benchmark audiovisual", "data", "noise", "out")
    try:
        snrs = tuple(float(word) for word in words(options.snrs))
        seeds = tuple(int(word) for word in words(options.seeds))
    except ValueError:
        raise ConfigError(f"ratios and seeds are numbers, not {options.snrs} and {options.seeds}") from None
    return AVConfig(
        data=options.data,
        noise=options.noise,
        out=options.out,
        rows=tuple(words(options.rows)),
        seeds=seeds,
        snrs=snrs,
        split=options.split,
        limit=options.limit,
        corruption=options.corruption,
        share=options.share,
        swapped=tuple(words(options.swapped)),
        preset=options.preset,
        iterations=options.iterations,
        metrics=tuple(words(options.metrics)),
        model=dict(options.model),
        view=dict(options.view),
        train=TrainConfig(**options.train.as_dict()),
        lips=LipSettings(**options.lips.as_dict()),
        front_end=options.front_end,
        together=options.together,
        workers=options.workers,
        overwrite=options.overwrite,
    )
