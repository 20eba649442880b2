"""``dynvae evaluate`` as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sound_toys import saved_model, speech_folder

from dynvae.cli import main

METRICS = ("--metrics", "rmse,si_sdr", "--workers", "0")


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(saved_model(tmp_path / "runs" / "my srnn" / "model"))


@pytest.fixture
def data(tmp_path: Path) -> str:
    return str(speech_folder(tmp_path / "speech"))


def test_the_table_and_the_files(model: str, data: str, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "140")
    assert main(["evaluate", model, "--data", data, "--workers", "1"]) == 0
    text = capsys.readouterr().out
    for word in ("teacher-forced", "sampled latents, seed 0", "SI-SDR (dB) ↑", "PESQ raw", "ELBO", "95 % interval"):
        assert word in text
    out = tmp_path / "evaluation" / "my srnn" / "speech-test-teacher-forced-seed0"
    assert sorted(path.name for path in out.iterdir()) == ["scores.csv", "settings.json", "summary.json"]
    assert str(out.relative_to(tmp_path) / "scores.csv") in text.replace("\n", "")


def test_json_is_alone_on_standard_output(model: str, data: str, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    arguments = ["evaluate", model, "--data", data, "--out", str(out), "--json", *METRICS]
    assert main([*arguments, "--mode", "generation", "--latents", "mean"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["settings"]["mode"] == "generation"
    assert printed["settings"]["latents"] == "mean"
    assert printed["scores"]["si_sdr"]["n"] == 3
    written = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert written == {key: value for key, value in printed.items() if key in written}


def test_a_second_call_measures_nothing_again(model: str, data: str, tmp_path: Path, capsys) -> None:
    arguments = ["evaluate", model, "--data", data, "--out", str(tmp_path / "out"), *METRICS]
    main([*arguments, "--limit", "2"])
    first = capsys.readouterr().out
    main(arguments)
    second = capsys.readouterr().out
    assert "2 files, " in first
    assert "1 files, " in second
    assert "2 files had been measured before" in second


def test_a_silent_file_is_counted_and_told(model: str, data: str, tmp_path: Path, capsys, caplog) -> None:
    soundfile.write(Path(data) / "test" / "speaker0" / "silence.wav", np.zeros(16000), 16000)
    assert main(["evaluate", model, "--data", data, "--out", str(tmp_path / "out"), *METRICS]) == 0
    assert "test/speaker0/silence.wav is not measured: the file is silent" in caplog.messages
    assert "1 without elbo" in capsys.readouterr().out
    assert json.loads((tmp_path / "out/summary.json").read_text())["scores"]["si_sdr"]["n"] == 3


def test_nothing_but_silence_is_an_error(model: str, tmp_path: Path, capsys) -> None:
    (tmp_path / "quiet" / "test" / "a").mkdir(parents=True)
    soundfile.write(tmp_path / "quiet" / "test" / "a" / "b.wav", np.zeros(16000), 16000)
    assert main(["evaluate", model, "--data", str(tmp_path / "quiet"), "--out", str(tmp_path / "out"), *METRICS]) == 2
    assert "none of the 1 files could be measured; test/a/b.wav: the file is silent" in capsys.readouterr().err


def one_line(capsys) -> str:
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.strip().splitlines()) == 1, told.err
    return told.err


def test_user_errors_are_one_line(model: str, data: str, tmp_path: Path, capsys) -> None:
    def failing(*arguments: str) -> str:
        assert main(["evaluate", *arguments, "--out", str(tmp_path / "out")]) == 2
        return one_line(capsys)

    assert "there is no model or folder 'nowhere'" in failing("nowhere", "--data", data)
    assert "no such corpus" in failing(model, "--data", str(tmp_path / "missing"))
    (tmp_path / "empty").mkdir()
    assert "no sound files" in failing(model, "--data", str(tmp_path / "empty"))
    assert "there is no split 'dev'" in failing(model, "--data", data, "--split", "dev")
    assert "no metric 'pesq'" in failing(model, "--data", data, "--metrics", "pesq")
    assert "did you mean '--latents'" in failing(model, "--data", data, "--latent", "mean")
    assert "free" in failing(model, "--data", data, "--mode", "free")
    assert "data" in failing(model)
    assert not (tmp_path / "out").exists()
    bare = saved_model(tmp_path / "bare", front_end=False)
    assert "carries no front end" in failing(str(bare), "--data", data)


def test_real_speech(shared: Path, tmp_path: Path, capsys) -> None:
    model = str(saved_model(tmp_path / "vae", "vae"))
    data = str(shared / "data" / "speech")
    assert main(["evaluate", model, "--data", data, "--limit", "2", "--out", str(tmp_path / "out"), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert {summary["n"] for summary in scores.values()} == {2}
