"""Plots, tables and pages that show what models do. matplotlib is imported when something is drawn."""

from __future__ import annotations

from dynvae.report.graphs import dependency_figure, draw_graph
from dynvae.report.plots import (
    kl_bars,
    latent_trajectories,
    learning_curves,
    loss_split,
    score_distributions,
    spectrogram,
    spectrograms,
)
from dynvae.report.skeletons import film, stick_figures
from dynvae.report.tables import Entry, Ticks, to_csv, to_html, to_markdown

__all__ = [
    "Entry",
    "Ticks",
    "dependency_figure",
    "draw_graph",
    "film",
    "kl_bars",
    "latent_trajectories",
    "learning_curves",
    "loss_split",
    "score_distributions",
    "spectrogram",
    "spectrograms",
    "stick_figures",
    "to_csv",
    "to_html",
    "to_markdown",
]
