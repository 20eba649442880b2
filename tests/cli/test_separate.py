"""``dynvae separate``: files in, the files of their sources out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import sound_toys as toys
import soundfile

from dynvae.audio import read_audio
from dynvae.cli import main


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("models")
    return ",".join(str(toys.saved_model(folder / name, name)) for name in ("vae", "srnn"))


@pytest.fixture
def mixtures(tmp_path: Path) -> Path:
    root = tmp_path / "in"
    for name, rate, channels in (("a.wav", 16000, 1), ("deep/b.flac", 22050, 2)):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        sound = np.stack([toys.speech_like(0.6, seed, rate) for seed in range(channels)], 1)
        soundfile.write(path, sound, rate)
    return root


def test_sources_add_up_and_nothing_is_done_twice(
    models: str, mixtures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["separate", str(mixtures), "--models", models, "--out", str(tmp_path / "out"), "--iterations", "2"]
    assert main([*words, "--float"]) == 0
    out = tmp_path / "out"
    parts = [read_audio(out / f"a.{name}.wav", mono=False)[0] for name in ("vae", "srnn")]
    whole = read_audio(mixtures / "a.wav", mono=False)[0]
    np.testing.assert_allclose(parts[0] + parts[1], whole - whole.mean(), atol=1e-3)
    info = soundfile.info(out / "deep/b.srnn.wav")
    assert (info.samplerate, info.channels) == (22050, 2)
    assert "2 files" in capsys.readouterr().out
    first = (out / "a.vae.wav").stat().st_mtime_ns
    assert main([*words, "--float"]) == 0
    assert (out / "a.vae.wav").stat().st_mtime_ns == first


def test_report_and_scores(models: str, mixtures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = tmp_path / "true"
    for name in ("one", "two"):
        (truth / name).mkdir(parents=True)
        soundfile.write(truth / name / "a.wav", toys.speech_like(0.6, len(name)), 16000)
    words = ["separate", str(mixtures / "a.wav"), "--models", models, "--names", "one,two", "--json",
             "--references", f"{truth / 'one'},{truth / 'two'}", "--metrics", "si_sdr", "--iterations", "2",
             "--out", str(tmp_path / "out")]  # fmt: skip
    assert main(words) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["sources"] == ["one", "two"]
    (file,) = report["files"]
    assert [Path(path).name for path in file["outputs"]] == ["a.one.wav", "a.two.wav"]
    assert sum(file["energy"]) == pytest.approx(1)
    assert set(report["scores"]["two"]["separated"]) == {"si_sdr"}
    assert isinstance(file["scores"][0]["separated"]["si_sdr"], float)


def test_twins_and_long_files(mixtures: Path, tmp_path: Path, models: str) -> None:
    vae = models.split(",")[0]
    words = ["separate", str(mixtures / "a.wav"), "--models", f"{vae},{vae}", "--out", str(tmp_path / "out"),
             "--iterations", "2", "--chunk", "0.3", "--overlap", "0.05"]  # fmt: skip
    assert main(words) == 0
    assert sorted(path.name for path in (tmp_path / "out").glob("*.wav")) == ["a.vae-1.wav", "a.vae-2.wav"]
    assert soundfile.info(tmp_path / "out/a.vae-1.wav").frames == soundfile.info(mixtures / "a.wav").frames


def test_a_bad_file_keeps_no_other_from_being_done(
    models: str, mixtures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (mixtures / "c.wav").write_bytes(b"no sound")
    words = ["separate", str(mixtures), "--models", models, "--out", str(tmp_path / "out"), "--iterations", "1"]
    assert main(words) == 2
    assert "c.wav" in capsys.readouterr().err
    assert (tmp_path / "out/a.vae.wav").is_file()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--models", "vae-speech"], "at least two"),
        (["--models", "vae-speech,vae-speech", "--names", "a,a"], "name of its own"),
        (["--models", "vae-speech,vae-speech", "--names", "a,b/c"], "fit for a file"),
        (["--models", "vae-speech,vae-speech", "--references", "a"], "1 true sources"),
        (["--models", "vae-speech,vae-speech", "--metrics", "beauty"], "no metric 'beauty'"),
        (["--models", "vae-speech,nobody"], "nobody"),
    ],
)
def test_problems_are_told_in_one_line(
    options: list[str], complaint: str, mixtures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["separate", str(mixtures), "--out", str(tmp_path / "out"), *options]) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1
