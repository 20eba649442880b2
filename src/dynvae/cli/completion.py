"""``dynvae completion SHELL``: a script by which the shell completes verbs, options and file names."""

from __future__ import annotations

__all__ = ["run", "verb_parser"]

import argparse
from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin

from dynvae.cli import VERBS, verb_module
from dynvae.cli.parsing import Parser, make_parser
from dynvae.errors import require
from dynvae.models import PRESETS

DESCRIPTION = """Print a script by which the shell completes verbs, options, choices and file names. It holds all it
needs, so that a completion takes no time; print it anew after an update."""
SHELLS = ("bash", "zsh", "tcsh")
EXAMPLES = (
    "dynvae completion bash > ~/.local/share/bash-completion/completions/dynvae",
    'dynvae completion zsh > "${fpath[1]}/_dynvae"',
    "dynvae completion tcsh | sudo tee /etc/profile.d/dynvae.completion.csh",
)


def run(arguments: list[str]) -> int:
    """Print the script, and return 0."""
    settings = verb_parser(arguments).parse_args(arguments)
    shtab = require("shtab", "completion")
    print(shtab.complete(_everything(shtab.FILE), settings.shell))
    return 0


def verb_parser(arguments: Sequence[str] = ()) -> Parser:
    """The parser of the verb."""
    parser = make_parser("completion", DESCRIPTION, EXAMPLES, json=False)
    parser.add_argument("shell", type=Literal[SHELLS], help="which shell")
    return parser


def _commands() -> dict[tuple[str, ...], Parser]:
    """The parser of every verb, and that of each model's training, by their words."""
    commands = {tuple(name.split()): verb_module(name).verb_parser() for name in VERBS}
    train = verb_module("train").verb_parser
    return commands | {("train", name): train([name]) for name in PRESETS}


def _everything(files: Any) -> argparse.ArgumentParser:
    """One parser with a subparser for each verb, in the plain form that scripts are made of.

    Args:
        files: what tells that a value may be the name of a file.
    """
    root = argparse.ArgumentParser(prog="dynvae")
    root.add_argument("--version", action="store_true", help="tell the version")
    commands, verbs = _commands(), root.add_subparsers()
    for first in dict.fromkeys(words[0] for words in commands):
        inner = [words for words in commands if words[0] == first and len(words) == 2]
        verb = verbs.add_parser(first, help=VERBS[first].help if first in VERBS else "", add_help=False)
        if (first,) in commands:
            _fill(verb, commands[(first,)], files, positionals=not inner)
        group = verb.add_subparsers() if inner else None
        for words in inner:
            assert group is not None
            help_text = VERBS[" ".join(words)].help if " ".join(words) in VERBS else f"train the model {words[1]}"
            own = group.add_parser(words[1], help=help_text, add_help=False)
            _fill(own, commands[words], files, positionals=words[0] != "train")
    return root


def _fill(plain: argparse.ArgumentParser, parser: Parser, files: Any, *, positionals: bool) -> None:
    """Give a plain parser the arguments of a verb's; values without choices, numbers apart, complete to files."""
    for action in parser._actions:
        if not (action.option_strings or positionals):
            continue
        kind = getattr(action, "_typehint", action.type)
        choices = get_args(kind) if get_origin(kind) is Literal else None
        help_text = (action.help or "").replace("%", "%%")
        names = [name for name in action.option_strings if not name.endswith("+")] or [action.dest]
        if action.nargs == 0:
            plain.add_argument(*names, action="store_true", help=help_text)
            continue
        added = plain.add_argument(*names, nargs=action.nargs, choices=choices, help=help_text)
        if choices is None and kind not in (int, float, bool):
            added.complete = files  # type: ignore[attr-defined]
