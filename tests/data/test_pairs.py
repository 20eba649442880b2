"""Pairs of clean and noisy files: found, divided, refused; and mixtures that are the same each time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from dynvae.data import Corpus
from dynvae.data.pairs import mixed_pairs, open_pairs
from dynvae.errors import AudioError, DataError


def write(path: Path, samples: int = 800, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.random.default_rng(seed).normal(size=samples), 16000)


def test_folders_of_clean_and_noisy_files(tmp_path: Path) -> None:
    for kind in ("clean", "noisy"):
        for part, names in (("trainset", ("p1_1", "p2_1", "p3_1")), ("testset", ("p9_1",))):
            for name in names:
                write(tmp_path / f"{kind}_{part}_wav" / f"{name}.wav")
    pairs = open_pairs(tmp_path)
    assert [pair.name for pair in pairs.split("test")] == ["clean_testset_wav/p9_1.wav"]
    assert len(pairs.split("train")) + len(pairs.split("valid")) == 3
    assert {pair.clean.speaker for pair in pairs} == {"p1", "p2", "p3", "p9"}
    (tmp_path / "noisy_testset_wav" / "p9_1.wav").unlink()
    with pytest.raises(DataError, match=r"p9_1\.wav is not there"):
        open_pairs(tmp_path)


def test_a_manifest(tmp_path: Path) -> None:
    for name in ("c/a", "n/a"):
        write(tmp_path / "set" / f"{name}.wav")
    (tmp_path / "set" / "manifest.csv").write_text("clean,noisy,snr\nc/a.wav,n/a.wav,5\n")
    pairs = open_pairs(tmp_path / "set")
    assert [pair.clean.extra for pair in pairs] == [{"snr": "5"}]
    (tmp_path / "set" / "manifest.csv").write_text("clean,noisy\nset/c/a.wav,set/n/a.wav\n")
    assert len(open_pairs(tmp_path / "set" / "manifest.csv")) == 1  # the paths may begin with the folder's name
    (tmp_path / "set" / "manifest.csv").write_text("clean,noisy\nc/a.wav,../../x.wav\n")
    with pytest.raises(DataError, match="line 2"):
        open_pairs(tmp_path / "set")
    (tmp_path / "set" / "manifest.csv").write_text("path\nc/a.wav\n")
    with pytest.raises(DataError, match="no column 'clean'"):
        open_pairs(tmp_path / "set")


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such pairs"):
        open_pairs(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no pairs"):
        open_pairs(tmp_path)


def test_files_out_of_step(tmp_path: Path) -> None:
    write(tmp_path / "clean" / "a.wav", 800)
    write(tmp_path / "noisy" / "a.wav", 801)
    with pytest.raises(AudioError, match="801 samples, and 800"):
        next(iter(open_pairs(tmp_path))).load(16000)


def test_mixtures_repeat_and_keep_to_their_split(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for speaker in range(2):
            write(tmp_path / "speech" / split / f"s{speaker}" / "a.wav", seed=speaker)
        write(tmp_path / "noise" / split / "hum.wav", 500, seed=9)
    speech, noise = (Corpus.from_folder(tmp_path / name) for name in ("speech", "noise"))
    test = speech.split("test")
    pairs = mixed_pairs(test, noise, [0.0, 10.0])
    assert len(pairs) == 4
    assert len({pair.name for pair in pairs}) == 4
    assert all("test" in str(pair.other) for pair in pairs)
    again = mixed_pairs(test, noise, [0.0, 10.0])
    for one, two in zip(pairs, again, strict=True):
        (clean, noisy), (_, same) = one.load(16000), two.load(16000)
        assert np.array_equal(noisy, same)
        ratio = 10 * np.log10(np.mean(clean**2) / np.mean((noisy - clean) ** 2))
        assert ratio == pytest.approx(one.snr, abs=0.01)
    other = [pair.start for pair in mixed_pairs(test, noise, [0.0, 10.0], seed=1)]
    assert other != [pair.start for pair in pairs]
    with pytest.raises(DataError, match="no noise of the split 'test'"):
        mixed_pairs(test, noise.split("train"), [0.0])
