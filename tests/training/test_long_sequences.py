"""Training with less memory: where nothing is cut, the weights are those of the ordinary run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from training_toys import FRAMES, toy_config, toy_data, toy_model

from dynvae.errors import ConfigError
from dynvae.training import Machine, fit


def trained(folder: Path, **settings) -> torch.Tensor:
    model = toy_model().double()
    config = toy_config(epochs=2, **settings)
    fit(model, toy_data(short=True), folder, config, Machine(accelerator="cpu", precision="64-true"))
    return torch.cat([weight.flatten() for weight in model.state_dict().values()])


def test_less_memory_the_same_weights(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole")
    for name, settings in (("truncate", {"truncate": FRAMES}), ("segment", {"segment": 5, "executor": "plain"})):
        torch.testing.assert_close(trained(tmp_path / name, **settings), whole, rtol=1e-9, atol=1e-9)
    cut = trained(tmp_path / "cut", truncate=4)
    assert (cut - whole).abs().max() > 1e-6
    assert cut.isfinite().all()


def test_settings_that_make_no_sense() -> None:
    for settings in ({"truncate": -1}, {"segment": -1}):
        with pytest.raises(ConfigError, match="must not be negative"):
            toy_config(**settings)
