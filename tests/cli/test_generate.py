"""``dynvae generate``: new sound, the same for the same seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from sound_toys import saved_model

from dynvae.cli import main
from dynvae.errors import MissingExtraError
from dynvae.models import ZOO

FAST = ("--seconds", "0.2", "--iterations", "3")


@pytest.mark.parametrize("name", list(ZOO))
def test_every_model_generates(name: str, tmp_path: Path, capsys) -> None:
    model = saved_model(tmp_path / "model", name)
    assert main(["generate", str(model), "-n", "2", *FAST, "--out", str(tmp_path / "out")]) == 0
    names = ["sample-1.wav", "sample-2.wav", "samples.png"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    assert capsys.readouterr().out.split() == [str(tmp_path / "out" / name) for name in names]
    sound, rate = soundfile.read(tmp_path / "out" / "sample-1.wav")
    assert (len(sound), rate) == (3200, 16000)
    assert np.abs(sound).max() == pytest.approx(0.9, abs=1e-3)


def test_seed_and_feedback_decide(tmp_path: Path) -> None:
    model = str(saved_model(tmp_path / "model"))
    sounds = []
    for index, options in enumerate([[], [], ["--seed", "1"], ["--feedback", "sample"]]):
        out = tmp_path / str(index)
        assert main(["generate", model, "-n", "1", *FAST, "--out", str(out), *options]) == 0
        sounds.append((out / "sample-1.wav").read_bytes())
    assert sounds[0] == sounds[1]
    assert len(set(sounds)) == 3


def test_without_matplotlib_the_sound_is_written_all_the_same(tmp_path: Path, capsys, monkeypatch) -> None:
    def missing(*_: object) -> None:
        raise MissingExtraError("matplotlib is not installed; get it with: pip install 'dynvae[report]'")

    monkeypatch.setattr("dynvae.evaluation.plots.require", missing)
    model = str(saved_model(tmp_path / "model"))
    assert main(["generate", model, "-n", "1", *FAST, "--out", str(tmp_path / "out")]) == 0
    assert "no sheet of spectrograms: matplotlib is not installed" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["sample-1.wav"]


def test_user_errors_are_one_line(tmp_path: Path, capsys) -> None:
    model = str(saved_model(tmp_path / "model"))
    bare = str(saved_model(tmp_path / "bare", front_end=False))
    for arguments, message in [
        (["nowhere"], "no model or folder"),
        ([model, "-n", "0"], "must be positive"),
        ([model, "--seconds", "-1"], "must be positive"),
        ([model, "--seconds", "soon"], "seconds"),
        ([model, "--feedback", "none"], "feedback"),
        ([bare], "carries no front end"),
    ]:
        assert main(["generate", *arguments, "--out", str(tmp_path / "out")]) == 2
        told = capsys.readouterr()
        assert message in told.err
        assert len(told.err.strip().splitlines()) == 1, told.err
    assert not (tmp_path / "out").exists()
