"""What training does for models that do not learn from a gradient alone: codebooks, and slabs that warm up."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from training_toys import toy_config, toy_data, toy_model

from dynvae.errors import ConfigError
from dynvae.models import VQVAE
from dynvae.pretrained import load
from dynvae.training import fit

CODEC = {"hidden": 4, "residual_hidden": 3, "codes": 5}


def test_a_codebook_is_learned_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    whole, half, again = (toy_model("vq-vae", seed=seed, **CODEC) for seed in (0, 0, 1))
    assert isinstance(whole, VQVAE)
    before = whole.quantiser.lookup(torch.arange(5)).clone()
    config = toy_config(epochs=2, lr_schedule="constant")
    fit(whole, toy_data(short=True), tmp_path / "whole", config)
    assert (before != whole.quantiser.lookup(torch.arange(5))).all()
    fit(half, toy_data(short=True), tmp_path / "parts", toy_config(epochs=1, lr_schedule="constant"))
    fit(again, toy_data(short=True), tmp_path / "parts", config, resume=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_a_slab_warms_up_in_a_vsc_only(tmp_path: Path) -> None:
    outcome = fit(toy_model("vsc", hidden=(8,)), toy_data(), tmp_path / "vsc", toy_config(slab_warmup=2.5))
    assert outcome.best["kl"] > 0
    with pytest.raises(ConfigError, match="has no slab"):
        fit(toy_model("vae"), toy_data(), tmp_path / "vae", toy_config(slab_warmup=1.0))


@pytest.mark.parametrize("name", ["sdm-vae", "sdm-srnn"])
def test_sparse_models_train(name: str, tmp_path: Path) -> None:
    model = toy_model(name, dictionary="learned", atoms=3)
    outcome = fit(model, toy_data(short=True), tmp_path, toy_config())
    assert torch.isfinite(torch.tensor(outcome.best["elbo"]))
    assert load(tmp_path).config["atoms"] == 3
