"""``dynvae benchmark``, in miniature: from sound files to table and page, again, and with a row that fails."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile
import yaml
from sound_toys import speech_like

from dynvae.benchmark import ROWS
from dynvae.cli import main
from dynvae.cli.benchmark import _config, verb_parser


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five files of one second, in three splits."""
    root = tmp_path_factory.mktemp("speech")
    for index, split in enumerate(("train", "train", "valid", "test", "test")):
        path = root / split / f"speaker{index}" / "a b.wav"
        path.parent.mkdir(parents=True)
        soundfile.write(path, speech_like(1.0, index), 16000)
    return root


def settings(path: Path, speech: Path, **more: object) -> Path:
    """A configuration of a few steps with tiny models."""
    tiny = {"vae": {"model": {"z_dim": 2, "hidden": [8]}}, "storn": {"model": {"z_dim": 2}}}
    path.write_text(
        yaml.safe_dump(
            {
                "data": str(speech),
                "front_end": "32ms",
                "rows": tiny,
                "train": {"frames": 20, "batch_size": 4, "epochs": 1, "patience": 0},
                "metrics": ["rmse", "si_sdr"],
                "examples": 1,
                **more,
            }
        )
    )
    return path


def test_from_sound_files_to_table_and_page(
    speech: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    out = tmp_path / "out"
    words = ["benchmark", "--config", str(settings(tmp_path / "c.yaml", speech)), "--out", str(out)]
    assert main([*words, "--models", "vae,storn,dkf", '--rows.dkf={"model": {"z_dim": 0}}']) == 1
    told = capsys.readouterr().out
    assert "failed: dkf-seed0: sizes must be positive" in told
    assert f"report: {out / 'index.html'}" in told
    rows = list(csv.DictReader((out / "table.csv").read_text().splitlines()))
    assert [(row["model"], row["mode"]) for row in rows] == [
        ("VAE", ""), ("STORN", "teacher-forced"), ("STORN", "generation"), ("DKF", ""),
    ]  # fmt: skip
    assert [row["si_sdr_n"] for row in rows] == ["2", "2", "2", ""]
    assert rows[3]["failed"].startswith("sizes must be positive")
    assert "| VAE |" in (out / "table.md").read_text()
    page = (out / "index.html").read_text()
    assert page.count("<audio") == 4  # the original, VAE, STORN in both modes
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert (out / "plots" / "spectrograms-1.png").stat().st_size > 1000
    assert list(home.iterdir()) == []

    # Once more, with another row instead of the failed one: nothing that is there is done again.
    before = {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*") if path.is_file()}
    assert main([*words, "--models", "vae,storn"]) == 0
    assert "2 of them complete" in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in before}


@pytest.mark.slow
def test_a_stopped_benchmark_goes_on(speech: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = ["benchmark", "--config", str(settings(tmp_path / "c.yaml", speech)), "--out", str(out), "--models", "vae"]
    process = subprocess.Popen(
        [sys.executable, "-m", "dynvae", *words, "--train.epochs", "100000"],
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        log = out / "runs" / "vae-seed0" / "metrics.csv"
        deadline = time.monotonic() + 120
        while not log.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 128 + signal.SIGTERM
    finally:
        process.kill()
        process.wait()
    done = len(log.read_text().splitlines()) - 1
    assert main([*words, "--train.epochs", str(done + 2)]) == 0
    assert "going on from step" in capsys.readouterr().err
    assert len(log.read_text().splitlines()) - 1 == done + 2


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "give --data"),
        (["--data", "nowhere", "--out", "x"], "nowhere: no such corpus"),
        (["--data", "x", "--out", "y", "--models", "vea"], "did you mean 'vae'?"),
        (["--data", "x", "--out", "y", "--seeds", "0,one"], "a seed is a whole number, not 'one'"),
        (["--data", "x", "--out", "y", "--train.epoch", "3"], "did you mean '--train.epochs'?"),
    ],
)
def test_mistakes_are_one_line(words: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                               monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["benchmark", *words]) == 2
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_settings_of_the_demo_are_understood() -> None:
    recipe = Path(__file__).resolve().parents[2] / "recipes" / "demo" / "config.yaml"
    config = _config(verb_parser().parse_args(["--config", str(recipe)]))
    assert (config.data, config.out) == ("builtin", "demo")
    others = ("hit", "light", "sdm", "vsc", "vq")
    assert set(config.models) == {name for name in ROWS if not name.startswith(others)}
    assert config.rows["srnn-ss"]["train"]["epochs"] < config.train.epochs
