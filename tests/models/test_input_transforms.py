"""What the networks see of a frame: the same in the encoder, of the past, and of what is fed back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from model_toys import X_DIM, small

import dynvae
from dynvae.errors import ConfigError
from dynvae.testing import check_dvae

CHECKS = [
    "check_state_dict",
    "check_padding_gets_no_gradient",
    "check_gradients_are_right",
    "check_extreme_inputs",
    "check_step_equals_parallel",
    "check_generation_mode",
    "check_free_running",
    "check_sample_follows_the_model",
    "check_no_state_is_kept",
]
MEAN, STD = torch.linspace(0.1, 0.5, X_DIM), torch.linspace(0.5, 3, X_DIM)


@pytest.mark.parametrize("name", ["srnn", "kvae", "light"])
@pytest.mark.parametrize("transform", ["root", "standardise"])
def test_contract(name: str, transform: str) -> None:
    model = small(name, input_transform=transform)
    if transform == "standardise":
        model.standardise(MEAN, STD)
    check_dvae(model, CHECKS)


def test_features() -> None:
    x = torch.rand(2, 3, X_DIM)
    torch.testing.assert_close(small("vae", input_transform="root").features(x), x.sqrt())
    model = small("vae", input_transform="standardise")
    assert torch.equal(model.features(x), x)
    model.standardise(MEAN, STD.where(STD < 3, 0))
    expected = (x - MEAN) / STD
    expected[..., -1] = x[..., -1] - MEAN[-1]
    torch.testing.assert_close(model.features(x), expected)


def test_statistics_are_saved_with_the_model(tmp_path: Path) -> None:
    model = small("light", input_transform="standardise")
    model.standardise(MEAN, STD)
    loaded = dynvae.load(dynvae.save(model, tmp_path))
    assert torch.equal(loaded.input_mean, MEAN)
    assert torch.equal(loaded.input_std, STD)
    assert "input_mean" not in small("light").state_dict()


def test_statistics_that_cannot_be_are_refused() -> None:
    model = small("vae", input_transform="standardise")
    with pytest.raises(ConfigError, match="a number a feature"):
        model.standardise(MEAN[1:], STD)
    with pytest.raises(ConfigError, match="negative"):
        model.standardise(MEAN, -STD)
    with pytest.raises(ConfigError, match="input_transform is raw"):
        small("vae").standardise(MEAN, STD)
