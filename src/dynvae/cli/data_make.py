"""``dynvae data make builtin``: speak the built-in corpus."""

from __future__ import annotations

__all__ = ["run", "verb_parser"]

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from dynvae.cli.parsing import Parser, make_parser
from dynvae.cli.progress import progress_of
from dynvae.cli.telling import tell, writes
from dynvae.data.builtin import builtin_corpus, make_builtin

DESCRIPTION = """Speak the built-in corpus with espeak-ng (pip install 'dynvae[synth]'): a quarter of an hour, sixteen
voices, the same bytes every time."""
EXAMPLES = ("dynvae data make builtin --out speech   # then: dynvae train vae --data speech --out runs/vae",)


def run(arguments: list[str]) -> int:
    """Make it, and return 0."""
    settings = verb_parser(arguments).parse_args(arguments)
    if settings.out is None:
        folder = builtin_corpus()
    else:
        folder = Path(settings.out)
        with progress_of("speaking", partial(writes, "data make", "the built-in corpus", folder)) as report:
            make_builtin(folder, progress=report)
    data = "builtin" if settings.out is None else str(folder)
    line = f"{folder} holds the built-in corpus; use it as --data {data}"
    tell({"folder": str(folder), "data": data}, [line], as_json=settings.json)
    return 0


def verb_parser(arguments: Sequence[str] = ()) -> Parser:
    """The parser of the verb."""
    parser = make_parser("data make", DESCRIPTION, EXAMPLES)
    parser.add_argument("name", type=Literal["builtin"], help="which corpus")
    parser.add_argument("--out", type=str, default=None, help="new folder; the cache by default")
    return parser
