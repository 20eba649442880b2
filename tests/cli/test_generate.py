"""``dynvae generate``: new sound, the same for the same seed, wherever it was stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sound_toys import saved_model

from dynvae.cli import main
from dynvae.errors import MissingExtraError
from dynvae.models import ZOO

FAST = ("--seconds", "0.2", "--iterations", "3", "--batch", "2")


def generated(folder: Path) -> dict[str, bytes]:
    """The sound in a folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.wav"))}


@pytest.mark.parametrize("name", list(ZOO))
def test_every_model_generates(name: str, tmp_path: Path, capsys) -> None:
    model = saved_model(tmp_path / "model", name)
    out = tmp_path / "out"
    assert main(["generate", str(model), "-n", "2", *FAST, "--out", str(out)]) == 0
    names = ["sample-00001.wav", "sample-00002.wav", "samples.png", "settings.json"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert capsys.readouterr().out.splitlines() == [
        f"2 clips of 0.2 s in {out}", f"spectrograms of 2: {out / 'samples.png'}"
    ]  # fmt: skip
    sound, rate = soundfile.read(out / "sample-00001.wav")
    assert (len(sound), rate) == (3200, 16000)
    assert np.abs(sound).max() == pytest.approx(0.9, abs=1e-3)


def test_seed_and_feedback_decide(tmp_path: Path) -> None:
    model = str(saved_model(tmp_path / "model"))
    sounds = []
    for index, options in enumerate([[], [], ["--seed", "1"], ["--feedback", "sample"]]):
        out = tmp_path / str(index)
        assert main(["generate", model, "-n", "1", *FAST, "--out", str(out), *options]) == 0
        sounds.append((out / "sample-00001.wav").read_bytes())
    assert sounds[0] == sounds[1]
    assert len(set(sounds)) == 3


def test_what_was_stopped_goes_on_and_more_can_be_added(tmp_path: Path, capsys) -> None:
    model = str(saved_model(tmp_path / "model"))
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main(["generate", model, "-n", "5", *FAST, "--out", str(whole)]) == 0
    assert main(["generate", model, "-n", "3", *FAST, "--out", str(parts)]) == 0
    (parts / "sample-00001.wav").unlink()
    soundfile.write(parts / "sample-00003.wav", np.zeros(7), 16000)  # not whole
    kept = (parts / "sample-00002.wav").stat().st_mtime_ns
    capsys.readouterr()
    assert main(["generate", model, "-n", "5", *FAST, "--out", str(parts)]) == 0
    assert "5 clips of 0.2 s" in (told := capsys.readouterr().out)
    assert ", 1 from before" in told
    assert generated(parts) == generated(whole)
    assert (parts / "sample-00002.wav").stat().st_mtime_ns == kept


def test_clips_with_other_settings_are_refused(tmp_path: Path, capsys) -> None:
    model, other = (str(saved_model(tmp_path / name, name)) for name in ("srnn", "vae"))
    out = tmp_path / "out"
    assert main(["generate", model, "-n", "3", *FAST, "--out", str(out)]) == 0
    before = generated(out)
    assert f"writes 3 clips and their spectrograms to {out}" in capsys.readouterr().err
    for arguments, message in [
        ([model, *FAST, "--seed", "1"], "another seed (0, now 1)"),
        ([model, *FAST, "--batch", "1"], "another batch (2, now 1)"),
        ([other, *FAST], "another model ("),
    ]:
        assert main(["generate", *arguments, "-n", "2", "--out", str(out)]) == 2
        told = capsys.readouterr().err
        assert message in told
        assert len(told.strip().splitlines()) == 1
        assert generated(out) == before
    assert main(["generate", model, *FAST, "--seed", "1", "-n", "2", "--out", str(out), "--overwrite"]) == 0
    assert len(generated(out)) == 2
    assert not set(generated(out).values()) & set(before.values())
    assert json.loads((out / "settings.json").read_text())["seed"] == 1
    (out / "settings.json").unlink()
    assert main(["generate", model, *FAST, "-n", "2", "--out", str(out)]) == 2
    assert "unknown settings" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="signals are another thing there")
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_and_leaves_whole_files(signum: int, tmp_path: Path) -> None:
    model = str(saved_model(tmp_path / "model"))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "dynvae", "generate", model, "-n", "2000", *FAST, "--out", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while len(generated(out)) < 3 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signum)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 128 + signum
    assert told.splitlines()[-1].startswith("dynvae generate: stopped with ")
    assert len(told.strip().splitlines()) == 2  # what is written, and that it was stopped
    names = {path.name for path in out.iterdir()}
    assert all(name.startswith(("sample-", "settings")) for name in names)
    assert {soundfile.info(path).frames for path in out.glob("*.wav")} == {3200}


def test_without_matplotlib_the_sound_is_written_all_the_same(tmp_path: Path, capsys, monkeypatch) -> None:
    def missing(*_: object) -> None:
        raise MissingExtraError("matplotlib is not installed; get it with: pip install 'dynvae[report]'")

    monkeypatch.setattr("dynvae.evaluation.plots.require", missing)
    model = str(saved_model(tmp_path / "model"))
    assert main(["generate", model, "-n", "1", *FAST, "--out", str(tmp_path / "out")]) == 0
    assert "no sheet of spectrograms: matplotlib is not installed" in capsys.readouterr().err
    assert list(generated(tmp_path / "out")) == ["sample-00001.wav"]


def test_user_errors_are_one_line(tmp_path: Path, capsys) -> None:
    model = str(saved_model(tmp_path / "model"))
    bare = str(saved_model(tmp_path / "bare", front_end=False))
    (tmp_path / "file").write_text("")
    for arguments, message in [
        (["nowhere"], "no model or folder"),
        ([model, "-n", "0"], "must be positive"),
        ([model, "--seconds", "-1"], "must be positive"),
        ([model, "--seconds", "1e-9"], "must be positive"),
        ([model, "--seconds", "nan"], "seconds"),
        ([model, "--seconds", "soon"], "seconds"),
        ([model, "--batch", "0"], "must be positive"),
        ([model, "--feedback", "none"], "feedback"),
        ([bare], "carries no front end"),
        ([model, "--out", str(tmp_path / "file" / "out")], "cannot be written"),
    ]:
        assert main(["generate", "--out", str(tmp_path / "out"), *arguments]) == 2
        told = capsys.readouterr()
        assert message in told.err
        assert len(told.err.strip().splitlines()) == 1, told.err
    assert not (tmp_path / "out").exists()
