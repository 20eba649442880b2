"""``dynvae doctor``: what is installed, what is missing, and how to get it."""

from __future__ import annotations

__all__ = ["run", "verb_parser"]

from collections.abc import Sequence

from dynvae.cli.parsing import Parser, make_parser
from dynvae.cli.telling import tell
from dynvae.report.environment import describe, environment

DESCRIPTION = "Versions, processors, devices, and extras of this installation."
EXAMPLES = ("dynvae doctor", "dynvae doctor --json > machine.json")


def run(arguments: list[str]) -> int:
    """Print the facts, and return 0."""
    settings = verb_parser(arguments).parse_args(arguments)
    facts = environment()
    lines = describe(facts)
    width = max(len(name) for name, _ in lines)
    tell(facts, (f"{name:<{width}}  {text}" for name, text in lines), as_json=settings.json)
    return 0


def verb_parser(arguments: Sequence[str] = ()) -> Parser:
    """The parser of the verb."""
    return make_parser("doctor", DESCRIPTION, EXAMPLES)
