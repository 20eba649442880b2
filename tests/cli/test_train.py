"""``dynvae train``, as a user runs it: on sound files, with signals, full disks and slips of the pen."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml

from dynvae.cli import main
from dynvae.pretrained import load
from dynvae.training.checkpoints import Checkpoints

SMALL = ["--train.frames", "10", "--train.batch_size", "4", "--front-end", "32ms", "--train.threads", "1"]
VAE = ["--model.hidden", "[8]", "--model.z_dim", "2"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five noises of a second, of which one is for validation."""
    folder = tmp_path_factory.mktemp("köln ü")
    dice = np.random.default_rng(0)
    rows = ["path,speaker,split"]
    for index in range(5):
        name = f"noise {index}.wav"
        soundfile.write(folder / name, 0.1 * dice.standard_normal(16000), 16000)
        rows.append(f"{name},s{index},{'valid' if index == 4 else 'train'}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def words(corpus: Path, out: Path, *more: str) -> list[str]:
    return ["train", "vae", "--data", str(corpus), "--out", str(out), *SMALL, *VAE, *more]


def log(out: Path) -> list[dict[str, str]]:
    with (out / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return [
            {k: v for k, v in row.items() if k not in ("seconds", "frames_per_second")} for row in csv.DictReader(file)
        ]


def start(arguments: list[str], **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "dynvae", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, **options,
    )  # fmt: skip


def wait_for(out: Path, child: subprocess.Popen[str], seconds: float = 90.0) -> None:
    """Until the run has a checkpoint."""
    deadline = time.monotonic() + seconds
    while not Checkpoints(out / "checkpoints").paths():
        assert time.monotonic() < deadline
        assert child.poll() is None, child.communicate()
        time.sleep(0.02)


def test_train_then_resume_with_more_epochs(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert main(words(corpus, out, "--train.epochs", "1", "--train.lr_schedule", "constant")) == 0
    said = capsys.readouterr()
    assert "best at epoch 1" in said.out
    assert f"writing to {out}" in said.err
    assert "nats/frame" in said.err
    model = load(str(out))
    assert (model.x_dim, model.z_dim) == (257, 2)
    assert model.front_end is not None
    assert model.front_end.window_length == 512
    assert main(["train", "--out", str(out), "--resume", "--train.epochs", "2"]) == 0
    assert [float(row["epoch"]) for row in log(out)] == [1.0, 2.0]
    assert yaml.safe_load((out / "config.yaml").read_text())["train"]["epochs"] == 2


def test_the_saved_settings_repeat_the_run(corpus: Path, tmp_path: Path) -> None:
    assert main(words(corpus, tmp_path / "one", "--train.epochs", "1", "--train.seed", "3")) == 0
    config = tmp_path / "one" / "config.yaml"
    assert main(["train", "--config", str(config), "--out", str(tmp_path / "two")]) == 0
    assert log(tmp_path / "one") == log(tmp_path / "two")


def test_workers_change_nothing(corpus: Path, tmp_path: Path) -> None:
    assert main(words(corpus, tmp_path / "none", "--train.epochs", "2")) == 0
    assert main(words(corpus, tmp_path / "two", "--train.epochs", "2", "--train.workers", "2")) == 0
    assert log(tmp_path / "none") == log(tmp_path / "two")


def test_bad_files_are_told_and_left_out(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "corpus"
    shutil.copytree(corpus, folder)
    (folder / "noise 1.wav").write_bytes(b"")
    assert main(words(folder, tmp_path / "run", "--train.epochs", "1")) == 2
    said = capsys.readouterr().err
    assert f"dynvae train: {folder / 'noise 1.wav'}: the file is empty (0 bytes)" in said
    assert main(words(folder, tmp_path / "run", "--train.epochs", "1", "--on-bad", "skip")) == 0
    said = capsys.readouterr().err
    assert "1 of 4 files are left out:" in said
    assert "noise 1.wav: the file is empty (0 bytes)" in said
    saved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (saved["on_bad"], saved["cache"]) == ("skip", "exact")
    assert main(["train", "--out", str(tmp_path / "run"), "--resume", "--train.epochs", "2"]) == 0


def test_start_from_a_trained_model(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(corpus, tmp_path / "one", "--train.epochs", "1")) == 0
    again = ["--init", str(tmp_path / "one"), "--train.epochs", "1", "--train.lr", "1e-9", "--train.warmup_steps", "0"]
    assert main(words(corpus, tmp_path / "two", *again)) == 0
    assert float(log(tmp_path / "two")[0]["valid_elbo"]) == pytest.approx(
        float(log(tmp_path / "one")[0]["valid_elbo"]), rel=1e-3
    )
    assert main(words(corpus, tmp_path / "three", *again, "--model.z_dim", "3")) == 2
    assert "has other sizes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("slip", "complaint"),
    [
        (["train", "srn"], "there is no model 'srn'; did you mean 'srnn'?"),
        (["train", "vae", "--train.lrr", "1"], "there is no setting '--train.lrr'; did you mean '--train.lr'?"),
        (["train", "vae", "--model.zdim", "1"], "there is no setting '--model.zdim'; did you mean '--model.z_dim'?"),
        (["train", "vae", "--model.x_dim", "1"], "there is no setting '--model.x_dim'"),
        (["train", "vae", "--data", "x", "--out", "y", "--codecs.audio", "z"], "--codecs goes with a model of"),
        (["train", "vae"], "give --data; dynvae train --help tells the options"),
        (["train"], "give a model, e.g. dynvae train srnn"),
        (["train", "vae", "--data", "x", "--out", "y", "--train.lr", "-1"], "train.lr must be positive; it is -1.0"),
        (["train", "vae", "--data", "nowhere", "--out", "y"], "nowhere"),
        (["train", "vae", "--front-end", "16ms"], "front_end"),
        (["train", "--config", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_slips_of_the_pen(slip: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(slip) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1
    assert said.startswith("dynvae train: ")


def test_help_tells_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["train", "srnn", "--help"])
    assert caught.value.code == 0
    said = capsys.readouterr().out
    assert "--train.kl_warmup" in said
    assert "--model.forward_rnn" in said
    assert "frames in a training crop" in said


@pytest.mark.slow
def test_sigterm_then_resume_equals_the_uninterrupted_run(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["--train.epochs", "5000", "--train.patience", "0", "--train.lr_schedule", "constant"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    child = start(words(corpus, stopped, *settings))
    wait_for(stopped, child)
    assert main(words(corpus, stopped, *settings, "--resume")) == 2, "while the first is at work"
    assert f"{stopped} is in use by process {child.pid}" in capsys.readouterr().err
    child.send_signal(signal.SIGTERM)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 143, err
    assert f"--out {stopped} --resume" in err
    enough = str(len(log(stopped)) + 3)
    assert main(["train", "--out", str(stopped), "--resume", "--train.epochs", enough]) == 0
    assert main(words(corpus, whole, *settings, "--train.epochs", enough)) == 0
    assert log(stopped) == log(whole)


@pytest.mark.slow
def test_a_full_disk_keeps_the_old_checkpoint(corpus: Path, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    assert main(words(corpus, tmp_path, "--train.epochs", "1")) == 0
    before = Checkpoints(tmp_path / "checkpoints").paths()
    limit = before[0].stat().st_size // 2

    def fill_the_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    child = start(words(corpus, tmp_path, "--train.epochs", "3", "--resume"), preexec_fn=fill_the_disk)
    _, err = child.communicate(timeout=90)
    assert child.returncode == 2, err
    assert "could not be written" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert Checkpoints(tmp_path / "checkpoints").paths() == before
    assert Checkpoints(tmp_path / "checkpoints").load() is not None
    assert load(str(tmp_path)).z_dim == 2
