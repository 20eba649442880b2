"""Bodies that are drawn: every bone in its place, films of every frame."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from dynvae.errors import MissingExtraError
from dynvae.motion import Skeleton
from dynvae.report.skeletons import SEEN, film, stick_figures
from dynvae.report.style import save

pytest.importorskip("matplotlib")
BODY = Skeleton((-1, 0, 1, 0), frame_rate=20, up=2)
MOVES = {
    name: 0.1 * torch.randn(9, 4, 3, generator=torch.Generator().manual_seed(i)).cumsum(0)
    for i, name in enumerate(("recorded", "future $1$", "future 2"))
}


def test_rows_of_poses(tmp_path: Path) -> None:
    fig = stick_figures(MOVES, BODY, observed=3, columns=9, azimuth=0.0)
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["recorded", r"future \$1\$", "future 2"]
    first = fig.axes[0].collections
    assert len(first) == 9
    bones = np.array(first[0].get_segments())
    places = MOVES["recorded"][0].double().numpy()[:, [0, 2]]  # x across, z up, seen along y
    np.testing.assert_allclose(bones[:, 0], places[1:])
    np.testing.assert_allclose(bones[:, 1], places[[0, 1, 0]])
    colours = [tuple(each.get_colors()[0]) for each in first]
    assert len(set(colours[:3])) == 1
    assert colours[2] != colours[3]
    save(fig, tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 1000


def test_a_film_has_every_frame(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    film(tmp_path / "film.gif", MOVES, BODY, observed=3, columns=2)
    with image.open(tmp_path / "film.gif") as opened:
        assert opened.n_frames == 9
        assert opened.info["duration"] == 50
        first = np.asarray(opened.convert("RGB")).reshape(-1, 3)
        grey = tuple(int(SEEN[i : i + 2], 16) for i in (1, 3, 5))
        assert (np.abs(first.astype(int) - grey).max(1) < 12).any()
    assert [path.name for path in tmp_path.iterdir()] == ["film.gif"]


def test_mp4_needs_ffmpeg(tmp_path: Path) -> None:
    if shutil.which("ffmpeg"):
        film(tmp_path / "film.mp4", MOVES, BODY)
        assert (tmp_path / "film.mp4").stat().st_size > 1000
    else:
        with pytest.raises(MissingExtraError, match="ffmpeg is not installed"):
            film(tmp_path / "film.mp4", MOVES, BODY)
