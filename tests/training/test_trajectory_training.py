"""Training on synthetic trajectories: a small run, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from dynvae.errors import ConfigError
from dynvae.motion import BoxView
from dynvae.pretrained import load
from dynvae.training import TrainConfig, train_trajectories

TINY: dict[str, Any] = {"z_dim": 2, "forward_rnn": 3, "x_hidden": (3,), "hx_hidden": (), "backward_rnn": 0,
                        "encoder_hidden": (4,), "prior_hidden": (4,), "decoder_hidden": (4,)}  # fmt: skip
CONFIG = TrainConfig(frames=60, batch_size=16, epochs=2, threads=1, free_running=1, free_running_end=2)


def test_a_model_of_boxes(tmp_path: Path) -> None:
    outcome = train_trajectories("srnn", out=tmp_path, count=32, sway=0.1, jitter=0.02, model=TINY, train=CONFIG)
    model = load(outcome.folder)
    assert (model.x_dim, model.config["likelihood"], model.front_end) == (4, "gaussian", BoxView("own"))
    facts = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert (facts["data"], facts["count"], facts["sway"]) == ("trajectories", 32, 0.1)


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="boxes take the likelihoods gaussian and fixed_gaussian"):
        train_trajectories("vae", out=tmp_path, model={"likelihood": "complex_gaussian"})
    with pytest.raises(ConfigError, match="at least 4 trajectories"):
        train_trajectories("vae", out=tmp_path, count=3)
    with pytest.raises(ConfigError, match="not 'sky'"):
        train_trajectories("vae", out=tmp_path, view="sky")  # type: ignore[arg-type]


def test_views_of_a_box(tmp_path: Path) -> None:
    places = torch.tensor([[0.2, 0.4, 0.3, 0.0], [0.25, 0.2, 0.35, -0.2]])
    own, picture = BoxView(), BoxView("picture")
    torch.testing.assert_close(own.frames(places, places[0])[1], torch.tensor([0.5, -0.5, 0.5, -0.5]))
    assert torch.equal(picture.frames(places, places[0]), places)
    assert BoxView.from_dict(picture.to_dict()) == picture
    with pytest.raises(ConfigError, match="there is no setting colour"):
        BoxView.from_dict({"kind": "boxes", "colour": 1})
