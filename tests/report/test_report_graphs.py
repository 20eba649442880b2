"""The drawn graphs hold the declared edges, and leave matplotlib's global state alone."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from dynvae.dependencies import Dependencies
from dynvae.models import build

pytest.importorskip("matplotlib")

from matplotlib.patches import Circle, FancyArrowPatch

from dynvae.report import dependency_figure, draw_graph


def arrows(ax: Any) -> list[FancyArrowPatch]:
    return [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]


def test_one_arrow_for_each_edge_between_the_three_frames() -> None:
    srnn = build("srnn", x_dim=3, z_dim=2).dependencies
    # z -> z: 2, z_t -> x_t: 3, earlier x -> z: 3, earlier x -> x: 3.
    assert len(arrows(draw_graph(srnn))) == 11
    # z -> z: 2, every x -> every z: 9.
    assert len(arrows(draw_graph(srnn, inference=True))) == 11


def test_inference_edges_are_dashed_and_generative_ones_solid() -> None:
    dkf = build("dkf", x_dim=3, z_dim=2).dependencies
    assert {arrow.get_linestyle() for arrow in arrows(draw_graph(dkf))} == {"-"}
    assert "-" not in {arrow.get_linestyle() for arrow in arrows(draw_graph(dkf, inference=True))}


def test_sequence_level_latent_and_inputs_have_nodes() -> None:
    model = Dependencies(
        "z[t-1], u[t]", "z[t], w, c", "z[t-1], x[t:T], w", sequence_latent="w", sequence_posterior="x[1:T]"
    )
    ax = draw_graph(model)
    assert len([patch for patch in ax.patches if isinstance(patch, Circle)]) == 3 + 3 + 3 + 1 + 1
    labels = {text.get_text() for text in ax.texts}
    assert {r"$\mathbf{w}$", r"$\mathbf{c}$", r"$\mathbf{u}_{t+1}$"} <= labels


def test_figure_has_both_panels_of_each_model_and_renders() -> None:
    loaded = "matplotlib.pyplot" in sys.modules
    figure = dependency_figure({name: build(name, x_dim=3, z_dim=2).dependencies for name in ("rvae", "dsae")})
    assert len(figure.axes) == 4
    figure.draw_without_rendering()
    assert ("matplotlib.pyplot" in sys.modules) == loaded
