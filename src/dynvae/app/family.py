"""The tab *The family*: what each member is, derived from its declared dependencies, and what it has reached."""

from __future__ import annotations

__all__ = ["benchmark", "graphs", "story", "tab", "titles"]

import functools

import torch

from dynvae.app.desk import Desk
from dynvae.app.pictures import picture
from dynvae.models import DVAE, PRESETS, ZOO, build
from dynvae.report import draw_graph
from dynvae.report.html import table
from dynvae.report.measured import COLUMNS, measured
from dynvae.report.style import figure

SIZES = {"x_dim": 257, "z_dim": 16}
"""At which parameters are counted (Bie et al., 2021)."""
SCORES = ("si_sdr", "pesq_raw", "estoi", "elbo")
ALSO = {"srnn": ("srnn", "srnn-ss")}
"""Other rows of the benchmark that are of the same model."""
ABOUT = """A dynamical VAE models a sequence of observations x with a sequence of latents z. Every member of the family
is a simplification of one equation, and declares it; all that is shown here follows from that declaration."""
JOINT = r"""$$p(\mathbf{x}_{1:T}, \mathbf{z}_{1:T}) = \prod_{t=1}^{T} p(\mathbf{x}_t \mid \mathbf{z}_{1:t},
\mathbf{x}_{1:t-1})\, p(\mathbf{z}_t \mid \mathbf{z}_{1:t-1}, \mathbf{x}_{1:t-1})$$"""


@functools.cache
def _model(name: str) -> DVAE:
    with torch.device("meta"):  # its size is wanted, not its weights
        return build(name, **SIZES)


def titles() -> list[tuple[str, str]]:
    """What the members are called, and their names.

    Example:
        >>> titles()[0]
        ('vae: Variational autoencoder', 'vae')
    """
    return [(f"{name}: {ZOO[kind].title}", name) for name, (kind, _) in PRESETS.items()]


def story(name: str) -> str:
    """A member's equations, exact posterior and properties, as Markdown with LaTeX.

    Raises:
        ConfigError: there is no such member.
    """
    model = _model(name)
    declared = model.dependencies
    parameters = sum(parameter.numel() for parameter in model.parameters())
    lines = [
        f"## {model.title}",
        f"{model.paper} · `{name}` · {parameters:,} parameters at {SIZES['x_dim']} bins and {SIZES['z_dim']} latent "
        "dimensions",
        "#### Generative model and encoder",
        f"$${declared.latex()}$$",
        "#### Exact posterior, by d-separation",
        f"$${declared.exact_posterior().latex()}$$",
        "#### Properties",
        *(
            f"- {'✓' if getattr(declared, tick) else '–'} **{tick.replace('_', ' ')}**: {why}"
            for tick, why in declared.reasons().items()
        ),
    ]
    if declared.note:
        lines.append(f"\n*{declared.note}*")
    # Headings and formulas need a line of their own, items of a list must not have one.
    return "\n\n".join(lines[:6]) + "\n\n" + lines[6] + "\n\n" + "\n".join(lines[7:])


def graphs(name: str) -> str:
    """The drawn graphs of the generative model and of the encoder, as HTML."""
    declared = _model(name).dependencies
    rows = 2 + (declared.sequence_latent is not None) + len(tuple(declared.inputs))
    drawing = figure(4.4, 0.6 + 1.75 * rows)
    for ax, inference in zip(drawing.subplots(2, 1), (False, True), strict=True):
        draw_graph(declared, ax, inference=inference)
        ax.set_title("encoder" if inference else "generative model", fontsize=10)
    return picture(drawing, f"graphs of {name} over three frames: generative model and encoder")


def benchmark(name: str) -> str:
    """A member's rows of the benchmark, as HTML; if it has none, that is said."""
    wanted = ALSO.get(name, (name,))
    rows = [row for row in measured() if row.model in wanted]
    if not rows:
        return "<p>No row of the benchmark: this member was measured on other data, or is a variant.</p>"
    head = ("model", *(COLUMNS[score] for score in SCORES))
    cells = [(f"{row.title} ({row.mode})" if row.mode else row.title,
              *(" ± ".join(row.scores[score]).replace("-", "−") for score in SCORES)) for row in rows]  # fmt: skip
    return table(head, cells)


def tab(desk: Desk) -> None:
    """Build the tab."""
    gr = desk.gr
    latex = [{"left": "$$", "right": "$$", "display": True}, {"left": "$", "right": "$", "display": False}]
    gr.Markdown(" ".join(ABOUT.split()), elem_classes="about")
    gr.Markdown(JOINT, latex_delimiters=latex, elem_classes="formula")
    name = gr.Dropdown(titles(), value="srnn", label="member", elem_id="family-name")
    with gr.Row(equal_height=False):
        with gr.Column(scale=1, min_width=300):
            told = gr.Markdown(story("srnn"), latex_delimiters=latex, elem_id="family-story", elem_classes="formula")
        with gr.Column(scale=1, min_width=300):
            drawn = gr.HTML(graphs("srnn"), elem_id="family-graphs")
    gr.Markdown("#### Benchmark\nTrained on half an hour of LibriSpeech: analysis-resynthesis of 64 utterances of "
                "speakers never heard, mean ± half of the 95 % interval.")  # fmt: skip
    scores = gr.HTML(benchmark("srnn"), elem_id="family-scores")
    desk.quick(name.change, lambda chosen: (story(chosen), graphs(chosen), benchmark(chosen)), [name],
               [told, drawn, scores])  # fmt: skip
