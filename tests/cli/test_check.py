"""``dynvae check``: every kind of trouble is found, and a good corpus has none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from dynvae.audio import write_audio
from dynvae.cli import main
from dynvae.data import Corpus
from dynvae.data.scan import SOUND_NOTES, SOUND_PROBLEMS, scan


def noise(samples: int = 8000, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, samples)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    folder = tmp_path / "good"
    for seed, name in enumerate(("a/1.wav", "b/two words.flac", "c/drei ü.wav", "c/[4].wav")):
        write_audio(folder / name, noise(seed=seed), 16000)
    return folder


@pytest.fixture
def bad(good: Path) -> Path:
    folder = good / "d"
    nan = noise(seed=10)
    nan[[7, 9]] = np.nan, np.inf
    folder.mkdir()
    soundfile.write(folder / "nan.wav", nan, 16000, subtype="FLOAT")
    write_audio(folder / "zeros.wav", np.zeros(8000), 16000)
    write_audio(folder / "constant.wav", np.full(8000, 0.25), 16000)
    write_audio(folder / "clipped.wav", np.clip(3 * np.sin(np.arange(8000) / 20), -1, 1), 16000)
    write_audio(folder / "scaled.wav", 0.4 * np.clip(3 * np.sin(np.arange(8000) / 20), -1, 1), 16000, subtype="FLOAT")
    write_audio(folder / "offset.wav", 0.5 * noise(seed=11) + 0.2, 16000)
    write_audio(folder / "short.wav", noise(300, seed=12), 16000)
    write_audio(folder / "low.wav", noise(seed=13), 8000)
    write_audio(folder / "stereo.wav", np.stack([noise(seed=14), noise(seed=15)]), 16000)
    write_audio(folder / "copy.flac", noise(seed=0), 16000)
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.mp3").write_text("no sound")
    (folder / "cut.wav").write_bytes((good / "a/1.wav").read_bytes()[:5000])
    whole = (good / "b/two words.flac").read_bytes()
    (folder / "cut.flac").write_bytes(whole[: len(whole) // 2])
    return good


EXPECTED = {
    "nan.wav": {"non-finite"}, "zeros.wav": {"silence"}, "constant.wav": {"silence"}, "clipped.wav": {"clipping"},
    "scaled.wav": {"clipping"}, "offset.wav": {"offset"}, "short.wav": {"short"}, "low.wav": {"rate"},
    "stereo.wav": {"channels"}, "copy.flac": {"duplicate"}, "empty.wav": {"unreadable"}, "text.mp3": {"unreadable"},
    "cut.wav": {"truncated"}, "cut.flac": {"truncated"},
}  # fmt: skip


def test_a_good_corpus(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(good)]) == 0
    out = capsys.readouterr().out
    assert "4 files" in out
    assert "no problems" in out


@pytest.mark.parametrize("workers", ["1", "3"])
def test_every_trouble_is_found(bad: Path, capsys: pytest.CaptureFixture[str], workers: str) -> None:
    assert main(["check", str(bad), "--json", "--workers", workers]) == 1
    result = json.loads(capsys.readouterr().out)
    found: dict[str, set[str]] = {}
    for finding in result["problems"] + result["notes"]:
        found.setdefault(Path(finding["file"]).name, set()).add(finding["kind"])
        assert "\n" not in finding["detail"]
    assert found == EXPECTED
    assert {f["kind"] for f in result["problems"]} <= set(SOUND_PROBLEMS)
    assert {f["kind"] for f in result["notes"]} == set(SOUND_NOTES)
    details = {Path(f["file"]).name: f["detail"] for f in result["problems"]}
    assert details["nan.wav"] == "2 samples are NaN or infinite, the first at index 7"
    assert details["copy.flac"] == "the same samples as a/1.wav"
    assert result["files"] == 18
    assert result["rates"] == {"8000": 1, "16000": 14}


def test_the_table_names_files_as_they_are(bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(bad / "c" / "[red]ü.wav", np.zeros(5000), 16000)
    assert main(["check", str(bad)]) == 1
    out = capsys.readouterr().out
    assert "silence: c/[red]ü.wav: all samples are zero" in out
    assert "problems, 3 notes" in out


def test_notes_do_not_fail_unless_strict(good: Path) -> None:
    write_audio(good / "a" / "hi-fi.wav", np.stack([noise(), noise(seed=7)]), 44100)
    assert main(["check", str(good)]) == 0
    assert main(["check", str(good), "--strict"]) == 1


def test_blocks_do_not_change_what_is_found(bad: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = Corpus.open(bad)
    whole = scan(corpus)
    monkeypatch.setattr("dynvae.data.scan._BLOCK", 1000)
    parts = scan(corpus)
    clip = [f for f in parts.findings if f.kind != "clipping"]
    assert clip == [f for f in whole.findings if f.kind != "clipping"]
    assert {f.file for f in parts.of(["clipping"])} == {f.file for f in whole.of(["clipping"])}


def test_checksums_and_speakers_of_a_manifest(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (good / "manifest.csv").write_text(
        f"path,split,speaker,sha256\na/1.wav,train,ann,{'0' * 64}\nb/two words.flac,test,ann,\n", encoding="utf-8"
    )
    assert main(["check", str(good), "--json"]) == 1
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert {problem["kind"] for problem in problems} == {"checksum", "speaker"}


def test_bad_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([str(tmp_path / "absent")], [str(tmp_path)], [], [str(tmp_path), "--rate", "0"], [".", "--jsn"]):
        assert main(["check", *words]) == 2
        assert capsys.readouterr().err.count("\n") == 1
