"""``dynvae convert FILE OUT``: turn published weights into a dynvae model."""

from __future__ import annotations

__all__ = ["run", "verb_parser"]

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from dynvae.audio import FRONT_ENDS, FrontEnd
from dynvae.cli.parsing import Parser, make_parser
from dynvae.cli.telling import tell
from dynvae.errors import ConfigError
from dynvae.pretrained.published import convert

DESCRIPTION = """Turn a file of published weights (.pt: VAE, DKF, STORN, VRNN, SRNN, RVAE or DSAE of the DVAE
benchmarks) into a folder that every command takes as MODEL. Only tensors are read from the file, never code."""
EXAMPLES = (
    "dynvae convert SRNN_final_epoch500.pt models/srnn",
    "dynvae convert weights.pt models/vae --window 32ms   # where no settings lie beside the file",
)


def run(arguments: list[str]) -> int:
    """Convert, and say what came out."""
    settings = verb_parser(arguments).parse_args(arguments)
    if settings.file is None or settings.out is None:
        raise ConfigError("give a file and a folder: dynvae convert FILE OUT")
    if Path(settings.out).is_file():
        raise ConfigError(f"{settings.out} is a file; give the name of a folder")
    model = convert(settings.file, settings.out, settings.ini, settings.window)
    size = sum(parameter.numel() for parameter in model.parameters())
    front_end = model.front_end
    sound = front_end if isinstance(front_end, FrontEnd) else None
    heard = f"{sound.window_length}/{sound.hop_length} STFT" if sound is not None else "no front end known"
    found = {
        "out": settings.out, "model": type(model).__name__, "parameters": size, "x_dim": model.x_dim,
        "front_end": None if front_end is None else front_end.to_dict(),
    }  # fmt: skip
    line = f"{settings.out}: {type(model).__name__}, {size:,} parameters, {model.x_dim} bins ({heard})"
    tell(found, [line], as_json=settings.json)
    return 0


def verb_parser(arguments: Sequence[str] = ()) -> Parser:
    """The parser of the verb."""
    parser = make_parser("convert", DESCRIPTION, EXAMPLES)
    add: Any = parser.add_argument
    add("file", nargs="?", type=str, help="the published weights")
    add("out", nargs="?", type=str, help="the folder to write")
    add("--ini", type=str, default=None, help="their settings, where the file is not beside them")
    add("--window", type=Literal[tuple(FRONT_ENDS)], default=None, help="window of the STFT, where no settings tell")
    return parser
