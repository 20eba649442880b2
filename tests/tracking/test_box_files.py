"""Boxes and the MOT text format: what is read, what is written, and what is refused with file and line."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from dynvae.errors import DataError
from dynvae.tracking import Boxes, Scene, iou, read_boxes, read_scene, read_truth, to_boxes, to_frames, write_tracks


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_detections_are_read_in_order_of_their_frames(tmp_path: Path) -> None:
    path = write(tmp_path / "det.txt", "2,-1,10.5,20,30,60,0.9,-1,-1,-1", "", "1 -1 11 21 31 61 0.8 -1 -1 -1")
    boxes = read_boxes(path)
    assert boxes.frame.tolist() == [1, 2]
    assert boxes.box.tolist() == [[11, 21, 31, 61], [10.5, 20, 30, 60]]
    assert boxes.confidence.tolist() == [0.8, 0.9]
    assert [rows.tolist() for rows in boxes.split(3)] == [[0], [1], []]


def test_empty_file_has_no_boxes(tmp_path: Path) -> None:
    boxes = read_boxes(write(tmp_path / "det.txt"))
    assert (len(boxes), boxes.last_frame, boxes.tracks) == (0, 0, 0)
    assert boxes.split(2)[1].tolist() == []
    assert len(read_truth(write(tmp_path / "gt.txt"))) == 0


def test_written_tracks_are_read_again(tmp_path: Path) -> None:
    tracks = Boxes.of([(1, 4, 1.25, -2.5, 30, 61.125, 1), (3, 4, 1, 2, 3, 4, 0.5)])
    write_tracks(tmp_path / "tracks.txt", tracks)
    again = read_boxes(tmp_path / "tracks.txt")
    assert again.id.tolist() == [4, 4]
    np.testing.assert_allclose(again.box, tracks.box)
    (tmp_path / "tracks.txt.gz").write_bytes(gzip.compress((tmp_path / "tracks.txt").read_bytes()))
    assert len(read_boxes(tmp_path / "tracks.txt.gz")) == 2


def test_truth_holds_the_pedestrians_that_count(tmp_path: Path) -> None:
    lines = ["1,1,0,0,9,9,1,1,0.5", "1,2,0,0,9,9,0,1,1", "1,3,0,0,9,9,1,7,1", "2,1,0,0,9,9,1,1,0.1"]
    assert read_truth(write(tmp_path / "gt.txt", *lines)).id.tolist() == [1, 1]
    older = ["1,1,88,99,61,218,1,4.4852,5.5016,0", "1,2,88,99,61,218,0,4.4852,5.5016,0"]
    assert read_truth(write(tmp_path / "gt.txt", *older)).id.tolist() == [1]


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (["1,-1,1,2,3,4,1", "1,-1,1,2,three,4,1"], "line 2: could not convert string to float: 'three'"),
        (["1,-1,1,2,3"], "line 1: 5 columns; at least 6 are needed"),
        (["1,-1,1,2,3,4", "", "1,-1,1,2,3,4,1"], "line 3: 7 columns; 6, as in the lines before, are needed"),
        (["1,-1,1,2,3,4,1", "0,-1,1,2,3,4,1"], "line 2: frames are whole numbers from 1 to 1000000; the line"),
        (["1.5,-1,1,2,3,4,1"], "frames are whole numbers"),
        (["nan,-1,1,2,3,4,1"], "line 1: a number is not finite"),
        (["inf,-1,1,2,3,4,1"], "line 1: a number is not finite"),
        (["1,-1,1,2,inf,4,1"], "line 1: a number is not finite"),
        (["1,-1,1,2,-3,4,1"], "line 1: a box has a width and height from 0 on"),
        (["1,-1,1e9,2,3,4,1"], "line 1: a box lies more than 1e+07 pixels away"),
        (["99999999999,-1,1,2,3,4,1"], "line 1: frames are whole numbers"),
    ],
)
def test_what_is_no_box_is_refused_with_its_line(lines: list[str], complaint: str, tmp_path: Path) -> None:
    path = write(tmp_path / "det.txt", *lines)
    with pytest.raises(DataError) as error:
        read_boxes(path)
    assert complaint in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "det.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "det.gz").write_bytes(b"1,2")
    for name in ("det.txt", "det.gz", "missing.txt"):
        with pytest.raises(DataError, match="cannot be read"):
            read_boxes(tmp_path / name)
    with pytest.raises(DataError, match="cannot be written"):
        write_tracks(tmp_path / "det.txt" / "tracks.txt", Boxes.of([]))


def test_truth_must_know_who_is_who(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="id 5 has 2 boxes in frame 2"):
        read_truth(write(tmp_path / "gt.txt", "1,5,0,0,9,9,1", "2,5,0,0,9,9,1", "2,5,1,1,9,9,1"))
    with pytest.raises(DataError, match="frame 1 has a box without an id"):
        read_truth(write(tmp_path / "gt.txt", "1,-1,0,0,9,9,1"))


def test_scene(tmp_path: Path) -> None:
    lines = ["[Sequence]", "name=A", "seqLength=600", "imWidth=1920", "imHeight=1080", "frameRate=25"]
    write(tmp_path / "seqinfo.ini", *lines)
    assert read_scene(tmp_path) == Scene("A", 600, 1920, 1080, 25)
    for broken in (lines[1:], lines[:3], [*lines[:2], "seqLength=-4", *lines[3:]]):
        write(tmp_path / "seqinfo.ini", *broken)
        with pytest.raises(DataError, match=r"seqinfo\.ini"):
            read_scene(tmp_path)


def test_overlaps_of_boxes() -> None:
    box = np.array([[0.0, 0, 10, 10], [5, 0, 10, 10], [100, 100, 1, 1], [3, 3, 0, 0]])
    np.testing.assert_allclose(
        iou(box, box), [[1, 1 / 3, 0, 0], [1 / 3, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]], atol=1e-12
    )
    assert iou(box[:0], box).shape == (0, 4)


def test_frames_of_a_model_are_the_same_boxes() -> None:
    box = np.array([[100.0, 200, 30, 60], [-5, 0, 7, 9]])
    frames = to_frames(box, (1000, 500))
    np.testing.assert_allclose(frames[0], [0.1, 0.4, 0.13, 0.28])
    np.testing.assert_allclose(to_boxes(frames, (1000, 500)), box)
    assert to_boxes(np.array([0.5, 0.5, 0.4, 0.6]), (10, 10)).tolist() == [5, 5, 0, 0]
