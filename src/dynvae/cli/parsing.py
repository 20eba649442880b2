"""Parsers whose complaints are one line each, with the nearest name for a key that does not exist."""

from __future__ import annotations

__all__ = ["Parser", "demand", "make_parser"]

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, NoReturn

from jsonargparse import ArgumentParser

from dynvae.errors import ConfigError

_UNKNOWN = (
    (re.compile(r"unrecognized arguments: (\S+)"), "{0}"),
    (re.compile(r"Group '([^']*)' does not accept option '([^']*)'"), "{0}.{1}"),
    (re.compile(r"Option '([^']*)' is not accepted"), "{0}"),
)


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


def make_parser(verb: str, description: str, **options: Any) -> Parser:
    """The parser of ``dynvae VERB``.

    Abbreviated options are not taken: a new option must not change the meaning of an old command.

    Args:
        verb: e.g. ``"train"``.
        description: the first lines of ``--help``.
        options: for jsonargparse.ArgumentParser.
    """
    return Parser(prog=f"dynvae {verb}", description=description, allow_abbrev=False, default_env=False, **options)


def demand(options: Any, verb: str, *keys: str) -> None:
    """Options that may stand in a file of settings, and so are not the parser's to require.

    Raises:
        ConfigError: one of them is not given.
    """
    for key in keys:
        if getattr(options, key) is None:
            raise ConfigError(f"give --{key}; dynvae {verb} --help tells the options")


def _one_line(message: str) -> str:
    text = re.sub(r"<class '([^']*)'>", r"\1", message)
    text = re.sub(r'Parser key "([^"]*)":', r"\1:", text)
    text = re.sub(r"Does not validate against any of the Union subtypes.*?Errors:", "", text, flags=re.DOTALL)
    return " ".join(text.split())
