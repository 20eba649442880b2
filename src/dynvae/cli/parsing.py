"""Parsers whose complaints are one line each, with the nearest name for a key that does not exist."""

from __future__ import annotations

__all__ = ["Parser", "demand", "make_parser", "nearest", "read_yaml", "words"]

import re
from argparse import Action
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from textwrap import indent
from typing import Any, NoReturn

import yaml
from jsonargparse import ArgumentParser, DefaultHelpFormatter

from dynvae.errors import ConfigError

_UNKNOWN = (
    (re.compile(r"unrecognized arguments: (\S+)"), "{0}"),
    (re.compile(r"Group '([^']*)' does not accept option '([^']*)'"), "{0}.{1}"),
    (re.compile(r"Option '([^']*)' is not accepted"), "{0}"),
)


class _Help(DefaultHelpFormatter):
    """Help that leaves examples as they are, and has no list of sixty options before it says what the verb does."""

    def _get_help_string(self, action: Action) -> str:
        """Without what says nothing: that a text is a str, a choice one of its choices, that nothing is null."""
        text = super()._get_help_string(action)
        kind = self._get_type_str(action) or ""
        if kind.startswith("Literal[") or set(kind.replace("|", " ").split()) <= {"str", "None", "Optional[str]"}:
            text = re.sub(r"type: %\(type\)s(, )?", "", text)
        if action.default is None or action.nargs == 0:
            text = re.sub(r"(, )?default: %\(default\)s", "", text)
        if not action.option_strings:
            text = re.sub(r"required(, )?", "", text)  # as the usage tells
        return text.replace(" ()", "").replace(", )", ")")

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith("examples:"):
            return text
        return "\n\n".join(super(_Help, self)._fill_text(part, width, indent) for part in text.split("\n\n"))

    def add_usage(self, usage: str | None, actions: Iterable[Action], groups: Any, prefix: str | None = None) -> None:
        """The words that a command must have, and that it may have options."""
        words = [action for action in actions if not action.option_strings or action.required]
        super().add_usage(usage, words, [], prefix)

    def _format_usage(self, usage: str | None, actions: Any, groups: Any, prefix: str | None) -> str:
        text = super()._format_usage(usage, actions, groups, prefix)
        return text if usage is not None else text.rstrip("\n") + " [options]\n\n"


class Parser(ArgumentParser):
    """A jsonargparse parser that raises :class:`~dynvae.errors.ConfigError` where others print their usage."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Turn a complaint into one line.

        Raises:
            ConfigError: always.
        """
        for pattern, form in _UNKNOWN:
            if found := pattern.search(message):
                word = form.format(*found.groups()).partition("=")[0]
                raise ConfigError(self._unknown(word)) from ex
        raise ConfigError(_one_line(message)) from ex

    def _unknown(self, word: str) -> str:
        """What to say of a key that does not exist: with dashes from the command line, without them from a file."""
        options = {action.dest: (action.option_strings or [action.dest])[0] for action in self._actions}
        near = nearest(word.lstrip("-").replace("-", "_"), options.keys() - {"help", "print_config"})
        if near is None:
            return f"there is no setting '{word}'; {self.prog} --help lists them"
        return f"there is no setting '{word}'; did you mean '{options[near] if word.startswith('-') else near}'?"


def nearest(key: str, names: Iterable[str]) -> str | None:
    """The name most like a dotted key: by the whole of it, or else by its last part."""
    names = sorted(names)
    whole = get_close_matches(key, names, n=1, cutoff=0.6)
    if whole:
        return whole[0]
    last = {name.rpartition(".")[2]: name for name in names}
    part = get_close_matches(key.rpartition(".")[2], last, n=1, cutoff=0.6)
    return last[part[0]] if part else None


def make_parser(
    verb: str, description: str, examples: Sequence[str] = (), *, json: bool = True, **options: Any
) -> Parser:
    """The parser of ``dynvae VERB``.

    Abbreviated options are not taken: a new option must not change the meaning of an old command.

    Args:
        verb: e.g. ``"train"``.
        description: the first lines of ``--help``.
        examples: commands that end it, each with a word on what it does after two spaces and a ``#``.
        json: whether the verb has ``--json``.
        options: for jsonargparse.ArgumentParser.
    """
    epilog = "examples:\n" + indent("\n".join(examples), "  ") if examples else None
    parser = Parser(
        prog=f"dynvae {verb}", description=description, epilog=epilog, formatter_class=_Help, allow_abbrev=False,
        default_env=False, **options,
    )  # fmt: skip
    if json:
        parser.add_argument("--json", action="store_true", help="print what came out as JSON, and nothing else")
    return parser


def demand(options: Any, verb: str, *keys: str) -> None:
    """Options that may stand in a file of settings, and so are not the parser's to require.

    Raises:
        ConfigError: one of them is not given.
    """
    for key in keys:
        if getattr(options, key) is None:
            raise ConfigError(f"give --{key}; dynvae {verb} --help tells the options")


def words(value: Any) -> list[Any]:
    """The items of a list, or of a text with commas between them; none of nothing."""
    items = value.split(",") if isinstance(value, str) else value or []
    return [item for item in (one.strip() if isinstance(one, str) else one for one in items) if item != ""]


def read_yaml(path: str, called: str) -> Any:
    """What a YAML file of the user's holds.

    Args:
        path: of the file.
        called: what a complaint calls it.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ConfigError(f"{called} cannot be read as YAML: {reason}") from error


def _one_line(message: str) -> str:
    text = re.sub(r"<class '([^']*)'>", r"\1", message)
    text = re.sub(r'Parser key "([^"]*)":', r"\1:", text)
    text = re.sub(r"Does not validate against any of the Union subtypes.*?Errors:", "", text, flags=re.DOTALL)
    return " ".join(text.split())
