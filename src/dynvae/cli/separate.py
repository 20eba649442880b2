"""``dynvae separate MIXTURE... --models A,B --out DIR``: take a recording apart into its sources."""

from __future__ import annotations

__all__ = ["run", "verb_parser"]

import contextlib
import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from dynvae.cli.inputs import beside, kept_suffix, sound_inputs, sound_targets
from dynvae.cli.parsing import Parser, make_parser, words
from dynvae.cli.progress import progress_bar
from dynvae.cli.telling import count, notice, tell, writes
from dynvae.errors import ConfigError
from dynvae.evaluation.run import fingerprint
from dynvae.metrics import METRICS, summarize
from dynvae.mixtures.programs import Feedback
from dynvae.separation.files import FileSeparator, Separating, SeparationJob
from dynvae.separation.separator import DEFAULT_ITERATIONS
from dynvae.testtime import Chunks
from dynvae.training.machine import flush_denormals
from dynvae.work import JOURNAL, Item, Summary
from dynvae.work import run as run_work

DESCRIPTION = """Take recordings apart into their sources, by a model of each source that has never heard a mixture.
Inputs are sound files of any rate and number of channels, folders, and manifests (.csv, .jsonl). Each source becomes a
file of its input's length, level, rate, channels and format, called INPUT.SOURCE; together they sound like the input.
Below --out the structure of folders is kept. Long recordings pass in chunks. What was stopped goes on with the same
command. A file that cannot be used keeps no other from being done. Sources of one model come in an order that is left
to chance."""
EXAMPLES = (
    "dynvae separate mixture.wav --models models/flute,models/speech --out apart",
    "dynvae separate mixtures --models A,B --references true/A,true/B   # and score it",
)


def run(arguments: list[str]) -> int:
    """Separate every input; return 0, or 2 if some could not be separated.

    Raises:
        DynvaeError: a model, an option or the choice of inputs cannot be used.
    """
    settings = verb_parser(arguments).parse_args(arguments)
    flush_denormals()
    way, names = _way(settings), _names(settings)
    separator = FileSeparator(way)
    found = sound_inputs(settings.inputs, settings.split)
    out = Path(settings.out)
    targets = sound_targets(found, out, lambda source: kept_suffix(source, way.float_samples))
    items = _items(targets, names, _references(settings, found, names), out)
    writes("separate", f"{len(names)} sources of {count(len(items), 'file')}", out)
    summary = _work(items, separator, settings)
    for problem in summary.failed.values():
        notice("separate", problem)
    report = _report(summary, settings, way, names)
    for file in report["files"]:
        for told in file["notices"]:
            notice("separate", f"{file['input']}: {told}")
        for each in file.get("scores", []):
            if "problem" in each:
                notice("separate", f"{each['reference']}: {each['problem']}")
    tell(report, _lines(report, summary), as_json=settings.json)
    return 2 if summary.failed else 0


def verb_parser(arguments: Sequence[str] = ()) -> Parser:
    """The parser of the verb."""
    parser = make_parser("separate", DESCRIPTION, EXAMPLES)
    add: Any = parser.add_argument
    add("inputs", type=str, nargs="+", help="sound files, folders, manifests")
    add("--models", type=list[str] | str, help="one for each source, with commas between them: bundled names, folders "
        "of models or runs, names on the hub; the same one twice for two sources of a kind")  # fmt: skip
    add("--names", type=list[str] | str | None, default=None, help="of the sources; by default those of the models")
    add("--out", type=str, default="separated", help="folder of the results")
    add("--references", type=list[str] | str | None, default=None,
        help="the true sources to score against, in the order of the models: a file each, or a folder each with the "
        "names of the inputs")  # fmt: skip
    add("--metrics", type=str, default="si_sdr,pesq_wb,estoi", help="scores, with commas between them")
    add("--split", type=str, default=None, help="part of the manifests, e.g. test; all by default")
    add("--iterations", type=int, default=DEFAULT_ITERATIONS, help="of variational EM")
    add("--ratio", type=float, default=0.03, help="noise of a bin of the mixture, as a share of its power")
    add("--floor", type=float, default=1e-7, help="doubt about whose a bin is that no model explains")
    add("--estimate", type=Literal["share", "mean"], default="share",
        help="shares that add up to the mixture, or the models' means alone, as published")  # fmt: skip
    add("--feedback", type=Literal[get_args(Feedback)], default="auto",
        help="what a model sees of its own past; legacy-uniform as published")  # fmt: skip
    add("--latents", type=Literal["mean", "sample"], default="mean", help="of the encoder; sample as published")
    add("--float", action="store_true", help="write 32-bit floating-point WAV, which clips nothing")
    add("--seed", type=int, default=0, help="of all random numbers")
    add("--chunk", type=float, default=Chunks().seconds, help="seconds; longer recordings are cut")
    add("--overlap", type=float, default=Chunks().overlap, help="seconds that neighbouring chunks share")
    add("--engine", type=Literal["processes", "ray"], default="processes",
        help="workers on this machine, or on the Ray cluster that RAY_ADDRESS names")  # fmt: skip
    add("--workers", type=int, default=0, help="that work at a time, a core each; 0 for none besides this process")
    add("--overwrite", action="store_true", help="do all files again, also those that are done")
    add("--device", type=str, default="cpu", help="where the models run, e.g. cuda")
    return parser


def _way(settings: Any) -> Separating:
    models, metrics = tuple(words(settings.models)), tuple(words(settings.metrics))
    if len(models) < 2:
        raise ConfigError("name a model for each source, at least two: --models A,B")
    unknown = [name for name in metrics if name not in METRICS]
    if unknown:
        raise ConfigError(f"there is no metric '{unknown[0]}'; there are {', '.join(METRICS)}")
    own = {name: settings[name] for name in ("iterations", "ratio", "floor", "estimate", "feedback", "latents")}
    return Separating(
        models, own, Chunks(settings.chunk, settings.overlap), settings.seed, settings.float, metrics, settings.device
    )


def _names(settings: Any) -> list[str]:
    """What the sources are called: as told, or as the models, with numbers where that is not enough.

    Raises:
        ConfigError: there are more or fewer than models, two are alike, or one is no name of a file.
    """
    models, given = words(settings.models), words(settings.names)
    if not given:
        plain = [Path(model).parent.name if Path(model).name == "model" else Path(model).name for model in models]
        alike = {name: plain.count(name) for name in plain}
        return [
            name if alike[name] == 1 else f"{name}-{plain[: index + 1].count(name)}" for index, name in enumerate(plain)
        ]
    if len(given) != len(models) or len(set(given)) != len(given) or any(Path(name).name != name for name in given):
        raise ConfigError(f"--names gives each of the {len(models)} sources a name of its own, fit for a file; not "
                          f"{', '.join(given)}")  # fmt: skip
    return given


def _references(settings: Any, found: list[tuple[Path, Path]], names: Sequence[str]) -> list[Mapping[Path, Path]]:
    given = words(settings.references)
    if given and len(given) != len(names):
        raise ConfigError(f"--references names {len(given)} true sources, and there are {len(names)} models")
    return [beside(each, found, "references") for each in given]


def _items(
    targets: Mapping[Path, tuple[Path, Path]],
    names: Sequence[str],
    references: Sequence[Mapping[Path, Path]],
    out: Path,
) -> list[Item]:
    """An item a mixture. The results of a file that has changed since are taken away, so that they are made anew.

    Raises:
        ConfigError: a result would overwrite an input, or the result of another one.
    """
    items, sources, taken = [], {source.resolve() for source, _ in targets.values()}, set[Path]()
    for target, (source, _) in targets.items():
        parts = [target.with_name(f"{target.stem}.{name}{target.suffix}") for name in names]
        for part in parts:
            if part.resolve() in sources or part in taken:
                raise ConfigError(f"{part} would be written over; choose other --names, or another --out")
            with contextlib.suppress(OSError):
                if part.stat().st_mtime < source.stat().st_mtime:
                    part.unlink()
        taken.update(parts)
        true = tuple(each[source].absolute() for each in references)
        job = SeparationJob(source.absolute(), tuple(part.absolute() for part in parts), true)
        items.append(Item(target.relative_to(out).as_posix(), job, tuple(str(part.relative_to(out)) for part in parts)))
    return items


def _work(items: list[Item], separator: FileSeparator, settings: Any) -> Summary:
    way, out = separator.way, Path(settings.out)
    decided = {
        "models": [f"{name} ({fingerprint(model)})"
                   for name, model in zip(way.models, separator.separator.models, strict=True)],
        "settings": way.settings, "chunks": repr(way.chunks), "seed": way.seed, "float": way.float_samples,
        "names": _names(settings), "references": words(settings.references), "metrics": list(way.metrics),
    }  # fmt: skip
    logging.getLogger("dynvae.work").setLevel(logging.ERROR)  # what has failed is told at the end
    if settings.overwrite:
        (out / JOURNAL).unlink(missing_ok=True)
    with progress_bar() as bar:
        task = bar.add_task("separate", total=len(items))
        alone = len(items) == 1 or settings.workers == 0
        return run_work(
            items, (lambda: separator) if alone else partial(FileSeparator, way), out, settings=decided,
            engine=settings.engine, workers=0 if alone else settings.workers,
            report=lambda done, total: bar.update(task, completed=done, total=total),
        )  # fmt: skip


def _report(summary: Summary, settings: Any, way: Separating, names: Sequence[str]) -> dict[str, Any]:
    files = [{"name": name, **value} for name, value in summary.values.items()]
    scored = [file["scores"] for file in files if all("separated" in each for each in file.get("scores", [{}]))]
    scores = {
        source: {
            side: {
                name: dataclasses.asdict(summarize(_number(row[index][side][name]) for row in scored))
                for name in way.metrics
            }
            for side in ("mixture", "separated")
        }
        for index, source in enumerate(names)
        if scored
    }
    return {
        "models": list(way.models), "sources": list(names), "settings": way.settings, "files": files,
        "failed": dict(summary.failed), "scores": scores, "seconds": summary.seconds,
    }  # fmt: skip


def _number(value: Any) -> float:
    return value if isinstance(value, float | int) else float("nan")


def _lines(report: dict[str, Any], summary: Summary) -> Iterator[str]:
    for file in report["files"]:
        shares = ", ".join(
            f"{name} {100 * share:.0f} %" for name, share in zip(report["sources"], file["energy"], strict=True)
        )
        yield f"{file['name']}: {file['seconds']:.1f} s, real-time factor {file['real_time_factor']:.2f}, {shares}"
    yield summary.lines()[0]
    for source, sides in report["scores"].items():
        for name, before in sides["mixture"].items():
            after = sides["separated"][name]
            if before["mean"] is not None and after["mean"] is not None:
                change = f"{METRICS[name].label} {before['mean']:.2f} → {after['mean']:.2f} {METRICS[name].unit}"
                yield f"{source}: {change.rstrip()}, mean of {after['n']}"
