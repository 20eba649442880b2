"""The built-in corpus: the same bytes, once."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from dynvae.audio import read_audio
from dynvae.data import Corpus
from dynvae.data.builtin import SPEAKERS, builtin_corpus, make_builtin
from dynvae.data.sentences import sentence
from dynvae.errors import DataError
from dynvae.files import sha256_file

pytest.importorskip("espeakng_loader", reason="the synthesiser is not installed (extra synth)")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_makings_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_builtin(tmp_path / "one", sentences=2)
    monkeypatch.setenv("SOMETHING", "else" * 100)
    monkeypatch.chdir(tmp_path)
    make_builtin("another folder", sentences=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "another folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["another folder", "one"]


def test_it_is_a_corpus_of_speakers(tmp_path: Path) -> None:
    make_builtin(tmp_path / "c", sentences=1)
    corpus = Corpus.open(tmp_path / "c")
    assert len(corpus.speakers) == len(SPEAKERS) >= 10
    assert corpus.splits == {"train": 12, "valid": 2, "test": 2}
    for utterance in corpus:
        waveform, rate = read_audio(utterance.path)
        assert rate == 16000
        assert utterance.seconds == len(waveform) / rate
        assert 1.0 < utterance.seconds < 6.0
        assert 0.1 < np.abs(waveform).max() < 0.95
        assert waveform[:100].any()  # no digital silence
        assert utterance.extra["sha256"] == sha256_file(utterance.path)


def test_sentences_differ() -> None:
    assert len({sentence(number) for number in range(400)}) == 400
    assert all(sentence(number)[-1] in ".?" and "{" not in sentence(number) for number in range(400))


def test_it_is_made_once_even_by_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNVAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("dynvae.data.builtin.make_builtin", lambda folder: make_builtin(folder, SPEAKERS[::6], 1))
    makers = [threading.Thread(target=builtin_corpus) for _ in range(2)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["builtin-1"]
    monkeypatch.setattr("dynvae.data.builtin.make_builtin", lambda folder: pytest.fail("made twice"))
    assert len(Corpus.open("builtin")) == 3


def test_it_replaces_nothing_and_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep me")
    with pytest.raises(DataError, match="not empty"):
        make_builtin(tmp_path / "full")
    broken = SPEAKERS[0].__class__("nobody", "train", "no-such-voice", 50, 50, 170)
    with pytest.raises(DataError, match=r"synthesiser failed for nobody .*no voice no-such-voice"):
        make_builtin(tmp_path / "new", (SPEAKERS[0], broken), 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full"]
