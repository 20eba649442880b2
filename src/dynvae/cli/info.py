"""``dynvae info [MODEL ...]``: what the models are, from their declared dependencies."""

from __future__ import annotations

__all__ = ["describe", "run", "verb_parser"]

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from dynvae.cli.parsing import Parser, make_parser, nearest
from dynvae.cli.telling import notice, tell
from dynvae.errors import ConfigError
from dynvae.models import DVAE, PRESETS, build
from dynvae.models.recursive import RecursiveDVAE, Use
from dynvae.pretrained import bundled, load
from dynvae.pretrained.names import locate
from dynvae.pretrained.storage import CONFIG
from dynvae.recurrence.text import describe as programs

DESCRIPTION = """Equations, exact posterior, properties and size of the models of the zoo, or of saved models. Without a
name: the table of the zoo's properties."""

PAPER = {"x_dim": 257, "z_dim": 16}
"""The setting that parameters are counted at: 32 ms windows at 16 kHz and 16 latent dimensions (Bie et al., 2021)."""

PROGRAMS: dict[Use, str] = {
    "inference": "inference",
    "teacher-forced": "prior and likelihood, teacher forced",
    "sampling": "ancestral sampling",
}
TICKS = {
    "autoregressive": "Autoregressive",
    "true_posterior": "True posterior",
    "dynamical_latent": "Dynamical z",
}
MARKS = {True: "✓", False: "−"}
CONVENTION = """Autoregressive: past x is fed back. True posterior: the encoder sees everything that the exact posterior
depends on. Dynamical z: the prior sees past latents. (The published table leaves the true posterior
of the static VAE blank, though its encoder has the exact structure.)"""
EXAMPLES = (
    "dynvae info                    # the table of the zoo",
    "dynvae info srnn rvae          # equations, exact posterior, properties",
    "dynvae info srnn-speech --json # of a saved model also its settings and card",
)


def run(arguments: list[str]) -> int:
    """Print what is asked for, and return 0.

    Raises:
        DynvaeError: there is no such model, or the plot cannot be written.
    """
    settings = verb_parser(arguments).parse_args(arguments)
    if settings.plot is not None and Path(settings.plot).suffix.lower() != ".png":
        raise ConfigError(f"--plot {settings.plot}: graphs are drawn as PNG; give a name that ends in .png")
    names = list(dict.fromkeys(settings.models or PRESETS))
    models = {name: _model(name) for name in names}
    records = [describe(name, model) for name, model in models.items()]
    pages = (_page(record, models[record["name"]], full=settings.full) for record in records)
    tell(records, ["\n\n".join(pages) if settings.models else _table(records)], as_json=settings.json)
    if settings.plot is not None:
        from dynvae.report.graphs import dependency_figure
        from dynvae.report.style import save

        figure = dependency_figure({name: model.dependencies for name, model in models.items()})
        try:
            save(figure, settings.plot)
        except OSError as error:
            raise ConfigError(f"--plot {settings.plot} cannot be written: {error.strerror or error}") from error
        notice("info", f"graphs: {settings.plot}")
    return 0


def verb_parser(arguments: Sequence[str] = ()) -> Parser:
    """The parser of the verb."""
    parser = make_parser("info", DESCRIPTION, EXAMPLES)
    add: Any = parser.add_argument
    add("models", nargs="*", type=str, help=f"{', '.join(PRESETS)}; or a bundled name, a model's or a run's folder, "
        "or a name on the hub; all of the zoo by default")  # fmt: skip
    add("--full", action="store_true", help="of the models named also LaTeX, and what is in each loop")
    add("--plot", type=str, default=None, help="draw the graphs into this PNG file")
    return parser


def describe(name: str, model: DVAE) -> dict[str, Any]:
    """What is known of a model, fit for JSON; of a saved one also its arguments, front end and card."""
    declared = model.dependencies
    record = {
        "name": name,
        "title": model.title,
        "paper": model.paper,
        "equations": declared.equations(),
        "latex": declared.latex(),
        "exact_posterior": declared.exact_posterior().text(),
        "exact_posterior_latex": declared.exact_posterior().latex(),
        **{tick: getattr(declared, tick) for tick in TICKS},
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }
    if name not in PRESETS:
        saved = json.loads((locate(name) / CONFIG).read_text(encoding="utf-8"))
        front_end = None if model.front_end is None else model.front_end.to_dict()
        record |= {"model": saved["model"], "config": model.config, "front_end": front_end, "card": saved.get("card")}
    return record


def _model(name: str) -> DVAE:
    if name in PRESETS:
        with torch.device("meta"):  # its size is wanted, not its weights
            return build(name, **PAPER)
    if not Path(name).exists() and "/" not in name and name not in bundled():
        near = nearest(name, [*PRESETS, *bundled()])
        hint = f"did you mean '{near}'?" if near else f"there are {', '.join([*PRESETS, *bundled()])}"
        raise ConfigError(f"there is no model or folder '{name}'; {hint}")
    return load(name)


def _table(records: list[dict[str, Any]]) -> str:
    head = ["Model", "Paper", *TICKS.values(), "Parameters"]
    rows = [
        [record["name"], record["paper"], *(MARKS[record[tick]] for tick in TICKS), f"{record['parameters']:,}"]
        for record in records
    ]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = []
    for row in (head, ["─" * width for width in widths], *rows):
        left, ticks, right = row[:2], row[2:-1], row[-1]
        cells = [text.ljust(width) for text, width in zip(left, widths, strict=False)]
        cells += [text.center(width) for text, width in zip(ticks, widths[2:], strict=False)]
        lines.append("  ".join([*cells, right.rjust(widths[-1])]))
    counted = f"Parameters at {PAPER['x_dim']} bins and {PAPER['z_dim']} latent dimensions."
    return "\n".join([*lines, "", CONVENTION, counted])


def _page(record: dict[str, Any], model: DVAE, *, full: bool) -> str:
    declared = model.dependencies
    reasons = declared.reasons()
    size = f"{record['parameters']:,}, for {model.x_dim} observed and {model.z_dim} latent dimensions a frame"
    lines = [
        f"{record['name']}: {record['title']} ({record['paper']})",
        "",
        _indented(record["equations"]),
        "",
        "Exact posterior, by d-separation:",
        _indented(record["exact_posterior"]),
        "",
        *(f"{label:<15} {MARKS[record[tick]]} {reasons[tick]}" for tick, label in TICKS.items()),
        f"{'Parameters':<15} {size}",
    ]
    if declared.note:
        lines.append(f"{'Note':<15} {declared.note}")
    for key, label in (("config", "Arguments"), ("front_end", "Front end"), ("card", "Card")):
        if isinstance(record.get(key), dict) and record[key]:
            items = "\n".join(f"{name}: {_plain(value)}" for name, value in record[key].items())
            lines += ["", f"{label}:", _indented(items)]
    if not full:
        return "\n".join(lines)
    if isinstance(model, RecursiveDVAE):
        lines += ["", "Computed so; what is not in a loop, for all frames at once:"]
        for use, title in PROGRAMS.items():
            lines += [f"  {title}", _indented(_indented(programs(model.schedule(use))))]
    return "\n".join([*lines, "", "LaTeX:", _indented(record["latex"]), _indented(record["exact_posterior_latex"])])


def _plain(value: Any) -> str:
    """A value in one line that no terminal takes for a command: cards are written by anybody."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
