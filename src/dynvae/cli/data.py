"""``dynvae data``: make, download or prepare a corpus."""

from __future__ import annotations

__all__ = ["run"]

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TransferSpeedColumn

from dynvae.cli import lips
from dynvae.cli.parsing import make_parser
from dynvae.data.builtin import builtin_corpus, make_builtin
from dynvae.data.download import Archive, download, unpack
from dynvae.data.known import DOWNLOADS, KNOWN, prepare_corpus
from dynvae.errors import ConfigError, DataError

_USAGE = """usage: dynvae data make builtin [--out DIR]
       dynvae data get NAME --out DIR
       dynvae data prepare KIND SRC [--out MANIFEST]
       dynvae data lips SRC [--out DIR]

make     speak the built-in corpus with espeak-ng: a quarter of an hour, sixteen voices, the same bytes every time
get      download a corpus that anyone may have, with checksums; the same command goes on where it was stopped
prepare  write the manifest of a corpus that lies below a folder, and compare it with a whole copy
lips     cut the mouths out of videos, and write them with their sound, for models that see lips

dynvae data make --help, get --help, prepare --help and lips --help tell the options."""


def run(arguments: list[str]) -> int:
    """Run one of make, get, prepare and lips, and return the exit code."""
    verbs = {"make": _make, "get": _get, "prepare": _prepare, "lips": lips.run}
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_USAGE)
        return 0 if arguments else 2
    if arguments[0] not in verbs:
        raise ConfigError(f"there is no 'data {arguments[0]}'; there are {', '.join(verbs)}")
    return verbs[arguments[0]](arguments[1:])


def _make(arguments: list[str]) -> int:
    parser = make_parser("data make", "Make a corpus: builtin, spoken by espeak-ng (pip install 'dynvae[synth]').")
    parser.add_argument("name", type=Literal["builtin"], help="which corpus")
    parser.add_argument("--out", type=str, default=None, help="new folder; the cache by default")
    options = parser.parse_args(arguments)
    if options.out is None:
        folder = builtin_corpus()
    else:
        folder = Path(options.out)
        with _files() as progress:
            make_builtin(folder, progress=_counter(progress, "speaking"))
    print(f"{folder} holds the built-in corpus; use it as --data {'builtin' if options.out is None else folder}")
    return 0


def _get(arguments: list[str]) -> int:
    parser = make_parser("data get", f"Download a corpus: {', '.join(DOWNLOADS)}.")
    parser.add_argument("name", type=str, help="which corpus")
    parser.add_argument("--out", type=str, required=True, help="folder for it")
    parser.add_argument("--keep", action="store_true", help="keep the archives when they are unpacked")
    options = parser.parse_args(arguments)
    if options.name not in DOWNLOADS:
        raise ConfigError(f"{options.name!r} cannot be downloaded; {', '.join(DOWNLOADS)} can")
    folder = Path(options.out)
    for archive in DOWNLOADS[options.name]:
        _fetch(archive, folder, options.keep)
    kind = "librispeech" if options.name.startswith("librispeech") else options.name
    print(f"next: dynvae data prepare {kind} {folder}")
    return 0


def _fetch(archive: Archive, folder: Path, keep: bool) -> None:
    """Download and unpack one archive, unless that was done before."""
    done = folder / f".{archive.name}.done"
    if done.is_file() and done.read_text(encoding="utf-8").strip() == archive.digest:
        return
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(archive.name, total=None)
        path = download(archive, folder, lambda here, whole: progress.update(task, completed=here, total=whole))
    with _files() as counter:
        unpacking = counter.add_task(f"unpacking {archive.name}", total=None)
        count = unpack(path, folder, lambda files: counter.update(unpacking, completed=files))
    done.write_text(archive.digest, encoding="utf-8")
    print(f"{archive.name}: {count} files in {folder}")
    if not keep:
        path.unlink()


def _prepare(arguments: list[str]) -> int:
    parser = make_parser(
        "data prepare", f"Write the manifest of a corpus: {', '.join(KNOWN)}, or folder for any other."
    )
    parser.add_argument("kind", type=str, help="which corpus")
    parser.add_argument("source", type=str, help="folder that it lies in")
    parser.add_argument("--out", type=str, default=None, help="manifest to write; SRC/manifest.csv by default")
    parser.add_argument("--partial", action="store_true", help="accept a copy that is not whole")
    options = parser.parse_args(arguments)
    source = Path(options.source)
    out = source / "manifest.csv" if options.out is None else Path(options.out)
    with _files() as progress:
        corpus, differences = prepare_corpus(options.kind, source, _counter(progress, "reading headers"))
    for line in differences:
        print(f"{options.kind}: {line}", file=sys.stderr)
    if differences and not options.partial:
        raise DataError(f"{source}: not a whole copy of {KNOWN[options.kind].title}, in {len(differences)} ways; "
                        "get the rest, or accept it with --partial")  # fmt: skip
    corpus.write_manifest(out)
    hours = sum(utterance.seconds or 0.0 for utterance in corpus) / 3600
    splits = ", ".join(f"{split} {count}" for split, count in sorted(corpus.splits.items()))
    print(f"{out}: {len(corpus)} files, {hours:.2f} hours, {len(corpus.speakers)} speakers; {splits}")
    print(f"use it as --data {source if out == source / 'manifest.csv' else f'{out}@{source}'}")
    return 0


def _files() -> Progress:
    return Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                    console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())  # fmt: skip


def _counter(progress: Progress, title: str) -> Callable[[int, int], None]:
    task = progress.add_task(title, total=None)
    return lambda done, whole: progress.update(task, completed=done, total=whole)
