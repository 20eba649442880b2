"""The command line, ``dynvae VERB ...``: one thin module a verb, imported only when it is asked for."""

from __future__ import annotations

__all__ = ["VERBS", "main", "verb_module"]

import importlib
import os
import signal
import sys
from difflib import get_close_matches
from types import ModuleType
from typing import NamedTuple

from dynvae.errors import DynvaeError


class Verb(NamedTuple):
    """Where a verb lives and what it does, in one line."""

    module: str
    help: str


VERBS = {
    "train": Verb("train", "train a model on a folder of audio"),
    "train mask": Verb("mask", "train the supervised baseline of speech enhancement"),
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
    "benchmark enhancement": Verb("benchmark_enhancement", "compare ways to enhance speech"),
    "benchmark audiovisual": Verb("benchmark_audiovisual", "compare models that see lips"),
    "benchmark separation": Verb("benchmark_separation", "compare ways to separate sources"),
    "benchmark tracking": Verb("benchmark_tracking", "compare ways to track"),
    "info": Verb("info", "equations, graph and properties of the models"),
    "serve": Verb("serve", "show what the models do, as a page for a browser"),
    "export": Verb("export", "write a model as ONNX graphs, for runtimes without PyTorch"),
    "push": Verb("push", "publish a model or a run on the hub"),
    "convert": Verb("convert", "turn published weights into a dynvae model"),
    "check": Verb("check", "scan a data set for files that would make trouble"),
    "data make": Verb("data_make", "make the built-in corpus"),
    "data get": Verb("data_get", "download a corpus that anyone may have"),
    "data prepare": Verb("data_prepare", "write the manifest of a corpus, and say whether it is whole"),
    "data lips": Verb("data_lips", "cut the mouths out of videos, for models that see lips"),
    "completion": Verb("completion", "have the shell complete verbs and options"),
    "doctor": Verb("doctor", "versions, devices and extras of this installation"),
}
"""By name, which is one word or two; the longest that a command begins with is meant."""


def verb_module(name: str) -> ModuleType:
    """The module of a verb: ``run(arguments)`` returns the exit code, ``verb_parser(arguments)`` the parser.

    What options a verb has may depend on the arguments: on the model that is to be trained, for one.
    """
    return importlib.import_module(f"dynvae.cli.{VERBS[name].module}")


def usage(group: str = "") -> str:
    """The text of ``dynvae --help``, or of the verbs that begin with a word."""
    shown = {name: verb for name, verb in VERBS.items() if not group or name.startswith(f"{group} ")}
    width = max(map(len, shown))
    lines = [f"  {name:<{width}}  {verb.help}" for name, verb in shown.items()]
    first = f"usage: dynvae {group} VERB [options]" if group else "usage: dynvae VERB [options]"
    return "\n".join(
        [first, "", "Dynamical variational autoencoders.", "", *lines, "",
         f"dynvae {f'{group} ' * bool(group)}VERB --help tells the options of a verb, with examples; dynvae --version "
         "the version.",
         "Exit codes: 0 done; 1 done, and something was found or failed on the way; 2 bad input; 130, 143 stopped."]
    )  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Run one verb and return the exit code.

    It is 0 when all is done, 1 when all is done and something was found wrong or failed on the way, 2 for bad input,
    and 130 or 143 when interrupted or terminated.

    Args:
        arguments: the words after ``dynvae``; those of this process by default.
    """
    if arguments is None and "OMP_WAIT_POLICY" not in os.environ:  # a program of its own, torch not yet imported
        # Threads of GNU's OpenMP spin while they wait: ten times as slow where other programs want the cores, too.
        # Threads that sleep at once are slower on an idle machine. So they spin for a moment.
        os.environ.setdefault("GOMP_SPINCOUNT", "4000")
    words = sys.argv[1:] if arguments is None else list(arguments)
    if not words or words[0] in {"-h", "--help", "help"}:
        print(usage())
        return 0 if words else 2
    if words[0] == "--version":
        from dynvae import __version__

        print(f"dynvae {__version__}")
        return 0
    name = next((name for name in (" ".join(words[:2]), words[0]) if name in VERBS), None)
    if name is None:
        return _no_verb(words)
    try:
        return int(verb_module(name).run(words[len(name.split()) :]) or 0)
    except DynvaeError as error:
        print(f"dynvae {name}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output has gone, as in `dynvae info | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:  # a full disk, a folder that may not be written to
        if error.filename is None and error.strerror is None:
            raise
        place = f"{error.filename}: " if error.filename is not None else ""
        print(f"dynvae {name}: {place}{error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:  # by a signal, whose number and consequences work over many files tells
        print(f"dynvae {name}: {str(error) or 'interrupted'}", file=sys.stderr)
        return 128 + int(getattr(error, "signum", signal.SIGINT))


def _no_verb(words: list[str]) -> int:
    """Say what verbs there are instead of the one that was asked for."""
    group = words[0]
    inside = [name for name in VERBS if name.startswith(f"{group} ")]
    if inside and (len(words) == 1 or words[1] in {"-h", "--help"}):
        print(usage(group))
        return 0 if len(words) > 1 else 2
    asked = " ".join(words[:2]) if inside else group
    near = get_close_matches(asked, inside or VERBS, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"dynvae {f'{group} ' * bool(inside)}--help lists them"
    print(f"dynvae: there is no verb '{asked}'; {hint}", file=sys.stderr)
    return 2
