"""``dynvae data``: from a name to a corpus that is ready for use."""

from __future__ import annotations

import hashlib
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from dynvae.audio import write_audio
from dynvae.cli import main
from dynvae.data import Corpus
from dynvae.data.builtin import make_builtin
from dynvae.data.download import Archive
from dynvae.data.known import DOWNLOADS


def sounds(folder: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        write_audio(folder / name, np.random.default_rng(seed).uniform(-0.5, 0.5, 4000), 16000)
    return folder


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_get_then_prepare_then_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = sounds(tmp_path / "tree", *(f"LibriSpeech/dev-clean-2/{i}/7/{i}-7-0000.flac" for i in range(3)))
    (tmp_path / "www").mkdir()
    with tarfile.open(tmp_path / "www" / "dev-clean-2.tar.gz", "w:gz") as tar:
        tar.add(tree / "LibriSpeech", "LibriSpeech")
    content = (tmp_path / "www" / "dev-clean-2.tar.gz").read_bytes()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "www"))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/dev-clean-2.tar.gz"
        archive = Archive("dev-clean-2.tar.gz", (url,), f"md5:{hashlib.md5(content).hexdigest()}")
        monkeypatch.setitem(DOWNLOADS, "librispeech-mini", (archive,))
        out = tmp_path / "corpus"
        assert main(["data", "get", "librispeech-mini", "--out", str(out)]) == 0
        assert "3 files" in capsys.readouterr().out
        server.shutdown()
        thread.join()
    assert main(["data", "get", "librispeech-mini", "--out", str(out)]) == 0  # nothing is left to fetch
    assert not (out / "dev-clean-2.tar.gz").exists()
    assert main(["data", "prepare", "librispeech", str(out)]) == 2
    assert "not a whole copy of LibriSpeech" in capsys.readouterr().err
    assert not (out / "manifest.csv").exists()
    assert main(["data", "prepare", "librispeech", str(out), "--partial"]) == 0
    assert len(Corpus.open(out).split("valid")) == 3


def test_a_manifest_elsewhere_tells_how_to_use_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = sounds(tmp_path / "my speech", *(f"{name}/1.wav" for name in "abcd"))
    assert main(["data", "prepare", "folder", str(source), "--out", str(tmp_path / "list.jsonl")]) == 0
    used = capsys.readouterr().out.splitlines()[-1].removeprefix("use it as --data ")
    assert len(Corpus.open(used)) == 4
    assert not (source / "manifest.csv").exists()


def test_make_builtin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("espeakng_loader")
    monkeypatch.setattr("dynvae.cli.data_make.make_builtin", partial(make_builtin, sentences=1))
    monkeypatch.setenv("DYNVAE_CACHE", str(tmp_path / "cache"))
    assert main(["data", "make", "builtin", "--out", str(tmp_path / "made")]) == 0
    assert str(tmp_path / "made") in capsys.readouterr().out
    assert Corpus.open(tmp_path / "made").splits.keys() == {"train", "valid", "test"}
    assert main(["data", "make", "builtin", "--out", str(tmp_path / "made")]) == 2
    assert "not empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mak"], "there is no verb 'data mak'; did you mean 'data make'?"),
        (["make", "bultin"], "bultin"),
        (["get", "wsj0", "--out", "x"], "'wsj0' cannot be downloaded"),
        (["get"], "required"),
        (["prepare", "wsj0", "absent"], "absent: no such folder"),
        (["prepare", "folder", ".", "--ot", "x"], "--out"),
    ],
)
def test_bad_usage_is_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "--help"]) == 0
    assert "prepare" in capsys.readouterr().out
    assert main(["data"]) == 2
