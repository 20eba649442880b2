"""The tab *Track*: people followed through a film by their detected boxes."""

from __future__ import annotations

__all__ = ["Followed", "follow", "room", "scores_table", "strip", "tab"]

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dynvae.app.desk import Desk
from dynvae.app.examples import walkers
from dynvae.app.limits import read_boxes_of
from dynvae.app.pictures import plain_picture
from dynvae.errors import ConfigError
from dynvae.models import DVAE
from dynvae.report.html import table
from dynvae.report.tracks import track_strip
from dynvae.tracking import (
    Boxes,
    Scene,
    Sort,
    Tracker,
    TrackingScores,
    read_boxes,
    read_truth,
    score_tracks,
    write_tracks,
)

ABOUT = """Follow people through a film by the boxes that a detector has found, with a mixture of models that were
trained on made-up trajectories. Files are texts of the MOT challenges: frame, id, left, top, width, height,
confidence."""
SHOWN = {
    "mota": "MOTA", "idf1": "IDF1", "hota": "HOTA", "motp": "MOTP", "switches": "identity switches",
    "fragments": "fragments", "false_positives": "false positives", "misses": "misses",
}  # fmt: skip


class Followed(NamedTuple):
    """Tracks, the film, their scores where the truth is known, and the seconds it took."""

    tracks: Boxes
    scene: Scene
    scores: TrackingScores | None
    seconds: float


def room(*boxes: Boxes | None) -> Scene:
    """The smallest film that has room for all of these boxes, from the upper left corner."""
    known = [each for each in boxes if each is not None and len(each)]
    if not known:
        return Scene("film", 0, 1.0, 1.0)
    size = np.max([(each.box[:, :2] + each.box[:, 2:]).max(0) for each in known], 0)
    return Scene("film", max(each.last_frame for each in known), *map(float, np.maximum(size, 1)))


def follow(
    detections: Boxes,
    truth: Boxes | None,
    model: DVAE | None,
    progress: Callable[[float, str], None] = lambda share, text: None,
) -> Followed:
    """Follow everybody.

    Args:
        detections: of the film.
        truth: who they are, to score the tracks.
        model: of boxes; SORT, which has none, without it.
        progress: told the share that is done, and what to say of it.

    Raises:
        ConfigError: there is not one detection.
    """
    if not len(detections):
        raise ConfigError("the detections: there is not one box in this file")
    scene = room(detections, truth)

    def told(done: int, total: int) -> None:
        if done % 10 == 0:
            progress(done / max(1, total), f"frame {done} of {total}")

    start = time.perf_counter()
    if model is None:
        tracks = Sort().track(detections, scene, told)
    else:
        tracks = Tracker().track(model, detections, scene, told)
    seconds = time.perf_counter() - start
    scores = None if truth is None else score_tracks(truth, tracks, frames=scene.frames)
    return Followed(tracks, scene, scores, seconds)


def strip(tracks: Boxes, scene: Scene, detections: Boxes) -> bytes:
    """Some frames of the film side by side, as a PNG file's content."""
    with tempfile.TemporaryDirectory(prefix="dynvae-") as folder:
        path = Path(folder) / "strip.png"
        track_strip(path, tracks, scene, detections=detections)
        return path.read_bytes()


def scores_table(scores: TrackingScores | None) -> str:
    """The scores as an HTML table; nothing without them."""
    if scores is None:
        return ""
    values = scores.to_dict()
    return table(("score", "value"), [(label, _shown(values[name])) for name, label in SHOWN.items()])


def _shown(value: float | int | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %" if isinstance(value, float) else str(value)


def tab(desk: Desk) -> None:
    """Build the tab."""
    gr = desk.gr
    ways = [*desk.shelf.boxes, "SORT, without a model"]
    with desk.sides(ABOUT) as (left, right):
        with left:
            found = gr.File(label="detections (det.txt)", file_types=[".txt", ".csv"], elem_id="track-in", height=110)
            true = gr.File(label="ground truth (gt.txt), if you have it", file_types=[".txt", ".csv"],
                           elem_id="track-truth", height=110)  # fmt: skip
            example = gr.Button("Example: six people on made-up paths", size="sm", elem_id="track-example")
            name = gr.Dropdown(ways, value=ways[0], label="method")
            go = gr.Button("Track", variant="primary", elem_id="track-go")
        with right:
            said = gr.Markdown(elem_id="track-said")
            told = gr.HTML(elem_id="track-scores")
            result = gr.DownloadButton("Download the tracks", visible=False, elem_id="track-out", size="sm")
    shown = gr.HTML(elem_id="track-strip")

    def run(path: str | None, truth_path: str | None, way: str, progress: Any = gr.Progress()) -> Any:  # noqa: B008
        model = None if way == ways[-1] else desk.shelf[way]
        detections = read_boxes_of(path, desk.limits, read_boxes)
        truth = read_boxes_of(truth_path, desk.limits, read_truth, "the ground truth") if truth_path else None
        followed = follow(detections, truth, model, lambda share, text: progress(share, desc=text))
        tracks, scene = followed.tracks, followed.scene
        line = (
            f"{tracks.tracks} tracks in {scene.frames} frames, in **{followed.seconds:.1f} s**. Below, detections are "
            "faint frames; tracks have a colour and a number each, and the way behind them."
        )
        picture = plain_picture(strip(tracks, scene, detections), "frames of the film with the tracks drawn in")
        place = desk.file("tracks.txt")
        write_tracks(place, tracks)
        return line, picture, scores_table(followed.scores), gr.DownloadButton(value=str(place), visible=True)

    def prepare() -> Any:
        detections, truth, _ = walkers()
        places = []
        for boxes, title in ((detections, "det.txt"), (truth, "gt.txt")):
            place = desk.file(title)
            write_tracks(place, boxes)
            places.append(str(place))
        return places

    desk.quick(example.click, prepare, [], [found, true])
    desk.job(go.click, run, [found, true, name], [said, shown, told, result], name="track")
