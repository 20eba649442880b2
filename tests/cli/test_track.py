"""``dynvae track`` and ``dynvae benchmark tracking``, as a user runs them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tracking"))
from tracking_toys import detected, walkers

from dynvae.cli import main
from dynvae.tracking import read_boxes, write_tracks

INFO = "[Sequence]\nname=toy\nseqLength=61\nimWidth=640\nimHeight=480\nframeRate=30\n"


@pytest.fixture
def film(tmp_path: Path) -> Path:
    folder = tmp_path / "data/toy"
    for name, boxes in (("gt", walkers()), ("det", detected(walkers()))):
        (folder / name).mkdir(parents=True)
        write_tracks(folder / name / f"{name}.txt", boxes)
    (folder / "seqinfo.ini").write_text(INFO)
    return folder


def test_tracks_scores_and_pictures(film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["track", str(film / "det/det.txt"), "--out", str(tmp_path / "tracks.txt"),
             "--ground-truth", str(film / "gt/gt.txt")]  # fmt: skip
    pictures = ["--strip", str(tmp_path / "strip.png"), "--video", str(tmp_path / "film.gif")]
    assert main([*words, *pictures]) == 0
    said = capsys.readouterr().out
    assert "3 tracks in 61 frames" in said
    assert "idf1" in said
    assert len(read_boxes(tmp_path / "tracks.txt")) == 180
    assert (tmp_path / "strip.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "film.gif").read_bytes()[:3] == b"GIF"
    assert main([*words, "--json", "--method", "sort"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["method"], report["tracks"], report["model"]) == ("sort", 3, None)
    assert report["scores"]["switches"] == 0


def test_film_by_pyav(film: Path, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    words = ["track", str(film / "det/det.txt"), "--out", str(tmp_path / "t.txt"), "--method", "sort"]
    assert main([*words, "--video", str(tmp_path / "film.mp4")]) == 0
    with av.open(str(tmp_path / "film.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 61


def test_no_detections_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "det.txt").write_text("")
    words = ["track", str(tmp_path / "det.txt"), "--out", str(tmp_path / "tracks.txt")]
    assert main([*words, "--strip", str(tmp_path / "strip.png")]) == 0
    said = capsys.readouterr()
    assert "0 tracks in 0 frames" in said.out
    assert "not one detection" in said.err
    assert (tmp_path / "tracks.txt").read_text() == ""
    assert main([*words, "--frames", "9", "--size", "640x480"]) == 0


def test_what_is_refused(film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = str(film / "det/det.txt"), str(tmp_path / "tracks.txt")
    (tmp_path / "bad.txt").write_text("1,-1,2,3\n")
    for words, complaint in (
        ([source, "--out", source], "is one of the inputs and would be overwritten"),
        ([source, "--out", out, "--size", "large"], "--size is WIDTHxHEIGHT"),
        ([source, "--out", out, "--frames", "0"], "--frames must be positive"),
        ([source, "--out", out, "--model", "srnn-boxs"], "did you mean 'srnn-boxes'"),
        ([source, "--out", out, "--model", "vae-speech"], "is no model of boxes: it takes frames of 513 features"),
        ([source, "--out", out, "--tracker.gate", "-1"], "gate and deviation are positive"),
        ([source, "--out", out, "--tracker.gait", "1"], "did you mean '--tracker.gate'"),
        ([str(tmp_path / "bad.txt"), "--out", out], "bad.txt, line 1: 4 columns"),
        ([str(tmp_path / "none.txt"), "--out", out], "cannot be read (No such file"),
    ):
        assert main(["track", *words]) == 2, words
        said = capsys.readouterr().err
        assert complaint in said
        assert said.count("\n") == 1
    assert not Path(out).exists()


def test_benchmark_goes_on_where_it_was(film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["benchmark", "tracking", "--data", str(film.parent), "--out", str(tmp_path / "out"), "--lengths", "[60]",
             "--variants", "[shuffled]"]  # fmt: skip
    assert main(words) == 0
    said = capsys.readouterr().out
    for text in ("| 60 (1 clips) | shuffled | MixDVAE, frame by frame |", "| toy | SORT, patience 30 |"):
        assert text in said
    rows = json.loads((tmp_path / "out/tracking.json").read_text())
    assert {row["method"] for row in rows["films"]} == {"mixdvae", "sort", "patient-sort"}
    files = sorted((tmp_path / "out/rows").iterdir())
    before = [path.stat().st_mtime_ns for path in files]
    assert main(words) == 0
    assert [path.stat().st_mtime_ns for path in sorted((tmp_path / "out/rows").iterdir())] == before
    assert main([*words[:3], str(tmp_path), *words[4:]]) == 2
    assert "no sequences here" in capsys.readouterr().err
    assert main([*words[:-1], "[sorted]"]) == 2
    assert "there are no clips 'sorted'" in capsys.readouterr().err
