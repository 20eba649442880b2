"""``dynvae distance GENERATED REFERENCE``: how far generated sound is from real sound."""

from __future__ import annotations

__all__ = ["run", "verb_parser"]

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dynvae.audio import AUDIO_SUFFIXES
from dynvae.cli.parsing import Parser, make_parser
from dynvae.cli.progress import progress_bar
from dynvae.cli.telling import tell
from dynvae.data import Corpus
from dynvae.errors import ConfigError, DataError
from dynvae.evaluation import RealSound, clip_features, find_clips
from dynvae.metrics import EXTRACTORS, Comparison, Spread, distance_names, extractor

DESCRIPTION = """Fréchet and kernel distance of generated sound to real sound, beside those of other real sound to it,
below which nothing can be expected. All sides are cut into clips of --seconds and have equally many. Numbers compare at
equal features, seconds, clips and parts alone. The features are those of --extractor: log-mel needs nothing;
deepspeech2 takes weights that you have, and gives FDSD and KDSD; onnx takes any network from clips (n, samples) to
(n, d) or (n, frames, d); so does torchscript, but its file is a program that runs with your rights: load none that you
do not trust."""
EXAMPLES = (
    "dynvae distance clips speech --split test",
    "dynvae distance clips speech --floor other-speech --json",
)


def run(arguments: list[str]) -> int:
    """Measure, and return 0.

    Raises:
        DynvaeError: sound, features or a setting cannot be used.
    """
    settings = verb_parser(arguments).parse_args(arguments)
    if settings.splits < 1 or settings.trim_db < 0:
        raise ConfigError(f"splits ({settings.splits}) must be positive, and trim_db ({settings.trim_db}) not negative")
    features = extractor(settings.extractor, settings.weights, settings.rate)
    sides = [_folder(settings.generated), _real(settings.reference, settings.split)]
    floor = None if settings.floor is None else _real(settings.floor, settings.split)
    _refuse_same(sides[1], floor)
    pieces = find_clips(sides[0], settings.seconds, features.sample_rate, seed=settings.seed)
    needed = settings.number or 2 * settings.splits
    if len(pieces) < needed:
        raise DataError(f"{settings.generated} gives {len(pieces)} clips of {settings.seconds:g} s, "
                        f"where {needed} are needed")  # fmt: skip
    with progress_bar() as bar:
        task = bar.add_task("features", total=None)

        def show(name: str) -> Any:
            bar.update(task, description=name, completed=0, total=None)
            return lambda done, total: bar.update(task, completed=done, total=total)

        real = RealSound.of(
            sides[1],
            settings.number,
            features,
            at_most=len(pieces),
            seconds=settings.seconds,
            splits=settings.splits,
            floor=floor,
            trim_db=settings.trim_db or None,
            seed=settings.seed,
            report=show("real sound"),
        )
        generated = clip_features(
            pieces[: len(real.reference)], settings.seconds, features, report=show("generated sound")
        )
    found = real.distances(generated, settings.splits)
    names = distance_names(features)
    if not settings.json:
        _show(found, settings, features.name, names)
        return 0
    given = {"generated": settings.generated, "reference": settings.reference, "floor": settings.floor}
    told = {**given, "features": features.name, "names": names, "seconds": settings.seconds, **found.to_dict()}
    tell(told, (), as_json=True)
    return 0


def verb_parser(arguments: Sequence[str] = ()) -> Parser:
    """The parser of the verb."""
    parser = make_parser("distance", DESCRIPTION, EXAMPLES)
    add: Any = parser.add_argument
    add("generated", type=str, help="folder of sound files, e.g. of dynvae generate")
    add("reference", type=str, help="real sound: a folder, a manifest (.csv, .jsonl), or 'builtin'")
    add("--floor", type=str, default=None,
        help="other real sound; by default half of the reference's files are taken for it")  # fmt: skip
    add("--split", type=str, default=None, help="part of the reference and the floor, e.g. train; all by default")
    add("--extractor", type=Literal[tuple(EXTRACTORS)], default="log-mel", help="what the clips are compared by")
    add("--weights", type=str, default=None, help="file of the extractor's network")
    add("--rate", type=int, default=None, help="that an onnx or torchscript network takes, in Hz; 16000 by default")
    add("-n", "--number", type=int, default=None, help="clips on each side; as many as there are by default")
    add("--seconds", type=float, default=1.6, help="length of a clip")
    add("--splits", type=int, default=5, help="disjoint parts that each distance is computed on")
    add("--trim-db", type=float, default=30.0,
        help="cut quiet ends of real sound before, so many decibels below the loudest frame; 0 keeps them")  # fmt: skip
    add("--seed", type=int, default=0, help="of the choice of clips")
    return parser


def _folder(given: str) -> list[Path]:
    """All sound files below a folder.

    Raises:
        DataError: there are none.
    """
    if not Path(given).is_dir():
        raise DataError(f"{given}: no such folder")
    files = [path for path in Path(given).rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file()]
    if not files:
        raise DataError(f"{given}: there are no sound files in this folder")
    return sorted(files)


def _real(given: str, split: str | None) -> list[Path]:
    """The files of a folder, a manifest or the built-in corpus.

    Raises:
        DataError: there are none.
    """
    if split is None and Path(given).is_dir():
        return _folder(given)
    corpus = Corpus.open(given)
    return [Path(utterance.path) for utterance in (corpus if split is None else corpus.split(split))]


def _refuse_same(reference: list[Path], floor: list[Path] | None) -> None:
    """Real sound that is compared with itself would make a floor that nothing can reach.

    Raises:
        ConfigError: a file is on both sides.
    """
    both = {path.resolve() for path in reference} & {path.resolve() for path in floor or []}
    if both:
        raise ConfigError(f"{min(both)} is in the reference and in the floor; they must not share files")


def _show(found: Comparison, settings: Any, name: str, names: tuple[str, str]) -> None:
    """The distances as a table for people."""
    parts = f"{found.splits} parts of {found.n // found.splits}" if found.splits > 1 else "one part"
    title = f"{settings.generated} against {settings.reference}"
    caption = (
        f"{found.n} clips of {settings.seconds:g} s on each side, {parts}; {name} features, {found.d} of a clip\n"
        "mean ± deviation over the parts"
    )
    table = Table(title=Text(title), title_justify="left", caption=Text(caption), caption_justify="left")
    for heading in ("", "generated", "real (the floor)"):
        table.add_column(heading, justify="left" if not heading else "right")
    rows = zip(names, ((found.frechet, found.frechet_floor), (found.kernel, found.kernel_floor)), strict=True)
    for label, pair in rows:
        table.add_row(f"{label} ↓", *map(_cell, pair))
    Console().print(table)


def _cell(spread: Spread) -> str:
    return f"{spread.mean:.4g} ± {spread.deviation:.2g}"
