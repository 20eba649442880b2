"""The page: its tabs, colours and style."""

from __future__ import annotations

__all__ = ["STYLE", "build", "theme"]

from pathlib import Path
from typing import Any

from dynvae.app import enhance, explore, family, generate, lips, separate, track
from dynvae.app.desk import Desk
from dynvae.app.limits import Limits
from dynvae.app.shelf import Shelf

TABS = {
    "Enhance": enhance, "Resynthesise & explore": explore, "Generate": generate, "The family": family,
    "Separate": separate, "Track": track, "Lips": lips,
}  # fmt: skip
HEAD = """# dynvae
Dynamical variational autoencoders: models of sequences, heard, seen and played with."""
STYLE = """
.gradio-container { max-width: 76rem !important; margin: 0 auto !important; }
.on-dark { display: none; } .dark .on-dark { display: block; } .dark .on-light { display: none; }
img.picture { width: 100%; height: auto; border-radius: 8px; }
.masthead h1 { font-size: 1.7rem; margin: 0.4rem 0 0; }
.masthead p { color: var(--body-text-color-subdued); margin: 0; }
.about p { max-width: 56rem; margin: 0.2rem 0 0.4rem; }
.note p { font-size: 0.9rem; color: var(--body-text-color-subdued); }
.wide, .formula .katex-display { max-width: calc(100vw - 5.5rem); overflow-x: auto; overflow-y: hidden; }
.wide table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
.wide table, .wide table * { border: 0 !important; }
.wide table tr > * { padding: 0.35rem 1rem !important; text-align: right !important; white-space: nowrap;
  border-bottom: 1px solid var(--border-color-primary) !important; }
.wide table tr > :first-child { text-align: left !important; }
.formula .katex-display { padding: 0.2rem 0; }
footer { display: none !important; }
"""
"""CSS: one of two pictures by light and dark, and a calm page."""


def build(gr: Any, shelf: Shelf, limits: Limits, folder: Path) -> Any:
    """The page, ready to be launched."""
    desk = Desk(gr, shelf, limits, folder)
    with gr.Blocks(title="dynvae", analytics_enabled=False) as page:
        gr.Markdown(HEAD, elem_classes="masthead")
        with gr.Tabs():
            for name, module in TABS.items():
                with gr.Tab(name, elem_id=f"tab-{module.__name__.rpartition('.')[2]}"):
                    module.tab(desk)
    return page


def theme(gr: Any) -> Any:
    """Calm colours and the system's own fonts, so that nothing is fetched from elsewhere."""
    sans = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
    mono = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]
    return gr.themes.Default(primary_hue="blue", secondary_hue="slate", neutral_hue="slate", font=sans, font_mono=mono)
