"""``dynvae push MODEL org/name``: a model or a run, with its card, on the hub."""

from __future__ import annotations

__all__ = ["run", "verb_parser"]

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dynvae.cli.inputs import stem
from dynvae.cli.parsing import Parser, make_parser, read_yaml
from dynvae.cli.telling import count, tell, writes
from dynvae.errors import ConfigError
from dynvae.evaluation.cards import card_to_publish, find_results
from dynvae.pretrained import load, save
from dynvae.pretrained.hub import FILES, check_repository, publish
from dynvae.pretrained.names import locate
from dynvae.pretrained.storage import CARD, CONFIG

DESCRIPTION = """Publish a model, or the best weights of a training run, on the Hugging Face hub: its configuration, its
weights and a card that tells data, settings, what was measured (by evaluations of these weights, in the run's folder or
in evaluation/) and the licence. The token that may write is taken from HF_TOKEN, or from `hf auth login`."""
EXAMPLES = (
    "dynvae push runs/srnn some-one/srnn-speech --license cc-by-4.0",
    "dynvae push runs/srnn some-one/srnn-speech --license mit --dry-run   # show the card, and send nothing",
    "dynvae push runs/srnn some-one/srnn-speech --card card.yaml --private --revision trial",
)


def run(arguments: list[str]) -> int:
    """Publish, and say where."""
    settings = verb_parser(arguments).parse_args(arguments)
    name = settings.repository
    if settings.model is None or name is None:
        raise ConfigError("give a model and where to publish it: dynvae push MODEL organisation/name")
    check_repository(name)
    model, folder = load(settings.model), locate(settings.model)
    own = _own_card(settings.card) | ({"license": settings.license} if settings.license else {})
    saved = json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("card") or {}
    known = [Path(settings.model) / "evaluation", Path("evaluation") / stem(settings.model)]  # where evaluate writes
    results = find_results(model, [Path(path) for path in settings.results] or known)
    if settings.results and not results:
        raise ConfigError(f"{', '.join(settings.results)}: there is no evaluation of these weights (a summary.json)")
    card = card_to_publish(saved, results, own) | {"repository": name}
    with tempfile.TemporaryDirectory() as temporary:
        ready = save(model, temporary, card)
        sizes = {file: (ready / file).stat().st_size for file in FILES}
        text = (ready / CARD).read_text(encoding="utf-8")
        to = f"{name}{'@' + settings.revision if settings.revision else ''}"
        found: dict[str, Any] = {"repository": name, "files": sizes, "evaluations": len(results), "card": text}
        if settings.dry_run:
            lines = [f"would publish {file}, {size:,} bytes" for file, size in sizes.items()]
            tell(found, [*lines, f"to {to}, with this card:", "", text], as_json=settings.json)
            return 0
        work = (
            f"{', '.join(FILES)} ({sum(sizes.values()) / 1e6:.1f} MB, {count(len(results), 'evaluation')} in the card)"
        )
        writes("push", work, f"{to} on the hub{' (private, if it is new)' * settings.private}")
        done = publish(
            ready, name, private=settings.private or None, revision=settings.revision, message=settings.message
        )
    tell({**found, **done._asdict()}, [f"{done.url} ({done.revision}): commit {done.commit}",
         f'dynvae.load("{to}") loads it'], as_json=settings.json)  # fmt: skip
    return 0


def verb_parser(arguments: Sequence[str] = ()) -> Parser:
    """The parser of the verb."""
    parser = make_parser("push", DESCRIPTION, EXAMPLES)
    add: Any = parser.add_argument
    add("model", nargs="?", type=str, help="a run's or a model's folder, or a bundled name")
    add("repository", nargs="?", type=str, help="organisation/name; made where it is missing")
    add(
        "--license",
        type=str,
        default=None,
        help="as the hub spells it: mit, cc-by-4.0, ...; needed, if the card has none",
    )
    add(
        "--card", type=str, default=None, help="a YAML file of entries for the card (title, description, datasets, ...)"
    )
    add("--results", type=str, nargs="+", default=[], help="folders of evaluations of these weights, for the card")
    add("--private", action="store_true", help="make a repository that only those see who may")
    add("--revision", type=str, default=None, help="branch, made where it is missing; the main one by default")
    add("--message", type=str, default=None, help="of the commit")
    add("--dry-run", action="store_true", help="show the files and the card, and send nothing")
    return parser


def _own_card(path: str | None) -> dict[str, Any]:
    """The entries of a YAML file.

    Raises:
        ConfigError: it cannot be read, or holds something else.
    """
    if path is None:
        return {}
    content = read_yaml(path, f"--card {path}")
    if not isinstance(content, dict):
        raise ConfigError(f"--card {path} holds no entries such as 'license: mit'")
    return content
