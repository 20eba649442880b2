"""Write the family's page from what its members declare: the table in docs/explanation/family.md, and the picture.

The picture is docs/images/family-light.png and family-dark.png. With --check the table is only compared.
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from dynvae.dependencies import Dependencies
from dynvae.dependencies.equations import LATEX, TEXT, Style
from dynvae.files import atomic_write
from dynvae.models import build
from dynvae.report import draw_graph
from dynvae.report.style import PAPER, dress, figure

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "explanation" / "family.md"
TABLE = re.compile(r"(<!-- family -->\n).*?(<!-- end -->)", re.DOTALL)

ROWS = (
    {"VAE": "vae", "DKF": "dkf", "KVAE": "kvae", "RVAE, causal": "rvae-causal"},
    {"RVAE": "rvae", "STORN": "storn", "VRNN": "vrnn", "SRNN": "srnn"},
    {"DSAE": "dsae", "HiT-DVAE, LigHT-DVAE": "hit", "AV-CVAE": "av-cvae", "AV-DKF": "av-dkf"},
)
"""The members as the picture has them; panels of one row have the same height."""


def law(declared: Dependencies, factor: str, style: Style) -> str:
    """A factor such as p(x_t | ...)."""
    name = "q" if factor == "posterior" else "p"
    symbol = "x" if factor == "likelihood" else declared.latent
    return style.law(name, style.variable(symbol, "t"), declared.parents(factor))


def draw() -> Any:
    """The figure."""
    heights = [1.85, 1.85, 2.7]
    fig = figure(9.2, sum(heights))
    fig.get_layout_engine().set(w_pad=0.06, h_pad=0.06)
    grid = fig.subplots(len(ROWS), len(ROWS[0]), height_ratios=heights)
    for panels, row in zip(grid, ROWS, strict=True):
        for ax, (name, preset) in zip(panels, row.items(), strict=True):
            declared = build(preset).dependencies
            draw_graph(declared, ax)
            for label in ax.texts:
                label.set_fontsize(7.5)  # the circles are small here
            ax.set_title(name, fontsize=11, fontweight="bold", pad=5)
            formula = f"${law(declared, 'likelihood', LATEX)}{LATEX.gap}{law(declared, 'prior', LATEX)}$"
            ax.text(0.5, -0.02, formula, transform=ax.transAxes, ha="center", va="top", fontsize=8.5,
                    math_fontfamily="cm")  # fmt: skip
        tallest = max(high - low for low, high in (ax.get_ylim() for ax in panels))
        for ax in panels:
            ax.set_ylim(ax.get_ylim()[1] - tallest, None)
    return fig


def paint(fig: Any, dark: bool) -> bytes:
    """The figure as a PNG file of few colours."""
    buffer = io.BytesIO()
    dress(fig, dark).savefig(buffer, format="png", dpi=190, facecolor=PAPER[dark])
    small = io.BytesIO()
    Image.open(buffer).convert("RGB").quantize(64, dither=Image.Dither.NONE).save(small, "png", optimize=True)
    return small.getvalue()


def table() -> str:
    """A row a member: its laws, what its encoder misses, and whether it feeds back."""
    lines = [
        "| member | likelihood | prior | posterior | it misses | x fed back | z dynamical |",
        "|:--|:--|:--|:--|:--|:-:|:-:|",
    ]
    for name, preset in (pair for row in ROWS for pair in row.items()):
        model = build(preset)
        declared = model.dependencies
        laws = [law(declared, factor, TEXT).replace("|", "\\|") for factor in ("likelihood", "prior", "posterior")]
        missing = ", ".join(TEXT.variable(span.symbol, span.subscript) for span in declared.missing())
        marks = ["✓" if tick else "" for tick in (declared.autoregressive, declared.dynamical_latent)]
        paper = f"{model.paper}; {build('light').paper}" if preset == "hit" else model.paper
        lines.append(f"| **{name}** ({paper}) | {' | '.join([*laws, missing, *marks])} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write page and picture, or compare the page."""
    old = PAGE.read_text(encoding="utf-8")
    new = TABLE.sub(lambda match: match[1] + table() + match[2], old)
    if "--check" in sys.argv[1:]:
        if new != old:
            print(f"{PAGE} is not what the code says; run {Path(__file__).name}", file=sys.stderr)
        return int(new != old)
    PAGE.write_text(new, encoding="utf-8")
    fig = draw()
    for theme, dark in (("light", False), ("dark", True)):
        with atomic_write(DOCS / "images" / f"family-{theme}.png") as temp:
            temp.write_bytes(paint(fig, dark))
    return 0


if __name__ == "__main__":
    sys.exit(main())
