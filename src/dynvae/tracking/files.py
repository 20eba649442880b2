"""The text format of the MOT challenges: detections, ground truth and results, and the film that they are from."""

from __future__ import annotations

__all__ = ["format_tracks", "read_boxes", "read_scene", "read_truth", "write_tracks"]

import configparser
import gzip
import os
from pathlib import Path

import numpy as np

from dynvae.errors import DataError
from dynvae.files import atomic_write
from dynvae.tracking.boxes import Array, Boxes, Scene

PEDESTRIAN = 1
_COLUMNS = ("frame", "id", "left", "top", "width", "height", "confidence")
_MOST_FRAMES = 1_000_000
_FARTHEST = 1e7  # pixels


def read_boxes(path: str | os.PathLike[str]) -> Boxes:
    """Detections or tracks, a box a line: ``frame, id, left, top, width, height, confidence, ...``.

    Frames count from 1; places are in pixels, from the upper left corner; further columns are not looked at, and the
    confidence may be missing (1). Blanks may stand for commas. An empty file has no boxes. A name that ends in ``.gz``
    is uncompressed on the way.

    Raises:
        DataError: the file cannot be read, or a line is no box; file and line are told.
    """
    table = _read(Path(path))
    return Boxes.of(table[:, :7] if table.size else np.empty((0, 7)))


def read_truth(path: str | os.PathLike[str]) -> Boxes:
    """The pedestrians of a ``gt.txt``: the rows whose seventh column, a flag, is not 0, and whose class is 1.

    In MOT16, MOT17 and MOT20 the eighth column is the class and the ninth the visibility. In the 2015 files these are
    places in the world, and -1 if unknown; there every row counts. What tells them apart is that classes are whole and
    lie in 1..13, in every row, and that there are nine columns.

    Raises:
        DataError: the file cannot be read, a line is no box, or somebody is twice in a frame.
    """
    path = Path(path)
    table = _read(path)
    if not table.size:
        return Boxes.of(np.empty((0, 7)))
    kept = np.ones(len(table), bool) if table.shape[1] < 7 else table[:, 6] != 0
    if table.shape[1] == 9 and np.isin(table[:, 7], range(1, 14)).all():
        kept &= table[:, 7] == PEDESTRIAN
    boxes = Boxes.of(table[kept][:, :7])
    check_ids(boxes, path)
    return boxes


def check_ids(boxes: Boxes, path: Path) -> None:
    """Make sure that everybody is known, and in a frame once at most.

    Raises:
        DataError: it is not so.
    """
    if (boxes.id < 0).any():
        frame = boxes.frame[boxes.id < 0][0]
        raise DataError(f"{path}: frame {frame} has a box without an id; these are detections, and tracks are wanted")
    pairs, counts = np.unique(np.stack([boxes.frame, boxes.id]), axis=1, return_counts=True)
    if (counts > 1).any():
        frame, who = pairs[:, counts > 1][:, 0]
        raise DataError(f"{path}: the id {who} has {counts.max()} boxes in frame {frame}; it can have one")


def read_scene(path: str | os.PathLike[str]) -> Scene:
    """The film, from the ``seqinfo.ini`` of a sequence or of its folder.

    Raises:
        DataError: there is none, or it lacks something.
    """
    path = Path(path)
    path = path / "seqinfo.ini" if path.is_dir() else path
    parser = configparser.ConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
        part = parser["Sequence"]
        numbers = [float(part[key]) for key in ("seqLength", "imWidth", "imHeight", "frameRate")]
        name = part.get("name", path.parent.name)
    except (OSError, KeyError, ValueError, configparser.Error) as error:
        raise DataError(f"{path}: no seqinfo.ini with seqLength, imWidth, imHeight and frameRate ("
                        f"{' '.join(str(error).split())})") from error  # fmt: skip
    if not all(0 < number < _MOST_FRAMES for number in numbers):
        raise DataError(f"{path}: seqLength, imWidth, imHeight and frameRate must be positive; they are {numbers}")
    return Scene(name, int(numbers[0]), numbers[1], numbers[2], numbers[3])


def scene_around(path: Path, boxes: Boxes) -> Scene:
    """The film of a file of boxes: from the ``seqinfo.ini`` beside it or above, or else the smallest that has room."""
    for folder in list(path.resolve().parents)[:2]:
        if (folder / "seqinfo.ini").is_file():
            return read_scene(folder)
    if not len(boxes):
        return Scene(path.stem, 0, 1.0, 1.0)
    width, height = np.maximum((boxes.box[:, :2] + boxes.box[:, 2:]).max(0), 1)
    return Scene(path.stem, boxes.last_frame, float(width), float(height))


def format_tracks(tracks: Boxes) -> str:
    """The lines of a file of results: ``frame,id,left,top,width,height,confidence,-1,-1,-1``."""
    rows = zip(tracks.frame.tolist(), tracks.id.tolist(), tracks.box.tolist(), tracks.confidence.tolist(), strict=True)
    return "".join(
        f"{frame},{who},{','.join(f'{value:.3f}' for value in box)},{confidence:.4g},-1,-1,-1\n"
        for frame, who, box, confidence in rows
    )


def write_tracks(path: str | os.PathLike[str], tracks: Boxes) -> None:
    """Write tracks as a file of results, whole or not at all.

    Raises:
        DataError: it cannot be written.
    """
    try:
        with atomic_write(path) as temp:
            temp.write_text(format_tracks(tracks), encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from error


def _read(path: Path) -> Array:
    """The numbers of a file, ``(lines, columns)``, all usable."""
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise DataError(f"{path}: cannot be read ({reason})") from error
    rows: list[list[float]] = []
    places: list[int] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.replace(",", " ").split()
        if not words or words[0].startswith("#"):
            continue
        try:
            rows.append([float(word) for word in words])
        except ValueError as error:
            raise DataError(f"{path}, line {number}: {error}; a line is {', '.join(_COLUMNS)}, ...") from error
        if len(words) < 6 or (len(rows) > 1 and len(words) != len(rows[0])):
            wanted = "at least 6" if len(words) < 6 else f"{len(rows[0])}, as in the lines before,"
            raise DataError(f"{path}, line {number}: {len(words)} columns; {wanted} are needed")
        places.append(number)
    table = np.array(rows, np.float64) if rows else np.empty((0, 7))
    frame, who = table[:, 0], table[:, 1]
    with np.errstate(invalid="ignore"):  # of infinity, which is refused first
        complaints = (
            ("a number is not finite", ~np.isfinite(table[:, :7]).all(1)),
            (f"frames are whole numbers from 1 to {_MOST_FRAMES}", ~((frame >= 1) & (frame <= _MOST_FRAMES))),
            (f"frames are whole numbers from 1 to {_MOST_FRAMES}", frame % 1 != 0),
            ("an id is a whole number", ~(np.abs(who) < 2**53) | (who % 1 != 0)),
            ("a box has a width and height from 0 on", (table[:, 4:6] < 0).any(1)),
            (f"a box lies more than {_FARTHEST:g} pixels away", (np.abs(table[:, 2:6]) > _FARTHEST).any(1)),
        )
    for problem, wrong in complaints:
        if wrong.any():
            row = int(np.argmax(wrong))
            shown = ", ".join(f"{value:g}" for value in rows[row][:6])
            raise DataError(f"{path}, line {places[row]}: {problem}; the line begins {shown}")
    return table
