"""The model zoo: every preset with its equations, graph and properties, from its declared dependencies."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from typing import Any

import torch

from dynvae.cli.info import MARKS, PAPER, TICKS
from dynvae.dependencies import Dependencies
from dynvae.models import PRESETS, ZOO, build
from dynvae.report.graphs import draw_graph
from dynvae.report.style import figure


def pages(folder: Path) -> dict[str, str]:
    """One page; the pictures are written beside it."""
    parts = [
        "# The model zoo",
        "Every name that `dynvae train` takes. Equations, graphs and properties are derived from what each model "
        "declares, and the tests differentiate the code to prove that it depends on exactly that. *Autoregressive* "
        "(AR): past x is fed back. *True posterior* (true q): the encoder sees everything that the exact posterior "
        "depends on. *Dynamical z*: the prior sees past latents. Parameters are counted for "
        f"{PAPER['x_dim']} observed and {PAPER['z_dim']} latent dimensions a frame. In the graphs observations are "
        "grey; what is inferred (right) follows dashed arrows.",
    ]
    models = {name: _model(name) for name in PRESETS}
    parts.append(_table(models))
    parts += [_section(name, model, folder) for name, model in models.items()]
    return {"zoo": "\n\n".join(parts) + "\n"}


def _model(name: str) -> Any:
    with torch.device("meta"):  # its size is wanted, not its weights
        return build(name, **PAPER)


def _size(model: Any) -> str:
    return f"{sum(parameter.numel() for parameter in model.parameters()):,}"


def _table(models: dict[str, Any]) -> str:
    lines = ["| name | paper | AR | true q | dyn. z | parameters |", "|:--|:--|:-:|:-:|:-:|--:|"]
    for name, model in models.items():
        ticks = [MARKS[getattr(model.dependencies, tick)] for tick in TICKS]
        lines.append(f"| [`{name}`](#{name}) | {model.paper} | {' | '.join(ticks)} | {_size(model)} |")
    return "\n".join(lines)


def _section(name: str, model: Any, folder: Path) -> str:
    declared = model.dependencies
    kind, preset = PRESETS[name]
    facts = [f"{label} {MARKS[getattr(declared, tick)]}" for tick, label in TICKS.items()]
    arguments = ", ".join(f"`{key}: {value}`" for key, value in preset.items())
    setting = f" It is `{kind}` with {arguments}." if preset else ""
    parts = [
        f"({name})=\n## {name}",
        f"{model.title} ({model.paper}), {{py:class}}`dynvae.models.{ZOO[kind].__name__}`.{setting}",
        _math(declared.latex()),
        "Exact posterior, by d-separation:",
        _math(declared.exact_posterior().latex()),
        " · ".join(facts) + f" · {_size(model)} parameters" + (f"\n\n{declared.note}" if declared.note else ""),
    ]
    path = folder / "graphs" / f"{name}.svg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_graphs(declared))
    parts.append(f"```{{image}} graphs/{path.name}\n:alt: generative and inference graph of {name}\n:width: 100%\n```")
    return "\n\n".join(parts)


@cache
def _graphs(declared: Dependencies) -> bytes:
    """What is generated on the left, what is inferred on the right; legible on white and on black."""
    fig = figure(8.8, 3.4)
    for ax, inference in zip(fig.subplots(1, 2), (False, True), strict=True):
        draw_graph(declared, ax, inference=inference)
    content = io.BytesIO()
    fig.savefig(content, format="svg", transparent=True, metadata={"Date": None})
    return content.getvalue()


def _math(latex: str) -> str:
    return f"```{{math}}\n{latex}\n```"
