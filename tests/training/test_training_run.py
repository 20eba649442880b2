"""Runs from beginning to end on small models: what they keep, when they stop, what they say when they cannot go on."""

from __future__ import annotations

import csv
import json
import logging
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor
from training_toys import BINS, FRAMES, Crops, collate, toy_config, toy_data, toy_model

import dynvae.training.module
from dynvae.errors import ConfigError, DynvaeError
from dynvae.models import PRESETS
from dynvae.pretrained import load
from dynvae.training import Machine, TrainingData, fit
from dynvae.training.checkpoints import Checkpoints

TIMES = ("seconds", "frames_per_second")


def rows(folder: Path) -> list[dict[str, str]]:
    """The log of a run without the columns that tell the time."""
    with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return [{key: value for key, value in row.items() if key not in TIMES} for row in csv.DictReader(file)]


def final_state(folder: Path) -> dict[str, Any]:
    state = Checkpoints(folder / "checkpoints").load()
    assert state is not None
    return state


def assert_equal(one: Any, two: Any) -> None:
    """Equality to the last bit of nested states."""
    assert type(one) is type(two)
    if isinstance(one, Tensor):
        assert torch.equal(one, two)
    elif isinstance(one, dict):
        assert one.keys() == two.keys()
        for key in one:
            assert_equal(one[key], two[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(two)
        for a, b in zip(one, two, strict=True):
            assert_equal(a, b)
    else:
        assert one == two


# ---- what a run leaves ---------------------------------------------------------------------------------------------


def test_a_run_leaves_settings_log_checkpoints_and_a_model(tmp_path: Path) -> None:
    settings = {"name": "srnn", "data": "somewhere"}
    outcome = fit(toy_model(), toy_data(), tmp_path / "run", toy_config(), settings=settings)
    assert outcome.step == 24
    log = rows(tmp_path / "run")
    assert [row["step"] for row in log] == ["6", "12", "18", "24"]
    assert float(log[-1]["valid_elbo"]) > float(log[0]["valid_elbo"])
    for row in log:
        assert float(row["valid_elbo"]) == pytest.approx(float(row["valid_log_likelihood"]) - float(row["valid_kl"]))
    saved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert saved["data"] == "somewhere"
    assert saved["train"]["lr"] == 1e-2
    assert load(str(tmp_path / "run")).z_dim == 2
    assert {path.name for path in (tmp_path / "run").iterdir()} >= {"model", "checkpoints", "metrics.csv"}
    assert not list(tmp_path.rglob("lightning_logs"))


def test_the_best_weights_are_those_of_the_best_epoch_and_not_the_last(tmp_path: Path) -> None:
    """A reference to the weights instead of a copy would show the last ones."""
    train = toy_data(items=4)
    config = toy_config(epochs=40, lr=0.1, lr_schedule="constant", warmup_steps=0, kl_warmup=0.0)
    outcome = fit(toy_model(), train, tmp_path / "long", config)
    log = rows(tmp_path / "long")
    values = [float(row["valid_objective"]) for row in log]
    best = max(range(len(values)), key=lambda index: values[index])
    assert best < len(values) - 1, "the toy has not over-fitted"
    assert outcome.best["step"] == int(log[best]["step"])
    assert [row["best"] for row in log][best + 1 :] == ["0"] * (len(log) - best - 1)
    kept = load(str(tmp_path / "long")).state_dict()
    last = final_state(tmp_path / "long")["model"]
    assert any(not torch.equal(kept[key], last[key]) for key in kept)
    # the same run, ended at its best epoch, ends with those weights
    fit(toy_model(), train, tmp_path / "short", toy_config(**vars_of(config), epochs=best + 1))
    assert_equal(dict(final_state(tmp_path / "short")["model"]), dict(kept))


def vars_of(config: Any) -> dict[str, Any]:
    return {key: value for key, value in vars(config).items() if key != "epochs"}


def test_warm_up_does_not_move_the_goal(tmp_path: Path) -> None:
    """Validation has the full KL weight from the start: the first row equals the objective of its weights."""
    fit(toy_model(), toy_data(), tmp_path / "run", toy_config(epochs=1, kl_warmup=100.0, beta=0.5, free_bits=5.0))
    row = {key: float(value) for key, value in rows(tmp_path / "run")[0].items()}
    assert row["kl_weight"] < 0.01
    assert row["valid_objective"] == pytest.approx(row["valid_log_likelihood"] - 0.5 * row["valid_kl"])


def test_patience_ends_a_run(tmp_path: Path) -> None:
    config = toy_config(epochs=200, lr=0.1, warmup_steps=0, kl_warmup=0.0, patience=3)
    outcome = fit(toy_model(), toy_data(items=4), tmp_path / "run", config)
    assert outcome.step == outcome.best["step"] + 3
    again = fit(toy_model(), toy_data(items=4), tmp_path / "run", config, resume=True)
    assert again.step == outcome.step, "a run that is over is not begun again"


def test_the_average_of_the_weights_is_what_is_kept(tmp_path: Path) -> None:
    fit(toy_model(), toy_data(), tmp_path / "run", toy_config(ema=0.9))
    state = final_state(tmp_path / "run")
    kept = load(str(tmp_path / "run")).state_dict()
    average = {key.removeprefix("module."): value for key, value in state["average"].items() if key != "n_averaged"}
    assert_equal(dict(kept), average)
    assert any(not torch.equal(state["model"][key], kept[key]) for key in kept)


def test_scheduled_sampling_is_judged_in_the_mode_it_ends_in(tmp_path: Path) -> None:
    config = toy_config(epochs=2, free_running=0.5, free_running_end=2.0)
    fit(toy_model(), toy_data(), tmp_path / "half", config)
    log = rows(tmp_path / "half")
    assert [float(row["free_running"]) for row in log] == pytest.approx([0.5 * 5 / 12, 0.5 * 11 / 12])
    assert float(log[0]["valid_elbo_generation"]) != float(log[0]["valid_elbo"])
    generation = toy_config(epochs=1, free_running=1.0, free_running_end=100.0, lr=1e-9)
    fit(toy_model(), toy_data(), tmp_path / "full", generation)
    teacher = toy_config(epochs=1, lr=1e-9)
    fit(toy_model(), toy_data(), tmp_path / "teacher", teacher)
    assert rows(tmp_path / "full")[0]["valid_elbo"] != rows(tmp_path / "teacher")[0]["valid_elbo"]


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_other_precisions(tmp_path: Path, precision: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()
    original = dynvae.training.module.elbo_loss

    def spy(elbo: Any, **options: Any) -> Any:
        seen.add(elbo.log_likelihood.dtype)
        return original(elbo, **options)

    monkeypatch.setattr(dynvae.training.module, "elbo_loss", spy)
    outcome = fit(toy_model(), toy_data(), tmp_path / "run", toy_config(epochs=1), Machine(precision=precision))
    assert outcome.best["elbo"] > -1e3
    assert seen == {torch.float32 if precision == "bf16-mixed" else torch.float64}


def test_a_collapsed_posterior_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = toy_model("vae")
    with torch.no_grad():
        for parameter in model.encoder.parameters():  # type: ignore[union-attr]
            parameter.zero_()
    with caplog.at_level(logging.WARNING, "dynvae"):
        fit(model, toy_data(), tmp_path / "run", toy_config(epochs=1, lr=1e-9))
    assert "posterior collapse" in caplog.text


@pytest.mark.parametrize("name", PRESETS)
def test_every_model_can_be_trained(tmp_path: Path, name: str) -> None:
    outcome = fit(
        toy_model(name), toy_data(items=4, short=True), tmp_path, toy_config(epochs=2), settings={"name": name}
    )
    assert outcome.step == 2
    assert outcome.best["objective"] > -1e4
    log = rows(tmp_path)
    assert ("valid_kl_w" in log[0]) == (toy_model(name).w_dim > 0)


def test_a_machine_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="this machine cannot train so"):
        fit(toy_model(), toy_data(), tmp_path, toy_config(), Machine(strategy="no-such-strategy"))


# ---- resume --------------------------------------------------------------------------------------------------------

EVERYTHING: dict[str, Any] = {"ema": 0.9, "free_running": 0.5, "free_running_end": 3.0, "free_bits": 0.01}


def interrupted(folder: Path, at: tuple[int, int], signum: int = signal.SIGTERM, **changes: Any) -> Any:
    """A run that gets a signal while it fetches the given ``(epoch, batch)``."""
    fetched: list[Any] = []

    def watch(index: tuple[int, int]) -> None:
        fetched.append(index)
        seen = [key for key in fetched if key[0] == at[0]]
        if len(seen) == 4 * at[1] + 1 and index[0] == at[0]:
            os.kill(os.getpid(), signum)

    return fit(
        toy_model(dropout=0.2), toy_data(short=True, watch=watch), folder, toy_config(**EVERYTHING, **changes),
        settings={"name": "srnn"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    torch.set_num_threads(1)
    data = toy_data(short=True)
    fit(toy_model(dropout=0.2), data, folder, toy_config(**EVERYTHING), settings={"name": "srnn"})
    return folder


# Lightning fetches a batch ahead: a signal during the first fetch of an epoch falls into the last step before it.
@pytest.mark.parametrize("at", [(0, 3), (1, 0), (1, 4), (3, 5)])
def test_a_resumed_run_equals_the_uninterrupted_one_to_the_last_bit(
    tmp_path: Path, uninterrupted: Path, at: tuple[int, int]
) -> None:
    handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    outcome = interrupted(tmp_path, at)
    assert outcome.signum == signal.SIGTERM
    assert 0 < outcome.step < 24
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == handlers
    torch.rand(7)  # the state of the process is not part of the run
    resumed = fit(
        toy_model(seed=5, dropout=0.2), toy_data(short=True), tmp_path, toy_config(**EVERYTHING), resume=True,
        settings={"name": "srnn"},
    )  # fmt: skip
    assert resumed.step == 24
    assert rows(tmp_path) == rows(uninterrupted)
    one, two = final_state(tmp_path), final_state(uninterrupted)
    one.pop("seconds"), two.pop("seconds")
    assert_equal(one, two)
    digest = [json.loads((folder / "model/config.json").read_text())["sha256"] for folder in (tmp_path, uninterrupted)]
    assert digest[0] == digest[1]


def test_a_signal_during_validation_waits_for_its_verdict(tmp_path: Path, uninterrupted: Path) -> None:
    asked: list[Any] = []

    def watch(index: int) -> None:
        asked.append(index)
        if len(asked) == 7:  # the second of five utterances, in the second validation
            os.kill(os.getpid(), signal.SIGTERM)

    data = toy_data(short=True, watch_validation=watch)
    options: dict[str, Any] = {"settings": {"name": "srnn"}}
    outcome = fit(toy_model(dropout=0.2), data, tmp_path, toy_config(**EVERYTHING), **options)
    assert outcome.step == 12
    assert len(rows(tmp_path)) == 2
    fit(toy_model(dropout=0.2), toy_data(short=True), tmp_path, toy_config(**EVERYTHING), resume=True, **options)
    assert rows(tmp_path) == rows(uninterrupted)
    assert_equal(final_state(tmp_path)["model"], final_state(uninterrupted)["model"])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks the run")
def test_a_second_signal_leaves_at_once(tmp_path: Path) -> None:
    def twice(index: tuple[int, int]) -> None:
        if index[0] == 1:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    child = os.fork()
    if child == 0:
        try:
            fit(toy_model(), toy_data(watch=twice), tmp_path, toy_config())
        finally:
            os._exit(70)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 130
    assert final_state(tmp_path)["step"] == 6
    assert fit(toy_model(), toy_data(), tmp_path, toy_config(), resume=True).step == 24


def test_a_run_that_lost_its_newest_checkpoint_goes_back_and_ends_the_same(tmp_path: Path, uninterrupted: Path) -> None:
    interrupted(tmp_path, (2, 3))
    newest, before = Checkpoints(tmp_path / "checkpoints").paths()
    assert before.name == "step-00000006.ckpt"
    newest.write_bytes(newest.read_bytes()[:-1000])
    fit(
        toy_model(dropout=0.2), toy_data(short=True), tmp_path, toy_config(**EVERYTHING), resume=True,
        settings={"name": "srnn"},
    )  # fmt: skip
    assert rows(tmp_path) == rows(uninterrupted)
    assert_equal(final_state(tmp_path)["model"], final_state(uninterrupted)["model"])


def test_ctrl_c_saves_too(tmp_path: Path) -> None:
    outcome = interrupted(tmp_path, (1, 2), signal.SIGINT)
    assert outcome.signum == signal.SIGINT
    assert final_state(tmp_path)["step"] == outcome.step


def test_another_model_cannot_go_on_with_a_run(tmp_path: Path) -> None:
    fit(toy_model(), toy_data(), tmp_path, toy_config(epochs=1), settings={"name": "srnn"})
    with pytest.raises(ConfigError, match="begun with name = srnn"):
        fit(toy_model("vae"), toy_data(), tmp_path, toy_config(), resume=True, settings={"name": "vae"})
    with pytest.raises(ConfigError, match="holds a run already"):
        fit(toy_model(), toy_data(), tmp_path, toy_config())


def test_more_epochs_continue_a_run_that_is_over(tmp_path: Path) -> None:
    constant: dict[str, Any] = {"lr_schedule": "constant"}
    fit(toy_model(), toy_data(), tmp_path / "two", toy_config(epochs=2, **constant))
    fit(toy_model(), toy_data(), tmp_path / "two", toy_config(epochs=4, **constant), resume=True)
    fit(toy_model(), toy_data(), tmp_path / "four", toy_config(epochs=4, **constant))
    assert rows(tmp_path / "two") == rows(tmp_path / "four")


# ---- what goes wrong -----------------------------------------------------------------------------------------------


class Spoilt(Crops):
    """From some epoch on, one file gives infinite power."""

    def __getitem__(self, index: int | tuple[int, int]) -> Any:
        item = super().__getitem__(index)
        if isinstance(index, tuple) and index == (1, 7):
            item.power[3, 2] = torch.inf
        return item


def test_a_loss_that_is_not_finite_names_the_files(tmp_path: Path) -> None:
    data = TrainingData(Spoilt(8), Crops(5, seed=1), [FRAMES] * 5, collate)  # type: ignore[arg-type]
    with pytest.raises(DynvaeError, match=r"not finite.*file-7\.wav.*step-00000002\.ckpt") as caught:
        fit(toy_model(), data, tmp_path, toy_config())
    assert "\n" not in str(caught.value)
    state = final_state(tmp_path)
    assert state["step"] == 2
    assert all(tensor.isfinite().all() for tensor in state["model"].values())


def test_two_runs_in_one_folder(tmp_path: Path) -> None:
    def second_run(index: Any) -> None:
        if index == (1, 0):
            with pytest.raises(ConfigError, match=f"in use by process {os.getpid()}"):
                fit(toy_model(), toy_data(), tmp_path, toy_config(), resume=True)
            refused.append(index)

    refused: list[Any] = []
    fit(toy_model(), toy_data(watch=second_run), tmp_path, toy_config(epochs=2))
    assert refused


def test_nothing_to_validate_on(tmp_path: Path) -> None:
    data = TrainingData(Crops(8), Crops(0), [], collate)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="nothing to validate on"):
        fit(toy_model(), data, tmp_path, toy_config())
    assert BINS == 6
