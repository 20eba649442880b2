"""``dynvae benchmark enhancement``, in miniature: table and page, again, and with files that make trouble."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from sound_toys import saved_model, speech_like

from dynvae.audio.mixing import mix
from dynvae.cli import main


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pairs, one of them silent."""
    root = tmp_path_factory.mktemp("pairs")
    noise = np.random.default_rng(0).normal(size=16000)
    for index in range(3):
        speech = speech_like(1.0, index)
        noisy = mix(speech, noise, 5.0)
        if index == 2:
            speech, noisy = 0 * speech, 0 * noisy
        for name, wave in (("clean", speech), ("noisy", noisy)):
            (root / f"{name}_testset").mkdir(exist_ok=True)
            soundfile.write(root / f"{name}_testset" / f"p{index} ü.wav", wave, 16000)
    return root


def test_from_pairs_to_table_and_page(pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, model = tmp_path / "out", saved_model(tmp_path / "model", "vae")
    short = {"iterations": 2}
    settings = {
        "data": str(pairs), "out": str(out), "corpus": "VB", "examples": 1, "metrics": ["si_sdr", "stoi", "dnsmos"],
        "methods": [
            "noisy", "wiener",
            {"kind": "default", "source": str(model), "label": "VAE", "trained_on": "VB", "settings": short},
            {"kind": "files", "source": str(pairs / "clean_testset"), "label": "Perfect", "trained_on": "elsewhere"},
        ],
    }  # fmt: skip
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    words = ["benchmark", "enhancement", "--config", str(path)]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "DNSMOS is left out" in told
    rows = {row["method"]: row for row in csv.DictReader((out / "table.csv").read_text("utf-8").splitlines())}
    assert list(rows) == ["Noisy", "Wiener filter", "VAE", "Perfect"]
    assert float(rows["Wiener filter"]["si_sdr_difference"]) > 2
    assert {row["si_sdr_n"] for row in rows.values()} == {"2"}  # silence has no score
    assert {row["si_sdr_failures"] for row in rows.values()} == {"1"}
    assert float(rows["Perfect"]["si_sdr_mean"]) > 100
    assert (rows["VAE"]["matched"], rows["Perfect"]["matched"], rows["Noisy"]["matched"]) == ("True", "False", "")
    assert float(rows["VAE"]["rtf"]) > 0
    page = (out / "index.html").read_text("utf-8")
    assert page.count("<audio") == 5
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert len((out / "files.csv").read_text("utf-8").splitlines()) == 13

    # Once more: nothing is done again; a part of a journal is gone on with.
    journal = out / "methods" / "wiener-filter" / "journal.jsonl"
    lines = journal.read_text("utf-8").splitlines(keepends=True)
    assert main(words) == 0
    assert journal.read_text("utf-8") == "".join(lines)
    journal.write_text("".join(lines[:-1]) + '{"key": "torn', encoding="utf-8")
    before = (out / "table.csv").read_text("utf-8").splitlines()[2].split(",")
    assert main(words) == 0
    after = (out / "table.csv").read_text("utf-8").splitlines()[2].split(",")
    assert after[:7] + after[9:] == before[:7] + before[9:]  # all but the times
    capsys.readouterr()
    assert main([*words, "--seed", "1"]) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_a_file_that_cannot_be_enhanced_is_counted(pairs: Path, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    for index in range(2):
        (tmp_path / "theirs" / f"p{index} ü.wav").write_bytes(
            (pairs / "clean_testset" / f"p{index} ü.wav").read_bytes()
        )
    words = ["--data", str(pairs), "--methods", f"noisy,files:{tmp_path / 'theirs'}", "--out", str(tmp_path / "out")]
    assert main(["benchmark", "enhancement", *words, "--metrics", "si_sdr", "--examples", "0"]) == 1
    rows = list(csv.DictReader((tmp_path / "out" / "table.csv").read_text("utf-8").splitlines()))
    assert (rows[1]["si_sdr_n"], rows[1]["si_sdr_failures"], rows[1]["failed"]) == ("2", "1", "1")
    assert "there is no p2 ü in" in (tmp_path / "out" / "index.html").read_text("utf-8")


def test_speech_and_noise_that_are_mixed(pairs: Path, tmp_path: Path) -> None:
    for name, kind in (("speech", "clean"), ("noise", "noisy")):
        for split in ("train", "test"):
            for index in range(2):
                path = tmp_path / name / split / f"s{index}" / "a.wav"
                path.parent.mkdir(parents=True)
                path.write_bytes((pairs / f"{kind}_testset" / f"p{index} ü.wav").read_bytes())
    words = ["--data", str(tmp_path / "speech"), "--noise", str(tmp_path / "noise"), "--snrs=-5,10"]
    words += ["--methods", f"noisy,nmf:{tmp_path / 'speech'}", "--metrics", "si_sdr", "--examples", "0"]
    assert main(["benchmark", "enhancement", *words, "--out", str(tmp_path / "out")]) == 0
    files = list(csv.DictReader((tmp_path / "out" / "files.csv").read_text("utf-8").splitlines()))
    assert len(files) == 8
    noisy = [float(row["si_sdr"]) for row in files if row["method"] == "Noisy"]
    assert min(noisy) < -3
    assert max(noisy) > 8
    assert (tmp_path / "out" / "methods" / "nmf" / "patterns.safetensors").is_file()
    line = (tmp_path / "out" / "methods" / "nmf" / "journal.jsonl").read_text("utf-8").splitlines()[0]
    assert json.loads(line)["settings"]["snrs"] == [-5.0, 10.0]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "give --data"),
        (["--data", "nowhere", "--out", "x"], "nowhere: no such pairs"),
        (["--data", "x", "--out", "y", "--methods", "magic"], "there is no method 'magic'"),
        (["--data", "x", "--out", "y", "--metrics", "pesk"], "there is no metric 'pesk'"),
        (["--data", "x", "--out", "y", "--snrs", "loud"], "ratios are numbers"),
        (["--data", "x", "--out", "y", "--limits", "3"], "did you mean '--limit'"),
    ],
)
def test_mistakes_are_one_line(words: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                               monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["benchmark", "enhancement", *words]) == 2
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
