"""Plots draw what they are given, on the axes they are given, and leave no trace in matplotlib."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dynvae.audio import FrontEnd
from dynvae.report import plots, style

RANDOM = np.random.default_rng(0)
POWER = RANDOM.gamma(1.0, size=(40, 33))


def log(epochs: int = 8) -> plots.Log:
    numbers = ("train_elbo", "valid_elbo", "train_log_likelihood", "valid_log_likelihood", "train_kl", "valid_kl")
    return [
        {"step": 10.0 * epoch, "epoch": float(epoch), **{name: float(RANDOM.normal()) for name in numbers}}
        for epoch in range(1, epochs + 1)
    ]


def drawings(ax: object) -> list[object]:
    return [
        plots.spectrogram(POWER, ax=ax),
        plots.learning_curves({"VAE": log(), "DKF": log()}, ax),
        plots.loss_split(log(), ax),
        plots.kl_bars([3.0, 1.0, 0.001], ax),
        plots.latent_trajectories(POWER, POWER, ax),
        plots.score_distributions({"VAE": [1.0, 2.0, 4.0], "DKF": [3.0, float("nan")]}, ax),
    ]


def test_each_plot_draws_on_the_axes_it_is_given_and_returns_them() -> None:
    for number in range(6):
        ax = style.figure().add_subplot()
        assert drawings(ax)[number] is ax


@pytest.mark.parametrize("dark", [False, True])
def test_figures_become_png_the_same_each_time(dark: bool) -> None:
    def make() -> bytes:
        return style.png(plots.kl_bars([3.0, 1.0, 0.001]).figure, dark)

    assert make() == make()
    assert make().startswith(b"\x89PNG")
    assert style.png(plots.kl_bars([1.0]).figure, dark=True) != style.png(plots.kl_bars([1.0]).figure)


def test_spectrograms_share_the_scale_of_the_first() -> None:
    front_end = FrontEnd(window_length=64, hop_length=16)
    first, second = plots.spectrograms({"original": POWER, "louder": 10 * POWER}, front_end)
    assert first.images[0].get_clim() == second.images[0].get_clim() == (-70.0, 0.0)
    difference = second.images[0].get_array() - first.images[0].get_array()
    assert np.allclose(difference, 10.0)
    assert first.get_xlim()[1] == pytest.approx(40 * 16 / 16000)
    assert first.get_ylim()[1] == pytest.approx(8.0)


def test_silence_has_a_spectrogram() -> None:
    assert np.isfinite(plots.spectrogram(np.zeros((5, 3))).images[0].get_array()).all()


def test_inactive_dimensions_are_counted_and_grey() -> None:
    ax = plots.kl_bars([0.5, 3.0, 0.001], title="VAE")
    assert ax.get_title() == "VAE: 2 of 3 active"
    heights = [bar.get_height() for bar in ax.patches]
    assert heights == [3.0, 0.5, 0.001]
    assert ax.patches[0].get_facecolor() == ax.patches[1].get_facecolor() != ax.patches[2].get_facecolor()


def test_a_kl_that_is_not_known_by_dimension_counts_nothing() -> None:
    assert plots.kl_bars([12.0], title="KVAE").get_title() == "KVAE: 12.0 nats/frame in all"


def test_learning_curves_mark_the_best_and_leave_out_what_is_not_there() -> None:
    rows = [{"epoch": 1.0, "valid_elbo": 1.0}, {"epoch": 2.0, "valid_elbo": 5.0}, {"epoch": 3.0, "valid_elbo": 4.0}]
    ax = plots.learning_curves({"VAE": rows, "unstarted": []})
    assert [line.get_xydata().tolist() for line in ax.lines[1:]] == [[[2.0, 5.0]]]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["VAE"]


def test_the_loss_split_adds_the_sequence_latent_to_the_kl() -> None:
    rows = [{**row, "train_kl_w": 1.0, "valid_kl_w": 2.0} for row in log()]
    twin = plots.loss_split(rows).figure.axes[-1]
    assert twin.lines[1].get_ydata() == pytest.approx([row["valid_kl"] + 2 for row in rows])


def test_trajectories_take_the_dimensions_in_the_order_given() -> None:
    ax = plots.latent_trajectories(POWER, POWER, order=[4, 2, 7], hop_seconds=0.5)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["$z_{5}$", "$z_{3}$", "$z_{8}$"]
    assert ax.get_xlim() == (0.0, 19.5)


def test_a_model_without_scores_keeps_its_line() -> None:
    ax = plots.score_distributions({"VAE": [], "DKF": [1.0]}, label="STOI")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["VAE", "DKF"]


def test_logs_are_read_without_their_gaps(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,epoch,valid_elbo\n10,1,\n20,2,3.5\n")
    rows = plots.read_log(tmp_path / "metrics.csv")
    assert rows == [{"step": 10.0, "epoch": 1.0}, {"step": 20.0, "epoch": 2.0, "valid_elbo": 3.5}]


def test_figures_are_saved_whole(tmp_path: Path) -> None:
    style.save(plots.kl_bars([1.0]).figure, tmp_path / "new" / "kl.png")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["kl.png"]


def test_matplotlib_is_imported_when_something_is_drawn_and_pyplot_never() -> None:
    code = (
        "import sys; from dynvae.report import plots, style; assert 'matplotlib' not in sys.modules;"
        "style.png(plots.kl_bars([1.0]).figure); assert 'matplotlib' in sys.modules;"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
