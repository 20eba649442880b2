"""``dynvae convert FILE OUT``: turn published weights into a dynvae model."""

from __future__ import annotations

__all__ = ["run"]

from pathlib import Path
from typing import Any, Literal

from dynvae.audio import FRONT_ENDS, FrontEnd
from dynvae.cli.parsing import make_parser
from dynvae.errors import ConfigError
from dynvae.pretrained.published import convert

DESCRIPTION = """Turn a file of published weights (.pt: VAE, DKF, STORN, VRNN, SRNN, RVAE or DSAE of the DVAE
benchmarks) into a folder that every command takes as MODEL. Only tensors are read from the file, never code."""


def run(arguments: list[str]) -> int:
    """Convert, and say what came out."""
    parser = make_parser("convert", DESCRIPTION)
    add: Any = parser.add_argument
    add("file", nargs="?", type=str, help="the published weights")
    add("out", nargs="?", type=str, help="the folder to write")
    add("--ini", type=str, default=None, help="their settings, where the file is not beside them")
    add("--window", type=Literal[tuple(FRONT_ENDS)], default=None, help="window of the STFT, where no settings tell")
    settings = parser.parse_args(arguments)
    if settings.file is None or settings.out is None:
        raise ConfigError("give a file and a folder: dynvae convert FILE OUT")
    if Path(settings.out).is_file():
        raise ConfigError(f"{settings.out} is a file; give the name of a folder")
    model = convert(settings.file, settings.out, settings.ini, settings.window)
    count = sum(parameter.numel() for parameter in model.parameters())
    front_end = model.front_end
    heard = (
        f"{front_end.window_length}/{front_end.hop_length} STFT"
        if isinstance(front_end, FrontEnd)
        else "no front end known"
    )
    print(f"{settings.out}: {type(model).__name__}, {count:,} parameters, {model.x_dim} bins ({heard})")
    return 0
