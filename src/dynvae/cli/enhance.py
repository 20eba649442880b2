"""``dynvae enhance INPUT... --out DIR``: remove noise from speech."""

from __future__ import annotations

__all__ = ["run", "verb_parser"]

import contextlib
import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from dynvae.cli.inputs import beside, kept_suffix, sound_inputs, sound_targets
from dynvae.cli.parsing import Parser, make_parser, words
from dynvae.cli.pipe import live, piped
from dynvae.cli.progress import progress_bar
from dynvae.cli.telling import count, notice, tell, writes
from dynvae.data import Utterance
from dynvae.data.lips import LipSettings, lips_path
from dynvae.errors import ConfigError, DataError, require
from dynvae.evaluation.enhancing import Enhancing, FileEnhancer, FileJob
from dynvae.evaluation.run import fingerprint
from dynvae.metrics import METRICS, summarize
from dynvae.testtime import streaming
from dynvae.testtime.enhancement import DEFAULT_PRIOR
from dynvae.testtime.long import Chunks
from dynvae.testtime.online import Online
from dynvae.testtime.presets import PRESETS, Preset, preset
from dynvae.training.machine import flush_denormals
from dynvae.video import VIDEO_SUFFIXES
from dynvae.video.alignment import Interpolation
from dynvae.video.lips import LIP_SUFFIXES
from dynvae.work import JOURNAL, Item, Summary
from dynvae.work import run as run_work

DESCRIPTION = """Remove noise from speech, by a model that has heard clean speech only. Inputs are sound files of any
rate and number of channels, folders, manifests (.csv, .jsonl), or - for a WAV file on standard input, whose result goes
to standard output. A result has its input's length, level, rate, channels and format; below --out the structure of
folders is kept. Long recordings pass in chunks. What was stopped goes on with the same command. A file that cannot be
used keeps no other from being done.

An input can be a video, of which the sound track is enhanced. A prior that sees lips takes them from --video, or else
from the input itself if that is a video, or from a file of the same name beside it (.npz, .npy, a video)."""

EXAMPLES = (
    "dynvae enhance noisy.wav --out enhanced --plots",
    "dynvae enhance recordings --preset fast --workers 2      # a folder, two files at a time",
    "dynvae enhance noisy --clean clean --json > scores.json  # and score it",
    "dynvae enhance - < noisy.wav > enhanced.wav",
    "arecord -f S16_LE -r 16000 | dynvae enhance - --stream --prior vae-speech | aplay",
)


def run(arguments: list[str]) -> int:
    """Enhance every input; return 0, or 2 if some could not be enhanced.

    Raises:
        DynvaeError: the prior, an option or the choice of inputs cannot be used.
    """
    settings = verb_parser(arguments).parse_args(arguments)
    flush_denormals()
    if settings.stream:
        torch.set_num_threads(1)  # a frame is too little work to be shared
    way = _way(settings)
    if way.plots:
        require("matplotlib", "report")  # before the work, not after it
    if "-" in settings.inputs:
        return _pipe(settings, FileEnhancer(way))
    enhancer = FileEnhancer(way)
    found = sound_inputs(settings.inputs, settings.split, videos=True)
    targets = sound_targets(found, Path(settings.out), lambda source: kept_suffix(source, way.float_samples))
    clean = beside(settings.clean, found, "clean")
    items = _items(targets, clean, _lips(settings.video, found, enhancer.sees, way), Path(settings.out))
    writes("enhance", count(len(items), "file"), settings.out)
    summary = _work(items, enhancer, settings)
    for problem in summary.failed.values():
        notice("enhance", problem)
    report = _report(summary, settings, way)
    for file in report["files"]:
        for told in file["notices"]:
            notice("enhance", f"{file['input']}: {told}")
    tell(report, _lines(report, summary), as_json=settings.json)
    return 2 if summary.failed else 0


def verb_parser(arguments: Sequence[str] = ()) -> Parser:
    """The parser of the verb, with the settings of the preset that the arguments name, or of a stream."""
    method, stream = _preset_name(arguments), "--stream" in arguments
    parser = make_parser("enhance", DESCRIPTION, EXAMPLES)
    add: Any = parser.add_argument
    add("inputs", type=str, nargs="+", help="sound files, folders, manifests, or -")
    add("--prior", type=str, default=streaming.DEFAULT_PRIOR if stream else DEFAULT_PRIOR,
        help="model of clean speech: a bundled name, a model's or a run's folder, or a name on the hub; or several "
        "that take turns: vae-mm:A,B (each frame by itself), sw-vae:A,B (a chain)")  # fmt: skip
    add("--preset", type=Literal[tuple(PRESETS)], default=method, help="the method")
    add("--stream", action="store_true",
        help="causal, frame by frame, for a causal prior; latency and real-time factor are told")  # fmt: skip
    add("--out", type=str, default="enhanced", help="folder of the results")
    add(
        "--clean", type=str, default=None, help="clean speech to score against: a file, or a folder with the same names"
    )
    add("--video", type=str, default=None,
        help="lips of the speaker: a video or an array of them, or a folder with the same names")  # fmt: skip
    add("--video-offset", type=float, default=0.0, help="seconds by which the video is late")
    add("--video-interpolation", type=Literal[get_args(Interpolation)], default="nearest",
        help="between the pictures of the video")  # fmt: skip
    add("--metrics", type=str, default="si_sdr,pesq_wb,estoi", help="scores against --clean, with commas between them")
    add("--split", type=str, default=None, help="part of the manifests, e.g. test; all by default")
    add("--plots", action="store_true", help="also draw spectrograms, noise and objective, as PNG")
    add("--float", action="store_true", help="write 32-bit floating-point WAV, which clips nothing")
    add("--seed", type=int, default=0, help="of all random numbers")
    add("--chunk", type=float, default=Chunks().seconds, help="seconds; longer recordings are cut")
    add("--overlap", type=float, default=Chunks().overlap, help="seconds that neighbouring chunks share")
    add("--engine", type=Literal["processes", "ray"], default="processes",
        help="workers on this machine, or on the Ray cluster that RAY_ADDRESS names")  # fmt: skip
    add("--workers", type=int, default=0, help="that work at a time, a core each; 0 for none besides this process")
    add("--overwrite", action="store_true", help="do all files again, also those that are done")
    add("--device", type=str, default="cpu", help="where the model runs, e.g. cuda")
    if stream:
        parser.add_class_arguments(Online, "online")
        return parser
    em = preset(method).em
    add("--iterations", type=int, default=em.iterations, help="of EM")
    for name in ("estep", "noise"):
        part: Any = getattr(em, name)
        defaults = _options(part)
        fixed = {field.name for field in dataclasses.fields(part)} - set(defaults)
        parser.add_class_arguments(type(part), name, skip=fixed)
        parser.set_defaults({f"{name}.{key}": value for key, value in defaults.items()})
    return parser


def _options(part: Any) -> dict[str, Any]:
    """The settings of an E-step or a noise model, without those of another one inside it."""
    values = {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    return {name: value for name, value in values.items() if not dataclasses.is_dataclass(value)}


def _preset_name(arguments: Sequence[str]) -> str:
    """The preset, whose settings are options; an unknown one is refused with the nearest name."""
    name = "default"
    for index, word in enumerate(arguments):
        if word == "--preset" and index + 1 < len(arguments):
            name = arguments[index + 1]
        elif word.startswith("--preset="):
            name = word.partition("=")[2]
    preset(name)
    return name


def _way(settings: Any) -> Enhancing:
    metrics = tuple(words(settings.metrics))
    unknown = [name for name in metrics if name not in METRICS]
    if unknown:
        raise ConfigError(f"there is no metric '{unknown[0]}'; there are {', '.join(METRICS)}")
    method: Preset = preset(settings.preset)
    online = None
    if settings.stream:
        online = Online(**settings.online.as_dict())
    else:
        given = {name: settings.get(name) for name in ("estep", "noise")}
        parts = {name: dataclasses.replace(getattr(method.em, name), **values.as_dict())
                 for name, values in given.items() if values is not None}  # fmt: skip
        method = method.replaced(iterations=settings.iterations, **parts)
    return Enhancing(
        settings.prior, method, online, Chunks(settings.chunk, settings.overlap), settings.seed,
        settings.float, metrics, settings.plots, settings.device,
        LipSettings(offset=settings.video_offset, interpolation=settings.video_interpolation),
    )  # fmt: skip


def _lips(given: str | None, found: list[tuple[Path, Path]], sees: int, way: Enhancing) -> Mapping[Path, Path]:
    """The lips of each source, where it has any.

    Raises:
        ConfigError: there are lips for a prior that sees none, or for a stream.
        DataError: a file is not there.
    """
    if given is not None and not sees:
        raise ConfigError(f"the prior '{way.prior}' hears only: leave --video away, or give a prior that sees lips "
                          "(dynvae train av-cvae)")  # fmt: skip
    if sees and way.online is not None:
        raise ConfigError("a stream has no lips yet; leave --stream away, or give a prior that hears only")
    if not sees:
        return {}
    if given is not None:
        return beside(given, found, "video", LIP_SUFFIXES)
    known = {}
    for source, name in found:
        video = source.suffix.lower() in VIDEO_SUFFIXES
        path = source if video else lips_path(Utterance(source, name.as_posix(), "", ""))
        if path is not None:
            known[source] = path
    if not known:
        raise DataError(f"the prior '{way.prior}' sees lips, and there are none: give them with --video, or beside "
                        f"{found[0][1]} under the same name")  # fmt: skip
    return known


def _items(
    targets: Mapping[Path, tuple[Path, Path]], clean: Mapping[Path, Path], lips: Mapping[Path, Path], out: Path
) -> list[Item]:
    """An item a file. The result of a file that has changed since is taken away, so that it is made anew."""
    items = []
    for target, (source, _) in targets.items():
        with contextlib.suppress(OSError):
            if target.stat().st_mtime < source.stat().st_mtime:
                target.unlink()
        outputs = (str(target.relative_to(out)),)
        others = (path.get(source) for path in (clean, lips))
        job = FileJob(source.absolute(), target.absolute(), *(other and other.absolute() for other in others))
        items.append(Item(target.relative_to(out).as_posix(), job, outputs))
    return items


def _work(items: list[Item], enhancer: FileEnhancer, settings: Any) -> Summary:
    way, out = enhancer.way, Path(settings.out)
    decided = {
        "prior": f"{way.prior} ({' '.join(map(fingerprint, enhancer.models))})", "preset": settings.preset,
        "method": repr(way.online or way.preset), "chunks": repr(way.chunks), "seed": way.seed,
        "float": way.float_samples, "clean": settings.clean, "metrics": list(way.metrics), "plots": way.plots,
    }  # fmt: skip
    if enhancer.sees:
        decided |= {"video": settings.video, "lips": repr(way.lips)}
    logging.getLogger("dynvae.work").setLevel(logging.ERROR)  # what has failed is told at the end
    if settings.overwrite:
        (out / JOURNAL).unlink(missing_ok=True)
    with progress_bar() as bar:
        task = bar.add_task("enhance", total=len(items))

        def progress(iteration: int, iterations: int, objective: float) -> None:
            bar.update(task, description=f"enhance: iteration {iteration} of {iterations}, objective {objective:.3f}")

        alone = len(items) == 1 or settings.workers == 0
        enhancer.progress = progress if alone else None
        return run_work(
            items, (lambda: enhancer) if alone else partial(FileEnhancer, way), out, settings=decided,
            engine=settings.engine, workers=0 if alone else settings.workers,
            report=lambda done, total: bar.update(task, completed=done, total=total),
        )  # fmt: skip


def _report(summary: Summary, settings: Any, way: Enhancing) -> dict[str, Any]:
    out = Path(settings.out)  # as it was given: workers were told whole paths
    files = [{"name": name, **value, "output": str(out / name)} for name, value in summary.values.items()]
    scored = [file["scores"] for file in files if "scores" in file]
    scores = {
        side: {name: dataclasses.asdict(summarize(_number(row[side][name]) for row in scored)) for name in way.metrics}
        for side in ("noisy", "enhanced")
        if scored
    }
    return {
        "prior": way.prior, "preset": None if way.online else settings.preset, "stream": way.online is not None,
        "files": files, "failed": dict(summary.failed), "scores": scores, "seconds": summary.seconds,
    }  # fmt: skip


def _number(value: Any) -> float:
    return value if isinstance(value, float | int) else float("nan")


def _lines(report: dict[str, Any], summary: Summary) -> Iterator[str]:
    yield from map(_line, report["files"])
    yield summary.lines()[0]
    for name, noisy in report["scores"].get("noisy", {}).items():
        after = report["scores"]["enhanced"][name]
        if noisy["mean"] is not None and after["mean"] is not None:
            change = f"{METRICS[name].label}: {noisy['mean']:.2f} → {after['mean']:.2f} {METRICS[name].unit}"
            yield f"{change.rstrip()}, mean of {after['n']}"


def _line(file: Mapping[str, Any]) -> str:
    words = [f"{file['output']}: {file['seconds']:.1f} s, real-time factor {file['real_time_factor']:.2f}"]
    if "latency" in file:
        words.append(f"latency {1000 * file['latency']:.0f} ms")
    before, after = (file.get("scores", {}).get(side, {}).get("si_sdr") for side in ("noisy", "enhanced"))
    if isinstance(before, float) and isinstance(after, float):
        words.append(f"SI-SDR {before:.1f} → {after:.1f} dB")
    return ", ".join(words)


def _pipe(settings: Any, enhancer: FileEnhancer) -> int:
    """Standard input to standard output.

    Raises:
        ConfigError: there are other inputs, or options that need a folder.
    """
    if settings.inputs != ["-"] or settings.json or settings.plots or settings.clean:
        raise ConfigError("standard input (-) is the only input, and its result all that is printed; it goes without "
                          "--json, --plots and --clean")  # fmt: skip
    if enhancer.way.online is not None:
        return live(enhancer.stream)

    def work(source: Path, target: Path) -> None:
        for told in enhancer.enhance(FileJob(source, target))["notices"]:
            notice("enhance", f"standard input: {told}")

    return piped(work)
