"""What a benchmark is going to do follows from its settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dynvae.benchmark import ROWS, BenchmarkConfig
from dynvae.benchmark.plan import Job, plan
from dynvae.benchmark.results import result_of
from dynvae.errors import ConfigError
from dynvae.models import PRESETS
from dynvae.training import TrainConfig


def config(out: Path, **settings: Any) -> BenchmarkConfig:
    return BenchmarkConfig(**{"data": "speech", "out": str(out), "train": TrainConfig(epochs=10), **settings})


def test_every_preset_has_a_row() -> None:
    more = {"v-vae", "av-vae", "av-cvae", "av-dkf", "min-vae", "mvae", "mmvae", "mopoe", "mdvae"}
    assert set(ROWS) == {*PRESETS, "srnn-ss"} - more
    titles = {"rvae-causal": "RVAE-causal", "hit": "HiT-DVAE", "light-inv-s": "LigHT-DVAE-inv-s", "srnn": "SRNN"}
    assert {name: ROWS[name].title for name in titles} == titles


def test_every_row_and_seed_has_a_run_of_its_own(tmp_path: Path) -> None:
    jobs = plan(config(tmp_path, models=("vae", "dkf"), seeds=(0, 3)), "/speech")
    assert [job.name for job in jobs] == ["dkf-seed0", "dkf-seed3", "vae-seed0", "vae-seed3"]  # the longest first
    assert [job.train["seed"] for job in jobs] == [0, 3, 0, 3]
    assert jobs[0].path == tmp_path / "runs" / "dkf-seed0"


def test_autoregressive_models_are_measured_in_both_modes(tmp_path: Path) -> None:
    modes = {job.row: job.modes for job in plan(config(tmp_path), "/speech")}
    both = {row for row, its in modes.items() if len(its) == 2}
    rows = {"storn", "vrnn", "srnn", "srnn-ss", "sdm-srnn"}
    assert both == {*rows, *(name for name in ROWS if name.startswith(("hit", "light")))}
    one = plan(config(tmp_path, models=("srnn",), modes=("generation",)), "/speech")
    assert one[0].modes == ("generation",)


def test_scheduled_sampling_begins_from_the_trained_srnn_of_the_same_seed(tmp_path: Path) -> None:
    jobs = {job.name: job for job in plan(config(tmp_path, models=("srnn-ss", "vae"), seeds=(0, 1)), "/speech")}
    assert next(iter(jobs)).startswith("srnn-seed")  # needed, though it is not asked for, and first
    job = jobs["srnn-ss-seed1"]
    assert job.init == str(tmp_path / "runs" / "srnn-seed1")
    assert (job.train["free_running"], job.train["free_running_end"]) == (1.0, 5.0)
    assert jobs["srnn-seed1"].train["free_running"] == 0


def test_what_others_start_from_comes_first(tmp_path: Path) -> None:
    names = [job.row for job in plan(config(tmp_path), "/speech")]
    assert (names[0], names[-1]) == ("srnn", "srnn-ss")


def test_a_row_has_its_own_settings(tmp_path: Path) -> None:
    rows = {
        "srnn-ss": {"train": {"epochs": 4, "free_running": 0.5}},
        "vae": {"model": {"z_dim": 8}, "train": {"lr": 0.1}},
    }
    jobs = {job.row: job for job in plan(config(tmp_path, rows=rows), "/speech")}
    assert (jobs["vae"].model, jobs["vae"].train["lr"]) == ({"z_dim": 8}, 0.1)
    assert jobs["rvae-causal"].model == {"causal": True}
    assert (jobs["srnn-ss"].train["free_running"], jobs["srnn-ss"].train["free_running_end"]) == (0.5, 2.0)
    assert jobs["srnn"].train["epochs"] == 10


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"models": ("srn",)}, "there is no 'srn' in models; did you mean 'srnn'?"),
        ({"models": ()}, "models is empty"),
        ({"seeds": (0, 0)}, "seeds names something twice"),
        ({"seeds": (-1,)}, "must not be negative"),
        ({"modes": ("teacher",)}, "did you mean 'teacher-forced'?"),
        ({"files": {"tests": 3}}, "did you mean 'test'?"),
        ({"files": {"test": 0}}, "must be positive"),
        ({"rows": {"vae": {"trian": {}}}}, "did you mean 'train'?"),
        ({"rows": {"vae": {"train": {"epoch": 3}}}}, "there is no 'epoch' in rows.vae.train; did you mean 'epochs'?"),
        ({"rows": {"vae": {"model": {"zdim": 3}}}}, "did you mean 'z_dim'?"),
        ({"metrics": ("si_sd",)}, "did you mean 'si_sdr'?"),
    ],
)
def test_a_wrong_setting_is_named_with_the_nearest_right_one(
    settings: dict[str, Any], text: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as error:
        config(tmp_path, **settings)
    assert text in str(error.value)
    assert "\n" not in str(error.value)


def test_a_row_out_of_range_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lr must be positive"):
        plan(config(tmp_path, rows={"vae": {"train": {"lr": -1}}}), "/speech")


def note(job: Job) -> None:
    job.path.mkdir(parents=True)
    (job.path / "job.json").write_text(json.dumps(job.to_json()))


def test_a_run_that_was_begun_goes_on_with_more_epochs_but_not_with_other_settings(tmp_path: Path) -> None:
    note(plan(config(tmp_path, models=("vae",)), "/speech")[0])
    longer = config(tmp_path, models=("vae",), train=TrainConfig(epochs=20, patience=3))
    assert plan(longer, "/speech")[0].train["epochs"] == 20
    with pytest.raises(ConfigError, match=r"was begun with lr = 0\.001, now it is 0\.01; remove it"):
        plan(config(tmp_path, models=("vae",), train=TrainConfig(lr=0.01)), "/speech")
    with pytest.raises(ConfigError, match="was begun with data = /speech"):
        plan(config(tmp_path, models=("vae",)), "/other")


def test_a_folder_may_be_moved(tmp_path: Path) -> None:
    there = plan(config(tmp_path / "there", models=("srnn-ss",)), "/speech")
    for job in there:
        note(job)
        (job.path / "result.json").write_text(json.dumps({"job": job.to_json()}))
    (tmp_path / "there").rename(tmp_path / "here")
    here = plan(config(tmp_path / "here", models=("srnn-ss",)), "/speech")
    assert [job.identity for job in here] == [job.identity for job in there]
    assert all(result_of(job) for job in here)
    assert not any(result_of(job) for job in there)


def test_a_damaged_note_is_named(tmp_path: Path) -> None:
    job = plan(config(tmp_path, models=("vae",)), "/speech")[0]
    note(job)
    (job.path / "job.json").write_text("{")
    with pytest.raises(ConfigError, match=r"job\.json cannot be read"):
        plan(config(tmp_path, models=("vae",)), "/speech")


def test_a_job_survives_its_file(tmp_path: Path) -> None:
    job = plan(config(tmp_path, models=("srnn-ss",)), "/speech")[1]
    again = Job.from_json(json.loads(json.dumps(job.to_json())))
    assert again.to_json() == job.to_json()
    assert TrainConfig(**{**again.train, "betas": tuple(again.train["betas"])}).free_running == 1.0
