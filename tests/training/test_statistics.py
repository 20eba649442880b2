"""What models that standardise their input are given: by training, from the training data alone, and once."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from test_training_run import assert_equal, final_state, rows
from training_toys import Crops, collate, toy_config, toy_data, toy_model

from dynvae.models import DVAE
from dynvae.pretrained import load
from dynvae.training import fit
from dynvae.training import statistics as statistics_module
from dynvae.training.statistics import settle


def model(**config: Any) -> DVAE:
    return toy_model(input_transform="standardise", **config)


def frames(items: int, *, short: bool = False) -> torch.Tensor:
    """The valid frames of the training crops of the first epoch."""
    crops = Crops(items, short=short)
    return torch.cat([crops[(0, index)].power[: crops[(0, index)].length] for index in range(items)]).double()


@pytest.mark.parametrize("items", [5, 40])
def test_mean_and_deviation_of_the_valid_training_frames(items: int) -> None:
    made, expected = model(), frames(items, short=True)
    settle(made, toy_data(items, short=True))
    torch.testing.assert_close(made.input_mean, expected.mean(0).float())
    torch.testing.assert_close(made.input_std, expected.std(0, correction=0).float())


def test_a_part_of_many_crops_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics_module, "MOST_CROPS", 7)
    asked: list[Any] = []
    settle(model(), toy_data(61, watch=asked.append))
    assert [index for _, index in asked] == [0, 10, 20, 30, 40, 50, 60]


def test_statistics_that_are_there_are_kept() -> None:
    made = model()
    made.standardise(torch.ones(6), torch.ones(6))
    settle(made, toy_data())
    assert torch.equal(made.input_mean, torch.ones(6))
    raw = toy_model()
    settle(raw, toy_data())
    assert "input_mean" not in raw.state_dict()


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_training_sets_them_before_its_first_step(tmp_path: Path, ema: float) -> None:
    made = model()
    fit(made, toy_data(), tmp_path, toy_config(max_steps=2, ema=ema))
    assert_equal(made.input_mean, frames(24).mean(0).float())
    saved = load(tmp_path)
    assert_equal(saved.input_mean, made.input_mean)
    assert_equal(saved.input_std, made.input_std)


def test_a_resumed_run_goes_on_with_them(tmp_path: Path) -> None:
    fit(model(dropout=0.2), toy_data(), tmp_path / "whole", toy_config())
    calls = 0

    def stop(index: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 24 + 34:  # after the statistics, in the ninth step
            os.kill(os.getpid(), signal.SIGTERM)

    outcome = fit(model(dropout=0.2), toy_data(watch=stop), tmp_path / "two", toy_config())
    assert outcome.signum == signal.SIGTERM
    assert 0 < outcome.step < 24
    fit(model(dropout=0.2), toy_data(), tmp_path / "two", toy_config(), resume=True)
    assert rows(tmp_path / "two") == rows(tmp_path / "whole")
    assert_equal(final_state(tmp_path / "two")["model"], final_state(tmp_path / "whole")["model"])


def test_validation_data_do_not_count(tmp_path: Path) -> None:
    watched: list[Any] = []
    data = toy_data(watch_validation=watched.append)
    settle(model(), data)
    assert watched == []
    assert data.batch([(0, 1), (0, 2)]).names == collate([Crops(3)[1], Crops(3)[2]]).names


@pytest.mark.parametrize("name", ["complex_gaussian", "gaussian", "fixed_gaussian", "bernoulli"])
def test_the_output_begins_at_the_mean(name: str) -> None:
    made, expected = toy_model(likelihood=name), frames(5, short=True)
    expected = expected / expected.max() if name == "bernoulli" else expected
    made.begin_at(expected.mean(0), expected.std(0))
    for layer in made.decoder.layers:  # type: ignore[union-attr]
        layer.weight.data.zero_()
    x = expected.float().unsqueeze(0)
    law = made.likelihood(made.posterior(x).latents, x)
    torch.testing.assert_close(law.mean[0, 0], expected.mean(0).float(), rtol=1e-4, atol=1e-4)


def test_training_begins_there_if_asked_to(tmp_path: Path) -> None:
    made, usual = toy_model(), toy_model()
    config = toy_config(max_steps=1, lr=1e-12, begin_at_mean=True, warmup_steps=0)
    fit(made, toy_data(), tmp_path / "run", config)
    settle(usual, toy_data(), begin=True)
    for name, weight in usual.state_dict().items():
        torch.testing.assert_close(made.state_dict()[name], weight)
