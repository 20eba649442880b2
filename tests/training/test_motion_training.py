"""Training on motion: from a folder to a saved model that knows its skeleton, and on after a stop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from test_training_run import rows

from dynvae.cli import main
from dynvae.data.motion import MotionCorpus
from dynvae.errors import ConfigError
from dynvae.motion import Skeleton
from dynvae.pretrained import load
from dynvae.training import TrainConfig, train_motion

TINY: dict[str, Any] = {"hidden": (6,), "z_dim": 2}
CONFIG = TrainConfig(frames=10, batch_size=4, epochs=2, patience=0, threads=1)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Arms of three joints that swing, and one of which is a bone that does not."""
    folder = tmp_path_factory.mktemp("motion")
    (folder / "skeleton.json").write_text(json.dumps({"parents": [-1, 0, 1, 0], "frame_rate": 20}))
    dice = np.random.default_rng(0)
    for index, split in enumerate(("train", "train", "train", "valid", "test")):
        angle = np.cumsum(dice.uniform(0.1, 0.3, 35 + index))
        places = np.zeros((len(angle), 4, 3))
        places[:, 1] = 300 * np.stack([np.cos(angle), np.sin(angle), 0 * angle], -1)
        places[:, 2] = places[:, 1] + 200 * np.stack([np.cos(2 * angle), np.sin(2 * angle), 0 * angle], -1)
        places[:, 3] = (0, -100, 0)
        (folder / split).mkdir(exist_ok=True)
        np.save(folder / split / f"swing-{index}.npy", places + 50)
    return folder


def test_a_saved_model_knows_its_skeleton(recordings: Path, tmp_path: Path) -> None:
    outcome = train_motion("vae", data=recordings, out=tmp_path, model=TINY, train=CONFIG)
    model = load(outcome.folder)
    train = MotionCorpus.open(recordings).split("train")
    expected = train.skeleton.fitted(item.places for item in train)
    assert model.front_end == expected
    assert isinstance(model.front_end, Skeleton)
    assert model.front_end.observed == (1, 2)
    assert model.config["likelihood"] == "gaussian"
    x = torch.cat([expected.frames(item.places) for item in train])
    assert float(x.square().mean()) == pytest.approx(1, abs=1e-4)


def test_the_command_sees_what_the_data_are(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "dkf", "--data", str(recordings), "--out", str(tmp_path / "run"), "--train.frames", "10",
             "--train.batch_size", "4", "--train.epochs", "1", "--train.lr_schedule", "constant",
             "--model.input_transform", "standardise", "--model.rnn", "4", "--train.threads", "1"]  # fmt: skip
    assert main(words) == 0
    saved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (saved["task"], saved["model"]["likelihood"]) == ("motion", "gaussian")
    assert main(["train", "--out", str(tmp_path / "run"), "--resume", "--train.epochs", "2"]) == 0
    assert len(rows(tmp_path / "run")) == 2
    config = ["--config", str(tmp_path / "run" / "config.yaml"), "--out", str(tmp_path / "again")]
    assert main(["train", *config, "--train.epochs", "2"]) == 0
    assert rows(tmp_path / "again") == rows(tmp_path / "run")
    capsys.readouterr()
    assert main([*words, "--task", "speech"]) == 2
    assert "sound" in capsys.readouterr().err


def test_the_joints_likelihood(recordings: Path, tmp_path: Path) -> None:
    given = {**TINY, "likelihood": "joint_l2", "observation_std": 0.3}
    outcome = train_motion("vae", data=recordings, out=tmp_path, model=given, train=CONFIG)
    assert np.isfinite(outcome.best["elbo"])
    with pytest.raises(ConfigError, match="other sizes"):
        train_motion("vae", data=recordings, out=tmp_path / "b", model={**TINY, "z_dim": 3}, init=str(tmp_path))


def test_power_spectra_have_another_likelihood(recordings: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="places take gaussian"):
        train_motion("vae", data=recordings, out=tmp_path, model={"likelihood": "complex_gaussian"})


def test_crops_are_turned_anew(recordings: Path, tmp_path: Path) -> None:
    for name, turn in (("straight", False), ("turned", True), ("again", True)):
        train_motion("vae", data=recordings, out=tmp_path / name, model=TINY, train=CONFIG, turn=turn)
    assert rows(tmp_path / "turned") == rows(tmp_path / "again")
    assert rows(tmp_path / "turned") != rows(tmp_path / "straight")
    assert yaml.safe_load((tmp_path / "turned" / "config.yaml").read_text())["turn"] is True
