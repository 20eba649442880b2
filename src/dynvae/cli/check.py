"""``dynvae check``: scan a data set before it is used."""

from __future__ import annotations

__all__ = ["run", "verb_parser"]

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from dynvae.cli.parsing import Parser, make_parser
from dynvae.cli.progress import progress_bar
from dynvae.cli.telling import tell
from dynvae.data import Corpus, Utterance
from dynvae.data.corpus import sound_files
from dynvae.data.scan import NOTES, PROBLEMS, Scan, scan
from dynvae.data.scan_lips import has_lips, scan_lips
from dynvae.errors import ConfigError
from dynvae.video import VIDEO_SUFFIXES

_DESCRIPTION = """Look at every file of a data set: readable, whole, finite, not silent, not clipped, not twice there.
Where there are lips or videos with the sound: readable, a face in sight, as long as the sound, moving, upright. Videos
can also be checked alone, a file or a folder of them.

Exit code 0: nothing that must be mended; 1: problems were found; 2: the data set cannot be opened at all."""
EXAMPLES = ("dynvae check speech", "dynvae check manifest.csv --strict --json > findings.json")
_SHOWN = 5  # files of each kind


def run(arguments: list[str]) -> int:
    """Scan a data set, tell what was found, and return 0 when nothing must be mended, else 1."""
    options = verb_parser(arguments).parse_args(arguments)
    if options.rate < 1 or options.workers < 1:
        raise ConfigError("--rate and --workers are positive")
    corpus, sounds = _open(options.data)
    with progress_bar() as progress:
        task = progress.add_task("checking", total=len(corpus))
        result = Scan(len(corpus), splits=corpus.splits, speakers=len(corpus.speakers))
        if sounds:
            result = scan(corpus, options.rate, window_length=options.rate * 64 // 1000, workers=options.workers,
                          progress=lambda done, _: progress.update(task, completed=done))  # fmt: skip
        if not sounds or has_lips(corpus):
            task = progress.add_task("looking", total=len(corpus))
            scan_lips(corpus, result, lambda done, _: progress.update(task, completed=done))
    if options.json:
        tell(result.to_dict(), (), as_json=True)
    else:
        _print(result)
    return int(bool(result.findings if options.strict else result.of(PROBLEMS)))


def verb_parser(arguments: Sequence[str] = ()) -> Parser:
    """The parser of the verb."""
    parser = make_parser("check", _DESCRIPTION, EXAMPLES)
    parser.add_argument("data", type=str, help="folder of sound files or videos, manifest (.csv, .jsonl), a video, or "
                        "builtin")  # fmt: skip
    parser.add_argument("--rate", type=int, default=16000, help="sampling rate that the model wants, in Hz")
    parser.add_argument("--workers", type=int, default=2, help="files examined at once")
    parser.add_argument("--strict", action="store_true", help="count notes (rate, channels, offset) as problems")
    return parser


def _open(source: str) -> tuple[Corpus, bool]:
    """The data set, and whether its files are sound; otherwise they are videos."""
    path = Path(source)
    if path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES:
        return Corpus(path.parent, [Utterance(path.absolute(), path.name, "", "")]), False
    if path.is_dir() and not any(path.glob("manifest.*")) and next(sound_files(path), None) is None:
        return Corpus.from_folder(path, VIDEO_SUFFIXES), False
    return Corpus.open(source), True


def _print(result: Scan) -> None:
    console = Console(highlight=False, emoji=False, markup=False)
    splits = ", ".join(f"{split} {count}" for split, count in sorted(result.splits.items()))
    rates = ", ".join(f"{rate} Hz ({count})" for rate, count in result.rates.items())
    summary = f"{result.files} files, {result.seconds / 60:.1f} minutes, {result.speakers} speakers; {splits}; {rates}"
    console.print(summary, soft_wrap=True)
    kinds = Counter(finding.kind for finding in result.findings)
    for kind in (kind for kind in PROBLEMS | NOTES if kind in kinds):
        found = result.of([kind])
        for finding in found[:_SHOWN]:
            line = f"{kind}: {finding.file}: {finding.detail}"
            console.print(line.encode("utf-8", "backslashreplace").decode(), soft_wrap=True)
        if len(found) > _SHOWN:
            console.print(f"{kind}: and {len(found) - _SHOWN} more; --json lists all")
    if kinds:
        table = Table("finding", "files", "what it means")
        for kind, meaning in (PROBLEMS | NOTES).items():
            if kind in kinds:
                table.add_row(kind, str(kinds[kind]), meaning)
        console.print(table)
    problems = len(result.of(PROBLEMS))
    console.print(f"{problems} problems, {len(result.findings) - problems} notes" if kinds else "no problems")
