"""``dynvae data get NAME --out DIR``: download a corpus that anyone may have."""

from __future__ import annotations

__all__ = ["run", "verb_parser"]

from collections.abc import Sequence
from pathlib import Path

from rich.progress import DownloadColumn, TransferSpeedColumn

from dynvae.cli.parsing import Parser, make_parser
from dynvae.cli.progress import progress_bar, progress_of
from dynvae.cli.telling import notice, tell, writes
from dynvae.data.download import Archive, download, unpack
from dynvae.data.known import DOWNLOADS
from dynvae.errors import ConfigError

DESCRIPTION = f"""Download a corpus, with checksums, and unpack it: {", ".join(DOWNLOADS)}. The same command goes on
where it was stopped."""
EXAMPLES = ("dynvae data get librispeech-mini --out corpora/mini",)


def run(arguments: list[str]) -> int:
    """Download, unpack, and return 0."""
    settings = verb_parser(arguments).parse_args(arguments)
    if settings.name not in DOWNLOADS:
        raise ConfigError(f"{settings.name!r} cannot be downloaded; {', '.join(DOWNLOADS)} can")
    folder = Path(settings.out)
    writes("data get", settings.name, folder)
    files = {archive.name: _fetch(archive, folder, settings.keep) for archive in DOWNLOADS[settings.name]}
    kind = "librispeech" if settings.name.startswith("librispeech") else settings.name
    lines = [f"{name}: {count} files in {folder}" for name, count in files.items() if count is not None]
    then = f"dynvae data prepare {kind} {folder}"
    found = {"folder": str(folder), "archives": files, "next": then}
    tell(found, [*lines, f"next: {then}"], as_json=settings.json)
    return 0


def verb_parser(arguments: Sequence[str] = ()) -> Parser:
    """The parser of the verb."""
    parser = make_parser("data get", DESCRIPTION, EXAMPLES)
    parser.add_argument("name", type=str, help="which corpus")
    parser.add_argument("--out", type=str, required=True, help="folder for it")
    parser.add_argument("--keep", action="store_true", help="keep the archives when they are unpacked")
    return parser


def _fetch(archive: Archive, folder: Path, keep: bool) -> int | None:
    """Download and unpack one archive, and count its files; None where that was done before."""
    done = folder / f".{archive.name}.done"
    if done.is_file() and done.read_text(encoding="utf-8").strip() == archive.digest:
        notice("data get", f"{archive.name} is here already")
        return None
    with progress_bar(DownloadColumn(), TransferSpeedColumn()) as bar:
        task = bar.add_task(archive.name, total=None)
        path = download(archive, folder, lambda here, whole: bar.update(task, completed=here, total=whole))
    with progress_of(f"unpacking {archive.name}") as report:
        count = unpack(path, folder, lambda files: report(files, None))
    done.write_text(archive.digest, encoding="utf-8")
    if not keep:
        path.unlink()
    return count
