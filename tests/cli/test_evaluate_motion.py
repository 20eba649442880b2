"""``dynvae evaluate`` of a model of motion, as a user runs it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from dynvae.cli import main
from dynvae.training import TrainConfig, train_motion


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("motion")
    (folder / "skeleton.json").write_text(json.dumps({"parents": [-1, 0, 1], "frame_rate": 10}))
    dice = np.random.default_rng(0)
    for index, split in enumerate(("train", "train", "valid", "test", "test")):
        (folder / split).mkdir(exist_ok=True)
        np.save(folder / split / f"walk-{index}.npy", 100 * dice.standard_normal((40, 3, 3)).cumsum(0))
    return folder


@pytest.fixture(scope="module")
def model(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "small"
    config = TrainConfig(frames=10, batch_size=4, epochs=1, threads=1)
    return train_motion("vae", data=recordings, out=out, model={"hidden": (6,), "z_dim": 2}, train=config).folder


SMALL = ["--futures", "3", "--observe", "0.5", "--predict", "1"]


def test_tables_files_and_pictures(
    recordings: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", str(model), "--data", str(recordings), "--out", str(tmp_path), *SMALL]
    assert main(words) == 0
    said = capsys.readouterr().out
    for text in ("MPJPE, teacher-forced (mm)", "MPJPE, generation (mm)", "zero velocity", "MMADE", "10 windows"):
        assert text in said, text
    files = {path.name for path in tmp_path.iterdir()}
    assert {"scores.csv", "futures.csv", "summary.json", "settings.json", "futures.png", "futures.gif"} <= files
    with (tmp_path / "futures.csv").open() as file:
        assert len(list(csv.reader(file))) == 11
    assert main([*words, "--json", "--pictures", "false"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["resynthesis"]["mpjpe"]["n"] == 2
    assert main([*words, "--seed", "1"]) == 2
    assert "another seed" in capsys.readouterr().err


def test_what_does_not_fit(recordings: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(model), "--data", "builtin", "--out", str(tmp_path / "a")]) == 2
    assert "no motion here" in capsys.readouterr().err
    assert (
        main(["evaluate", str(model), "--data", str(recordings), "--predict", "9", "--out", str(tmp_path / "b")]) == 2
    )
    assert "all sequences are shorter than 5 + 90 frames" in capsys.readouterr().err
    assert main(["generate", str(model), "--out", str(tmp_path / "c")]) == 2
    assert "carries no front end for sound" in capsys.readouterr().err
    assert main(["info", str(model), "--json"]) == 0
