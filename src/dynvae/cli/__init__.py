"""The command line, ``dynvae VERB ...``: one thin module a verb, imported only when it is asked for."""

from __future__ import annotations

__all__ = ["VERBS", "main"]

import importlib
import os
import signal
import sys
from difflib import get_close_matches
from typing import NamedTuple

from dynvae.errors import DynvaeError


class Verb(NamedTuple):
    """Where a verb lives and what it does, in one line."""

    module: str
    help: str


VERBS = {
    "train": Verb("train", "train a model on a folder of audio"),
    "evaluate": Verb("evaluate", "measure a model by analysis-resynthesis"),
    "enhance": Verb("enhance", "remove noise from speech"),
    "separate": Verb("separate", "take a recording apart into its sources"),
    "track": Verb("track", "follow people through a film by their detected boxes"),
    "resynthesize": Verb("resynthesize", "pass audio files through a model and write them back"),
    "transfer": Verb("transfer", "give a clip of sound and lips latents of another, or make what it lacks"),
    "interpolate": Verb("interpolate", "go from a clip of sound and lips to another, latent by latent"),
    "generate": Verb("generate", "draw new sequences from a model"),
    "distance": Verb("distance", "measure how far generated sound is from real sound"),
    "benchmark": Verb("benchmark", "train and compare several models in one table"),
    "info": Verb("info", "equations, graph and properties of the models"),
    "convert": Verb("convert", "turn published weights into a dynvae model"),
    "check": Verb("check", "scan a data set for files that would make trouble"),
    "data": Verb("data", "get or make a corpus"),
    "doctor": Verb("doctor", "versions, devices and extras of this installation"),
}


def usage() -> str:
    """The text of ``dynvae --help``."""
    width = max(map(len, VERBS))
    lines = [f"  {name:<{width}}  {verb.help}" for name, verb in VERBS.items()]
    return "\n".join(
        ["usage: dynvae VERB [options]", "", "Dynamical variational autoencoders.", "", *lines, "",
         "dynvae VERB --help tells the options of a verb; dynvae --version tells the version."]
    )  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Run one verb and return the exit code: 0 done, 2 bad input, 130 and 143 when interrupted or terminated.

    Args:
        arguments: the words after ``dynvae``; those of this process by default.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    if not words or words[0] in {"-h", "--help", "help"}:
        print(usage())
        return 0 if words else 2
    if words[0] == "--version":
        from dynvae import __version__

        print(f"dynvae {__version__}")
        return 0
    name, rest = words[0], words[1:]
    if name not in VERBS:
        near = get_close_matches(name, VERBS, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else "; dynvae --help lists them"
        print(f"dynvae: there is no verb '{name}'{hint}", file=sys.stderr)
        return 2
    try:
        return int(importlib.import_module(f"dynvae.cli.{VERBS[name].module}").run(rest) or 0)
    except DynvaeError as error:
        print(f"dynvae {name}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output has gone, as in `dynvae info | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt as error:  # by a signal, whose number and consequences work over many files tells
        print(f"dynvae {name}: {str(error) or 'interrupted'}", file=sys.stderr)
        return 128 + int(getattr(error, "signum", signal.SIGINT))
