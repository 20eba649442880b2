"""Draw the family: every member's generative graph from its declaration, beside the others: ``python tools/draw_family.py``.

It writes docs/images/family-light.png and family-dark.png.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from PIL import Image

from dynvae.dependencies import Dependencies
from dynvae.dependencies.equations import LATEX
from dynvae.files import atomic_write
from dynvae.models import build
from dynvae.report import draw_graph
from dynvae.report.style import PAPER, dress, figure

FOLDER = Path(__file__).parent.parent / "docs" / "images"

ROWS = (
    {"VAE": "vae", "DKF": "dkf", "KVAE": "kvae", "RVAE, causal": "rvae-causal"},
    {"RVAE": "rvae", "STORN": "storn", "VRNN": "vrnn", "SRNN": "srnn"},
    {"DSAE": "dsae", "HiT-DVAE, LigHT-DVAE": "hit", "AV-CVAE": "av-cvae", "AV-DKF": "av-dkf"},
)
"""Those of one row need the same height."""


def laws(declared: Dependencies) -> str:
    """p(x_t | ...) p(z_t | ...), as LaTeX."""
    x = LATEX.law("p", LATEX.variable("x", "t"), declared.parents("likelihood"))
    z = LATEX.law("p", LATEX.variable(declared.latent, "t"), declared.parents("prior"))
    return f"${x}{LATEX.gap}{z}$"


def draw() -> Any:
    """The figure."""
    heights = [2.1, 2.1, 3.1]
    fig = figure(11.0, sum(heights))
    fig.get_layout_engine().set(w_pad=0.06, h_pad=0.06)
    grid = fig.subplots(len(ROWS), len(ROWS[0]), height_ratios=heights)
    for panels, row in zip(grid, ROWS, strict=True):
        for ax, (name, preset) in zip(panels, row.items(), strict=True):
            declared = build(preset).dependencies
            draw_graph(declared, ax)
            for label in ax.texts:
                label.set_fontsize(9)  # the circles are small here
            ax.set_title(name, fontsize=12, fontweight="bold", pad=6)
            ax.text(0.5, -0.02, laws(declared), transform=ax.transAxes, ha="center", va="top", fontsize=9,
                    math_fontfamily="cm")  # fmt: skip
        tallest = max(high - low for low, high in (ax.get_ylim() for ax in panels))
        for ax in panels:
            ax.set_ylim(ax.get_ylim()[1] - tallest, None)
    return fig


def paint(fig: Any, dark: bool) -> bytes:
    """The figure as a PNG file of few colours."""
    buffer = io.BytesIO()
    dress(fig, dark).savefig(buffer, format="png", dpi=160, facecolor=PAPER[dark])
    small = io.BytesIO()
    Image.open(buffer).convert("RGB").quantize(64, dither=Image.Dither.NONE).save(small, "png", optimize=True)
    return small.getvalue()


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    fig = draw()
    for theme, dark in (("light", False), ("dark", True)):
        path = FOLDER / f"family-{theme}.png"
        with atomic_write(path) as temp:
            temp.write_bytes(paint(fig, dark))
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
