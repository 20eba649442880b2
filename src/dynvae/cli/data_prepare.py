"""``dynvae data prepare KIND SRC``: the manifest of a corpus that lies below a folder."""

from __future__ import annotations

__all__ = ["run", "verb_parser"]

from collections.abc import Sequence
from pathlib import Path

from dynvae.cli.parsing import Parser, make_parser
from dynvae.cli.progress import progress_of
from dynvae.cli.telling import notice, tell
from dynvae.data.known import KNOWN, prepare_corpus
from dynvae.errors import DataError

DESCRIPTION = f"""Write the manifest of a corpus that lies below a folder, and compare it with a whole copy:
{", ".join(KNOWN)}, or folder for any other."""
EXAMPLES = (
    "dynvae data prepare wsj0 /corpora/wsj0",
    "dynvae data prepare folder recordings --out mine.csv   # then: dynvae train vae --data mine.csv@recordings ...",
)


def run(arguments: list[str]) -> int:
    """Write the manifest, and return 0.

    Raises:
        DataError: the copy is not whole, and --partial was not given.
    """
    settings = verb_parser(arguments).parse_args(arguments)
    source = Path(settings.source)
    out = source / "manifest.csv" if settings.out is None else Path(settings.out)
    with progress_of("reading headers") as report:
        corpus, differences = prepare_corpus(settings.kind, source, report)
    for line in differences:
        notice("data prepare", f"{settings.kind}: {line}")
    if differences and not settings.partial:
        raise DataError(f"{source}: not a whole copy of {KNOWN[settings.kind].title}, in {len(differences)} ways; "
                        "get the rest, or accept it with --partial")  # fmt: skip
    corpus.write_manifest(out)
    hours = sum(utterance.seconds or 0.0 for utterance in corpus) / 3600
    splits = dict(sorted(corpus.splits.items()))
    data = str(source if out == source / "manifest.csv" else f"{out}@{source}")
    lines = [
        f"{out}: {len(corpus)} files, {hours:.2f} hours, {len(corpus.speakers)} speakers; "
        + ", ".join(f"{split} {count}" for split, count in splits.items()),
        f"use it as --data {data}",
    ]
    found = {"manifest": str(out), "files": len(corpus), "hours": hours, "speakers": len(corpus.speakers),
             "splits": splits, "differences": differences, "data": data}  # fmt: skip
    tell(found, lines, as_json=settings.json)
    return 0


def verb_parser(arguments: Sequence[str] = ()) -> Parser:
    """The parser of the verb."""
    parser = make_parser("data prepare", DESCRIPTION, EXAMPLES)
    parser.add_argument("kind", type=str, help="which corpus")
    parser.add_argument("source", type=str, help="folder that it lies in")
    parser.add_argument("--out", type=str, default=None, help="manifest to write; SRC/manifest.csv by default")
    parser.add_argument("--partial", action="store_true", help="accept a copy that is not whole")
    return parser
