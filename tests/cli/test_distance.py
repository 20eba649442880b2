"""``dynvae distance``: generated sound against real sound, and the floor beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile
from sound_toys import saved_model, speech_like

from dynvae.cli import main


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Eight files of 2.4 s."""
    root = tmp_path_factory.mktemp("real")
    for index in range(8):
        (root / f"speaker{index % 2}").mkdir(exist_ok=True)
        soundfile.write(root / f"speaker{index % 2}" / f"{index} ü.flac", speech_like(2.4, index), 16000)
    return str(root)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Six clips of 1.2 s."""
    folder = tmp_path_factory.mktemp("generated")
    model = str(saved_model(folder / "model"))
    out = folder / "sound"
    assert main(["generate", model, "-n", "6", "--seconds", "1.2", "--iterations", "2", "--out", str(out)]) == 0
    return str(out)


def test_distances_and_floor(generated: str, real: str, capsys) -> None:
    assert main(["distance", generated, real, "--seconds", "1.1", "--splits", "2"]) == 0
    told = capsys.readouterr().out
    assert "Fréchet distance ↓" in told
    assert "kernel distance ↓" in told
    assert "6 clips of 1.1 s on each side, 2 parts of 3" in " ".join(told.split())
    assert "log-mel features, 180 of a clip" in " ".join(told.split())
    assert "FDSD" not in told


def test_numbers_alone(generated: str, real: str, capsys) -> None:
    arguments = ["distance", generated, real, "--seconds", "1.1", "--splits", "2", "-n", "4", "--json"]
    assert main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["n"], found["d"], found["splits"], found["features"]) == (4, 180, 2, "log-mel")
    assert found["frechet"]["mean"] > found["frechet_floor"]["mean"] > 0
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out) == found


def test_floor_of_ones_own(generated: str, real: str, tmp_path: Path, capsys) -> None:
    for index in range(3):
        soundfile.write(tmp_path / f"{index}.wav", speech_like(2.4, 20 + index), 16000)
    arguments = ["distance", generated, real, "--seconds", "1.1", "--splits", "1"]
    assert main([*arguments, "--floor", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 6
    assert main([*arguments, "--floor", f"{real}/speaker0"]) == 2
    assert "must not share files" in capsys.readouterr().err


def test_user_errors_are_one_line(generated: str, real: str, tmp_path: Path, capsys) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.wav").write_text("no sound")
    pair = [generated, real, "--seconds", "1.1"]
    for arguments, message in [
        ([generated], "reference"),
        ([str(tmp_path / "nowhere"), real], "no such folder"),
        ([str(tmp_path / "empty"), real], "no sound files"),
        ([str(tmp_path / "bad"), real], "a.wav"),
        ([generated, str(tmp_path / "nowhere")], "no such corpus"),
        ([generated, real], "gives 0 clips of 1.6 s"),
        ([*pair], "gives 6 clips of 1.1 s, where 10 are needed"),
        ([*pair, "-n", "5", "--splits", "2"], "5 clips cannot be split into 2"),
        ([*pair, "-n", "10"], "where 10 are needed"),
        ([*pair, "--splits", "0"], "must be positive"),
        ([*pair, "--trim-db", "-1"], "not negative"),
        ([generated, real, "--seconds", "0"], "must be positive"),
        ([generated, real, "--seconds", "0.5", "--splits", "2"], "need clips of 1.02 s"),
        ([*pair, "--extractor", "mfcc"], "extractor"),
        ([*pair, "--extractor", "deepspeech2"], "need the file of a network"),
        ([*pair, "--extractor", "deepspeech2", "--weights", str(tmp_path / "x.pt")], "no such file"),
        ([*pair, "--extractor", "onnx", "--weights", str(tmp_path / "bad" / "a.wav")], "a.wav"),
        ([*pair, "--rate", "8000"], "16000 Hz"),
        ([*pair, "--split", "other"], "no split 'other'"),
    ]:
        assert main(["distance", *arguments]) == 2, arguments
        told = capsys.readouterr()
        assert message in told.err, arguments
        errors = [line for line in told.err.splitlines() if line.startswith("dynvae distance: ")]
        assert errors == told.err.splitlines()[-1:], told.err  # a notice about the corpus may come before
