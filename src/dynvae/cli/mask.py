"""``dynvae train mask --data PAIRS --out RUN``: train the supervised baseline of speech enhancement."""

from __future__ import annotations

__all__ = ["run", "verb_parser"]

import sys
from collections.abc import Sequence
from typing import Any, Literal

from dynvae.audio import FRONT_ENDS
from dynvae.baselines import MaskNetwork
from dynvae.cli.parsing import Parser, demand, make_parser
from dynvae.training import TrainConfig
from dynvae.training.machine import flush_denormals
from dynvae.training.mask import train_mask

DESCRIPTION = """Train a mask network, the supervised baseline of speech enhancement, on pairs of clean and noisy files,
or on clean speech and noise that are mixed on the way. The folder of the run is that of any other training."""
EXAMPLES = (
    "dynvae train mask --data speech --noise noise --out runs/mask",
    "dynvae train mask --out runs/mask --resume",
)


def run(arguments: list[str]) -> int:
    """Train, and return 0; 130 or 143 if a signal has stopped the run, whose state is then saved."""
    from dynvae.cli.train import chosen_machine, say_plainly, tell_outcome, with_saved_config

    settings = verb_parser(arguments).parse_args(with_saved_config(arguments))
    demand(settings, "train mask", "data", "out")
    flush_denormals()
    say_plainly()
    outcome = train_mask(
        data=settings.data,
        out=settings.out,
        noise=settings.noise,
        snr=settings.snr,
        model=settings.model.as_dict(),
        front_end=settings.front_end,
        train=TrainConfig(**settings.train.as_dict()),
        machine=chosen_machine(settings),
        resume=settings.resume,
        progress=sys.stderr.isatty() and settings.progress,
    )
    resume = f"dynvae train mask --out {settings.out} --resume"
    return tell_outcome(outcome, resume, "log-likelihood", as_json=settings.json)


def verb_parser(arguments: Sequence[str] = ()) -> Parser:
    """The parser of the verb."""
    from dynvae.cli.train import add_machine

    parser = make_parser("train mask", DESCRIPTION, EXAMPLES)
    add: Any = parser.add_argument
    add("--config", action="config", help="a YAML file of settings; options that follow win over it")
    add("--name", type=Literal["mask"], default="mask", help="as the settings of a run tell it")
    add("--data", type=str, help="pairs: a manifest with the columns clean and noisy, or a folder that holds one, or "
        "folders of clean and of noisy files; with --noise a corpus of clean speech")  # fmt: skip
    add("--noise", type=str | None, default=None, help="a corpus of noise, with the splits train and valid")
    add("--snr", type=tuple[float, float], default=(-5.0, 20.0), help="lowest and highest ratio of the mixtures, in dB")
    add("--out", type=str, help="folder of the run")
    add("--front-end", type=Literal[tuple(FRONT_ENDS)], default="64ms", help="window of the STFT")
    add("--resume", action="store_true", help="go on from the newest whole checkpoint of the run, if it has one")
    add("--progress", type=bool, default=True, help="a progress bar, where there is a terminal")
    add_machine(add)
    parser.add_class_arguments(MaskNetwork, "model", skip={"x_dim"})
    parser.add_class_arguments(TrainConfig, "train")
    return parser
