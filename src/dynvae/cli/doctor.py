"""``dynvae doctor``: what is installed, what is missing, and how to get it."""

from __future__ import annotations

__all__ = ["run"]

import json

from dynvae.cli.parsing import make_parser
from dynvae.report.environment import describe, environment


def run(arguments: list[str]) -> int:
    """Print the facts, and return 0."""
    parser = make_parser("doctor", "Versions, processors, devices, and extras of this installation.")
    parser.add_argument("--json", action="store_true", help="as one JSON object")
    options = parser.parse_args(arguments)
    facts = environment()
    if options.json:
        print(json.dumps(facts, indent=2, ensure_ascii=False))
        return 0
    lines = describe(facts)
    width = max(len(name) for name, _ in lines)
    for name, text in lines:
        print(f"{name:<{width}}  {text}")
    return 0
