"""``dynvae enhance``: every kind of input comes out in its own form, or with one clear line."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from sound_toys import saved_model, speech_folder, speech_like

from dynvae.cli import main
from dynvae.cli.enhance import _way, verb_parser
from dynvae.testtime.presets import PRESETS

TRAINED = ["--prior", "vae-speech"]
"""An untrained prior claims no speech, and silence comes out."""


@pytest.fixture
def prior(tmp_path: Path) -> str:
    return str(saved_model(tmp_path / "model", "vae"))


@pytest.fixture
def enhance(prior: str, tmp_path: Path, capsys):
    """Run the verb with few iterations; what it gives, prints, and complains of."""

    def call(*words: object, out: str = "out", code: int = 0) -> SimpleNamespace:
        quick = [] if "--stream" in words else ["--iterations", "2"]
        arguments = ["enhance", "--prior", prior, "--out", str(tmp_path / out), *quick, *map(str, words)]
        assert main(arguments) == code, capsys.readouterr().err
        told = capsys.readouterr()
        return SimpleNamespace(out=told.out, err=told.err, folder=tmp_path / out)

    return call


def written(path: Path, sound: np.ndarray, rate: int = 16000, subtype: str = "PCM_16") -> Path:
    soundfile.write(path, sound, rate, subtype=subtype)
    return path


FORMS = [
    ("a ü.wav", 8000, 1, "PCM_16"),
    ("b.wav", 48000, 2, "PCM_24"),
    ("c.flac", 16000, 1, "PCM_16"),
    ("d.wav", 16000, 2, "FLOAT"),
    ("e.ogg", 44100, 1, "VORBIS"),
]


@pytest.mark.parametrize("stream", [[], ["--stream"], ["--chunk", "0.1", "--overlap", "0.02"]])
def test_form_is_kept(enhance, tmp_path: Path, stream: list[str]) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, rate, channels, subtype in FORMS:
        written(folder / name, np.stack([speech_like(0.2, seed, rate) for seed in range(channels)], 1), rate, subtype)
    told = enhance(folder, *stream)
    for name, *_ in FORMS:
        before, after = soundfile.info(folder / name), soundfile.info(told.folder / name)
        kept = ("samplerate", "channels", "frames", "format", "subtype")
        assert [getattr(after, field) for field in kept] == [getattr(before, field) for field in kept]
    assert "48000 Hz, resampled to the prior's 16000 Hz and back" in told.err
    assert ("latency" in told.out) == (stream == ["--stream"])


@pytest.mark.parametrize("stream", [[], ["--stream"]])
def test_bad_inputs_do_what_they_must(enhance, tmp_path: Path, stream: list[str]) -> None:
    """Silence stays silence; a sample passes; what is clipped passes; NaN is refused with its place; others go on."""
    folder = tmp_path / "in"
    folder.mkdir()
    sound = speech_like(0.3)
    written(folder / "silent.wav", np.zeros(4000))
    written(folder / "one.wav", np.array([0.5]))
    written(folder / "clipped.wav", np.clip(40 * sound, -1, 1))
    bad = sound.copy()
    bad[[100, 200]] = np.nan, np.inf
    written(folder / "nan.wav", bad, subtype="FLOAT")
    (folder / "empty.wav").write_bytes(b"")
    written(folder / "short.wav", sound)
    (folder / "short.wav").write_bytes((folder / "short.wav").read_bytes()[:-2000])
    (folder / "text.wav").write_text("no sound at all")
    told = enhance(folder, *stream, code=2)
    assert not soundfile.read(told.folder / "silent.wav")[0].any()
    assert soundfile.info(told.folder / "one.wav").frames == 1
    assert np.isfinite(soundfile.read(told.folder / "clipped.wav")[0]).all()
    for name, problem in (
        ("nan.wav", "2 samples are NaN or infinite, first at index 100"),
        ("empty.wav", "the file is empty"),
        ("short.wav", "cut short"),
        ("text.wav", "not a sound file"),
    ):
        assert sum(problem in line for line in told.err.splitlines()) == 1, told.err
        assert not (told.folder / name).exists()
    assert stream or "silent.wav: the file is silent, and stays so" in told.err
    assert "3 of 7 files done" in told.out
    assert "Traceback" not in told.err
    assert not list(told.folder.glob(".tmp*"))


def test_beyond_full_scale_is_counted_or_kept(enhance, tmp_path: Path, monkeypatch) -> None:
    source = written(tmp_path / "loud.wav", 0.9 * np.sign(speech_like(0.2)))
    monkeypatch.setattr(
        "dynvae.evaluation.enhancing.enhance_in_chunks", lambda *_, **__: iter([np.full((1, 3200), 1.5, np.float32)])
    )
    monkeypatch.setattr("dynvae.evaluation.enhancing._Course.told", lambda self: {})
    told = enhance(source)
    assert "3200 samples beyond full scale were clipped; --float keeps them" in told.err
    enhance(source, "--float", out="other")
    assert soundfile.read(tmp_path / "other" / "loud.wav")[0].max() == 1.5


def test_scores_plots_and_json(enhance, tmp_path: Path) -> None:
    clean = speech_folder(tmp_path / "clean", 2)
    noisy = tmp_path / "noisy"
    for file in sorted(clean.rglob("*.wav")):
        target = noisy / file.relative_to(clean)
        target.parent.mkdir(parents=True, exist_ok=True)
        sound, rate = soundfile.read(file)
        written(target, sound + 0.03 * np.random.default_rng(0).normal(size=len(sound)), rate)
    told = enhance(noisy, "--clean", clean, "--metrics", "si_sdr,rmse", "--plots", "--json")
    report = json.loads(told.out)
    assert len(report["files"]) == 2
    assert report["scores"]["noisy"]["si_sdr"]["n"] == 2
    assert report["scores"]["enhanced"]["rmse"]["mean"] is not None
    for file in report["files"]:
        assert set(file["scores"]["enhanced"]) == {"si_sdr", "rmse"}
        assert Path(f"{file['output']}.png").stat().st_size > 10_000
    again = json.loads(enhance(noisy, "--clean", clean, "--metrics", "si_sdr,rmse", "--plots", "--json").out)
    assert again["files"] == report["files"], "what is done is not done again"
    told = enhance(noisy, "--clean", clean, out="other")
    assert "SI-SDR" in told.out
    (clean / "test/speaker0/file 0 ü.wav").unlink()
    told = enhance(noisy, "--clean", clean, code=2)
    assert "is not there: the files of --clean have the names of the inputs" in told.err


def test_manifest_and_seed(enhance, tmp_path: Path) -> None:
    speech_folder(tmp_path, 2)
    (tmp_path / "list.csv").write_text(
        "path,split\ntest/speaker0/file 0 ü.wav,test\ntest/speaker1/file 1 ü.wav,train\n", encoding="utf-8"
    )
    told = enhance(tmp_path / "list.csv", *TRAINED, "--split", "test")
    first = told.folder / "test/speaker0/file 0 ü.wav"
    assert first.exists()
    assert not (told.folder / "test/speaker1").exists()
    enhance(tmp_path / "list.csv", *TRAINED, out="same")
    enhance(tmp_path / "list.csv", *TRAINED, "--seed", "1", out="other")
    same, other = (soundfile.read(tmp_path / name / "test/speaker0/file 0 ü.wav")[0] for name in ("same", "other"))
    np.testing.assert_array_equal(same, soundfile.read(first)[0])
    assert (same != other).any()


def test_what_would_be_overwritten_is_refused(enhance, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        written(tmp_path / name / "x.wav", speech_like(0.1))
    both = enhance(tmp_path / "a" / "x.wav", tmp_path / "b" / "x.wav", code=2)
    assert "would both become" in both.err
    assert "is one of the inputs" in enhance(tmp_path / "a", out="a", code=2).err
    enhance(tmp_path / "a")
    assert "choose another folder (--out), or --overwrite" in enhance(tmp_path / "a", "--seed", "3", code=2).err
    enhance(tmp_path / "a", "--seed", "3", "--overwrite")


def test_a_changed_file_is_done_again(enhance, tmp_path: Path) -> None:
    source = written(tmp_path / "x.wav", speech_like(0.2))
    target = enhance(source).folder / "x.wav"
    written(source, 0 * speech_like(0.3))
    later = target.stat().st_mtime + 10
    os.utime(source, (later, later))
    enhance(source)
    assert not soundfile.read(target)[0].any()
    assert soundfile.info(target).frames == 4800


@pytest.mark.parametrize("words", [["--iterations", "2"], ["--stream"]])
def test_standard_input_and_output(monkeypatch, words: list[str]) -> None:
    given, taken = io.BytesIO(), io.BytesIO()
    soundfile.write(given, np.stack([speech_like(0.3, seed, 8000) for seed in (0, 1)], 1), 8000, format="WAV")
    given.seek(0)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=given))
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=taken))
    assert main(["enhance", "-", *TRAINED, *words]) == 0
    taken.seek(0)
    sound, rate = soundfile.read(taken)
    assert (sound.shape, rate) == ((2400, 2), 8000)
    assert sound.any()


def test_standard_input_that_is_no_sound(prior: str, monkeypatch, capsys) -> None:
    for words in ([], ["--stream"]):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"nothing of the kind")))
        assert main(["enhance", "-", "--prior", prior, *words]) == 2
        assert "standard input: not a" in capsys.readouterr().err
    assert main(["enhance", "-", "--prior", prior, "--json"]) == 2
    assert "only input" in capsys.readouterr().err


def test_workers_give_the_same(enhance, tmp_path: Path) -> None:
    folder = speech_folder(tmp_path / "in", 2)
    alone, together = enhance(folder).folder, enhance(folder, "--workers", 2, out="other").folder
    for file in folder.rglob("*.wav"):
        name = file.relative_to(folder)
        np.testing.assert_array_equal(*(soundfile.read(out / name)[0] for out in (alone, together)))


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_its_options(name: str) -> None:
    settings = verb_parser(["--preset", name]).parse_args(["x.wav"])
    em = PRESETS[name].em
    assert settings.iterations == em.iterations
    assert repr(_way(settings).preset) == repr(PRESETS[name])


def test_settings_are_checked(enhance, tmp_path: Path) -> None:
    source = written(tmp_path / "x.wav", speech_like(0.1))
    for words, complaint in (
        (["--estep.setp", "1"], "did you mean '--estep.step'"),
        (["--preset", "ldme"], "did you mean 'ldem'"),
        (["--metrics", "pesk"], "there is no metric 'pesk'"),
        (["--chunk", "1", "--overlap", "1"], "overlap"),
        (["--stream", "--online.rank", "0"], "rank"),
        ([tmp_path / "none.wav"], "no such file or folder"),
    ):
        assert complaint in enhance(source, *words, code=2).err
    refused = enhance(source, "--stream", "--prior", "rvae-speech", out="new", code=2)
    assert "cannot follow a stream" in refused.err
    assert not refused.folder.exists()
