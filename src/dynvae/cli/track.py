"""``dynvae track DETECTIONS --out FILE``: follow people through a film by their detected boxes."""

from __future__ import annotations

__all__ = ["run", "verb_parser"]

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from dynvae.cli.parsing import Parser, make_parser
from dynvae.cli.pipe import opened
from dynvae.cli.progress import progress_of
from dynvae.cli.telling import notice, tell
from dynvae.errors import ConfigError, require
from dynvae.pretrained import load
from dynvae.tracking import Boxes, Scene, Sort, Tracker, TrackingScores, read_boxes, read_truth, score_tracks
from dynvae.tracking.files import format_tracks, scene_around, write_tracks
from dynvae.training.machine import flush_denormals

DESCRIPTION = """Follow people through a film by their detected boxes, with a mixture of DVAEs that were trained on
made-up trajectories. DETECTIONS is a text file of the MOT challenges (frame, id, left, top, width, height, confidence;
frames from 1, pixels), as is the result. The size of the picture and the length come from a seqinfo.ini in the folder
of the detections or the one above, from --size and --frames, or else from the boxes."""
DEFAULT_MODEL = "srnn-boxes"
SHOWN = ("mota", "motp", "idf1", "hota", "deta", "assa", "switches", "fragments", "mostly_tracked", "mostly_lost",
         "false_positives", "misses")  # fmt: skip
EXAMPLES = (
    "dynvae track MOT17-09/det/det.txt --out tracks.txt --strip tracks.png",
    "dynvae track det.txt --out tracks.txt --ground-truth gt.txt --json",
    "dynvae track - --out - < det.txt > tracks.txt",
)


def run(arguments: list[str]) -> int:
    """Track, and return 0.

    Raises:
        DynvaeError: a file, the model or a setting cannot be used.
    """
    settings = verb_parser(arguments).parse_args(arguments)
    if settings.out == "-" and settings.json:
        raise ConfigError("with --out - the tracks are all that is printed; it goes without --json")
    inputs = {Path(place).resolve() for place in (settings.detections, settings.ground_truth) if place}
    for place in (settings.out, settings.strip, settings.video):
        if place not in (None, "-") and Path(place).resolve() in inputs:
            raise ConfigError(f"{place} is one of the inputs and would be overwritten; choose another name")
    require("scipy.optimize", "tracking")  # before the work, not after it
    if settings.strip or settings.video:
        require("PIL.Image", "report")
    flush_denormals()
    torch.set_num_threads(1)  # a frame is too little work to be shared
    with opened(settings.detections, ".txt") as source:
        return _track(source, settings)


def _track(source: Path, settings: Any) -> int:
    detections = read_boxes(source)
    truth = None if settings.ground_truth is None else read_truth(settings.ground_truth)
    scene = _scene(source, detections, truth, settings)
    start = time.process_time()
    with progress_of("track") as report_progress:
        tracks = _tracks(settings, detections, scene, report_progress)
    seconds = time.process_time() - start
    if settings.out == "-":
        sys.stdout.write(format_tracks(tracks))
    else:
        write_tracks(settings.out, tracks)
    scores = None if truth is None else score_tracks(truth, tracks, frames=scene.frames)
    pictures = _pictures(settings, tracks, scene, detections)
    report = {
        "detections": settings.detections, "out": settings.out, "method": settings.method,
        "model": settings.model if settings.method == "mixdvae" else None, "frames": scene.frames,
        "boxes": len(detections), "tracks": tracks.tracks, "track_boxes": len(tracks), "cpu_seconds": seconds,
        "frames_per_second": scene.frames / seconds if seconds > 0 else None,
        "scores": None if scores is None else scores.to_dict(), "pictures": pictures,
    }  # fmt: skip
    if not report["boxes"]:
        notice("track", "there is not one detection")
    if settings.out == "-":
        for line in _lines(report, scores):
            notice("track", line)
    else:
        tell(report, _lines(report, scores), as_json=settings.json)
    return 0


def verb_parser(arguments: Sequence[str] = ()) -> Parser:
    """The parser of the verb."""
    parser = make_parser("track", DESCRIPTION, EXAMPLES)
    add: Any = parser.add_argument
    add("--config", action="config", help="a YAML file of settings; options that follow win over it")
    add("detections", type=str, help="a text file of the MOT challenges, perhaps with .gz, or - for standard input")
    add("--out", type=str, required=True, help="file of the tracks, or - for standard output")
    add("--model", type=str, default=DEFAULT_MODEL, help="of boxes: a bundled name, a model's or a run's folder")
    add("--method", type=Literal["mixdvae", "sort"], default="mixdvae", help="sort is the baseline, without a model")
    add("--ground-truth", type=str, default=None, help="a gt.txt to score the tracks against")
    add("--size", type=str, default=None, help="of the picture, e.g. 1920x1080")
    add("--frames", type=int, default=None, help="of the film")
    add("--strip", type=str, default=None, help="also draw some frames side by side, as PNG")
    add("--video", type=str, default=None, help="also draw the film, e.g. as .mp4 or .gif")
    parser.add_class_arguments(Tracker, "tracker")
    parser.add_class_arguments(Sort, "sort")
    return parser


def _scene(source: Path, detections: Boxes, truth: Boxes | None, settings: Any) -> Scene:
    """The film; what the options say wins, and no frame with a box is left out.

    Raises:
        ConfigError: the size or the number of frames cannot be.
    """
    scene = scene_around(source, detections)
    width, height = scene.size
    if settings.size is not None:
        words = settings.size.lower().split("x")
        if len(words) != 2 or not all(word.isdigit() and int(word) > 0 for word in words):
            raise ConfigError(f"--size is WIDTHxHEIGHT in pixels, e.g. 1920x1080, not '{settings.size}'")
        width, height = map(float, words)
    if settings.frames is not None and settings.frames < 1:
        raise ConfigError(f"--frames must be positive, not {settings.frames}")
    last = max(detections.last_frame, 0 if truth is None else truth.last_frame)
    frames = settings.frames if settings.frames is not None else max(scene.frames, last)
    return Scene(scene.name, frames, width, height, scene.rate)


def _tracks(settings: Any, detections: Boxes, scene: Scene, progress: Any) -> Boxes:
    if settings.method == "sort":
        return Sort(**settings.sort.as_dict()).track(detections, scene, progress)
    return Tracker(**settings.tracker.as_dict()).track(load(settings.model), detections, scene, progress)


def _pictures(settings: Any, tracks: Boxes, scene: Scene, detections: Boxes) -> list[str]:
    from dynvae.report.tracks import track_film, track_strip

    if settings.strip is not None:
        track_strip(settings.strip, tracks, scene, detections=detections)
    if settings.video is not None:
        track_film(settings.video, tracks, scene, detections=detections)
    return [place for place in (settings.strip, settings.video) if place is not None]


def _lines(report: dict[str, Any], scores: TrackingScores | None) -> Iterator[str]:
    speed = report["frames_per_second"]
    rate = "" if speed is None else f", {speed:.0f} a second"
    yield f"{report['out']}: {report['tracks']} tracks in {report['frames']} frames{rate}"
    yield from report["pictures"]
    if scores is not None:
        values = scores.to_dict()
        for name in SHOWN:
            value = values[name]
            text = "–" if value is None else f"{100 * value:.1f} %" if isinstance(value, float) else str(value)
            yield f"  {name.replace('_', ' '):<16}{text:>9}"
