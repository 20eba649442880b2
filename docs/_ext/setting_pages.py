"""The verbs' options and the settings of a training run, from the parsers that read them."""

from __future__ import annotations

import re
from argparse import SUPPRESS, Action
from collections.abc import Iterable
from typing import Any

from dynvae.cli import VERBS, verb_module
from dynvae.cli.train import verb_parser as train_parser
from dynvae.models import ZOO

_ROLE = re.compile(r":\w+:`~?([^`]+)`")
_CODE = re.compile(r"(``.*?``|`[^`]*`)")
_SPECIAL = re.compile(r"([\\*_{}\[\]<>$#|])")
_NOT_SETTINGS = ("_HelpAction", "_ActionPrintConfig", "_ActionConfigLoad")


def pages() -> dict[str, str]:
    """A page a verb, and one for all settings of a training run."""
    return {f"cli/{name.replace(' ', '-')}": _verb(name) for name in VERBS} | {"settings": _settings()}


def _verb(name: str) -> str:
    parser = verb_module(name).verb_parser(())
    parts = [f"# dynvae {name}", _markdown(parser.description or ""), _fence("text", parser.format_usage())]
    if parser.epilog:
        parts += ["**Examples**", _fence("bash", re.sub(r"(?m)^  ", "", parser.epilog.partition("\n")[2]))]
    for title, actions in _groups(parser):
        if name == "train" and title:
            continue
        parts += [f"**{title or 'Options'}**", *(_definition(action, _flags(action)) for action in actions)]
    if name == "train":
        parts += [
            "The settings `train.*`, `lips.*` and `model.*` are options as well, e.g. `--train.epochs 50`: they have "
            "[a page of their own](../settings.md)."
        ]
    return "\n\n".join(parts) + "\n"


def _settings() -> str:
    parts = [
        "# Settings of a training run",
        "Keys of the file that `dynvae train --config FILE` takes, and of the `config.yaml` that every run writes. "
        "Each is also an option: `train: {epochs: 50}` in the file is `--train.epochs 50` on the command line, which "
        "wins. An unknown key is an error that names the nearest known one.",
    ]
    groups = dict(_groups(train_parser()))
    headings = {None: "Data, run and machine", "How to train": "train", "lips": "lips"}
    for title, actions in groups.items():
        heading = headings.get(title, "lips")
        keys = [action for action in actions if action.dest not in ("config", "json")]
        parts += [f"## {heading}", *(_definition(action, action.dest) for action in keys)]
    models = {name: _model_settings(name) for name in ZOO}
    common = set.intersection(*(set(settings) for settings in models.values()))
    some = next(iter(models.values()))
    parts += [
        "## model: in every member",
        "Preset names (`rvae-causal`, `mopoe`, ...) are members with other defaults.",
    ]
    parts += [text for key, text in some.items() if key in common]
    for name, settings in models.items():
        own = [text for key, text in settings.items() if key not in common]
        parts += [f"## model: {name}", *(own or ["Nothing of its own."])]
    return "\n\n".join(parts) + "\n"


def _model_settings(name: str) -> dict[tuple[str, str], str]:
    """The settings of a member, by key and text: the same under both names is the same setting."""
    found = {}
    for _, actions in _groups(train_parser([name])):
        for action in actions:
            if action.dest.startswith("model.") and action.dest != "model.codecs":  # which --codecs gives
                text = _definition(action, action.dest)
                found[action.dest, text] = text
    return found


def _groups(parser: Any) -> Iterable[tuple[str | None, list[Action]]]:
    """The options by their groups; those that are in none come first, under no title."""
    plain: list[Action] = []
    titled = []
    for group in parser._action_groups:
        actions = [a for a in group._group_actions if type(a).__name__ not in _NOT_SETTINGS and a.help != SUPPRESS]
        if group.title in ("positional arguments", "options"):
            plain += actions
        elif actions:
            titled.append((group.title, actions))
    return [(None, plain), *titled]


def _flags(action: Action) -> str:
    flags = [flag for flag in action.option_strings if not flag.endswith("+")]
    return ", ".join(flags) or action.dest.upper()


def _definition(action: Action, name: str) -> str:
    facts = [kind] if (kind := _kind(action)) else []
    if action.required and action.option_strings:
        facts.append("required")
    elif action.default not in (None, SUPPRESS) and action.nargs != 0:
        facts.append(f"default `{_value(action.default)}`")
    term = f"`{name}`" + (f" ({', '.join(facts)})" if facts else "")
    return f"{term}\n: {_markdown(action.help or '')}"


def _kind(action: Action) -> str:
    """The type, or the values that there are."""
    if action.nargs == 0:
        return "switch"
    kind = getattr(action, "_typehint", None) or action.type
    text = getattr(kind, "__name__", "") if isinstance(kind, type) else re.sub(r"\b(\w+\.)+", "", str(kind or ""))
    if found := re.findall(r"Literal\[(.*?)\]", text):
        return " or ".join(f"`{word.strip()}`" for word in found[0].replace("'", "").split(","))
    return "" if text in ("", "str", "str | None", "Optional[str]") else f"`{text}`"


def _value(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(map(str, value)) + "]"
    return {True: "true", False: "false"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def _markdown(text: str) -> str:
    """Plain text, with the code of docstrings, as Markdown."""
    text = _ROLE.sub(lambda found: f"`{found[1].rpartition('.')[2]}`", text.replace("%%", "%"))
    parts = _CODE.split(" ".join(text.split()) if "\n\n" not in text else text)
    return "".join(part if at % 2 else _SPECIAL.sub(r"\\\1", part) for at, part in enumerate(parts)).replace("\n", " ")


def _fence(language: str, text: str) -> str:
    return f"```{language}\n{text.strip()}\n```"
