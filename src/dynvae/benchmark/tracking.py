"""Ways to track, on clips of three people and on whole films: measured and put into two tables."""

from __future__ import annotations

__all__ = ["CLIP_METHODS", "FILM_METHODS", "TrackingConfig", "run_tracking"]

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dynvae.baselines import load_lstm
from dynvae.errors import ConfigError, DataError
from dynvae.evaluation.run import fingerprint
from dynvae.files import atomic_write
from dynvae.models import DVAE
from dynvae.pretrained import load
from dynvae.tracking import Boxes, Scene, Sort, Tracker, read_boxes, read_scene, read_truth, score_tracks
from dynvae.tracking.protocol import by_following, by_kalman, by_sort, by_vem
from dynvae.tracking.triplets import Clips, cut_clips

CLIP_METHODS = {
    "mixdvae": "MixDVAE, frame by frame",
    "lstm": "AR-LSTM, frame by frame",
    "kalman": "Kalman, frame by frame, smoothed",
    "sort": "SORT",
    "patient-sort": "SORT, patience 30",
    "vem": "MixDVAE, whole clips",
    "published": "MixDVAE, whole clips, as published",
    "resting-kalman": "Kalman, from resting boxes",
}
FILM_METHODS = {
    "mixdvae": "MixDVAE",
    "lstm": "AR-LSTM",
    "sort": "SORT",
    "patient-sort": "SORT, patience 30",
}
VARIANTS = ("given", "shuffled", "thinned")
COLUMNS = ("mota", "motp", "idf1", "hota", "switches", "fragments", "mostly_tracked", "mostly_lost", "false_positives",
           "misses")  # fmt: skip


@dataclass(frozen=True)
class TrackingConfig:
    """What to compare.

    Args:
        data: a folder of sequences, each with seqinfo.ini, det/det.txt and gt/gt.txt.
        out: folder of the results.
        model: of boxes, for MixDVAE.
        lstm: the autoregressive baseline, a folder; without it there are no rows of it.
        picture: a model of boxes in the picture, such as the published one; without it no rows of whole-clip VEM.
        lengths: frames of the clips; none leaves them out.
        variants: of the clips: detections as they are ``given``, ``shuffled`` in each frame, also ``thinned`` by 15 %.
        films: whether to track whole sequences.
        most: clips of a length at most, spread evenly; all by default.
        tracker: settings of MixDVAE.

    Raises:
        ConfigError: a setting is out of range.
    """

    data: str
    out: str
    model: str = "srnn-boxes"
    lstm: str | None = None
    picture: str | None = None
    lengths: tuple[int, ...] = (60, 120, 300)
    variants: tuple[str, ...] = ("given", "shuffled")
    films: bool = True
    most: int | None = None
    tracker: Tracker = field(default_factory=Tracker)

    def __post_init__(self) -> None:
        unknown = [variant for variant in self.variants if variant not in VARIANTS]
        if unknown:
            raise ConfigError(f"there are no clips '{unknown[0]}'; there are {', '.join(VARIANTS)}")
        if any(length < 10 for length in self.lengths) or (self.most is not None and self.most < 1):
            raise ConfigError(f"clips have 10 frames or more, and most is positive, not {self.lengths} and {self.most}")


class _Sequence:
    """A sequence of the data."""

    def __init__(self, folder: Path) -> None:
        self.scene = read_scene(folder)
        self.truth = read_truth(folder / "gt/gt.txt")
        self.detections = read_boxes(folder / "det/det.txt")


def run_tracking(config: TrackingConfig, say: Callable[[str], None] = print) -> dict[str, list[dict[str, Any]]]:
    """Measure all methods; write ``clips.md``, ``films.md`` and ``tracking.json``. What is done is not done again.

    Args:
        config: what to compare.
        say: told what is done.

    Returns:
        The rows of both tables.

    Raises:
        DataError: there are no sequences, or one cannot be read.
    """
    folders = sorted(path.parent for path in Path(config.data).glob("*/seqinfo.ini"))
    if not folders:
        raise DataError(f"{config.data}: no sequences here; a sequence is a folder with seqinfo.ini, det and gt")
    sequences = [_Sequence(folder) for folder in folders]
    models = _Models(config)
    kept = _Kept(Path(config.out), config, models)
    clips, films = [], []
    for length in config.lengths:
        cut = join([cut_clips(each.truth, each.detections, each.scene, length) for each in sequences])
        if config.most is not None and len(cut) > config.most:
            cut = cut.where(np.linspace(0, len(cut) - 1, config.most).round().astype(int))
        for variant in config.variants if len(cut) else ():
            chosen = {"given": cut, "shuffled": cut.shuffled(), "thinned": cut.thinned(0.15).shuffled()}[variant]
            for method in models.clip_methods:
                key = {"part": "clips", "method": method, "frames": length, "variant": variant, "clips": len(cut)}
                row = kept.row(key, partial(_scored_clips, method, chosen, models, config.tracker))
                say(f"{length} frames, {variant}: {CLIP_METHODS[method]}: MOTA {_percent(row['mota'])}, "
                    f"IDF1 {_percent(row['idf1'])}")  # fmt: skip
                clips.append(row)
    for method in models.film_methods if config.films else ():
        found = []
        for each in sequences:
            key = {"part": "films", "method": method, "sequence": each.scene.name, "frames": each.scene.frames}
            row = kept.row(key, partial(_scored_film, method, each, models, config.tracker))
            say(f"{each.scene.name}: {FILM_METHODS[method]}: IDF1 {_percent(row['idf1'])}, "
                f"HOTA {_percent(row['hota'])}")  # fmt: skip
            found.append(row)
        films += found
    rows = {"clips": clips, "films": films}
    _write(Path(config.out) / "clips.md", _clip_table(clips))
    _write(Path(config.out) / "films.md", _film_table(films))
    _write(Path(config.out) / "tracking.json", json.dumps(rows, indent=2) + "\n")
    return rows


def join(parts: Sequence[Clips]) -> Clips:
    """Clips of several sequences together."""
    names = [name for part in parts for name in part.names]
    arrays = (np.concatenate([getattr(part, key) for part in parts]) for key in ("truth", "values", "present", "sizes"))
    return Clips(names, *arrays)


class _Models:
    """The models, loaded once."""

    def __init__(self, config: TrackingConfig) -> None:
        self.model = load(config.model)
        self.lstm: DVAE | None = None if config.lstm is None else load_lstm(config.lstm)
        self.picture = None if config.picture is None else load(config.picture)
        used = {"mixdvae": self.model, "lstm": self.lstm, "vem": self.picture, "published": self.picture}
        self.clip_methods = [name for name in CLIP_METHODS if used.get(name, self.model) is not None]
        self.film_methods = [name for name in FILM_METHODS if used.get(name, self.model) is not None]
        self.prints = {name: fingerprint(each) for name, each in used.items() if each is not None}


class _Kept:
    """Rows that are done, a file each."""

    def __init__(self, out: Path, config: TrackingConfig, models: _Models) -> None:
        self.folder, self.prints = out / "rows", models.prints
        self.facts = {"tracker": dataclasses.asdict(config.tracker), "data": config.data}
        self.folder.mkdir(parents=True, exist_ok=True)

    def row(self, key: dict[str, Any], measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        text = json.dumps([key, self.facts, self.prints.get(key["method"])], sort_keys=True)
        path = self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
        if path.is_file():
            done: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return done
        start = time.process_time()
        values = measure()
        row = {**key, **values, "cpu_seconds": time.process_time() - start}
        _write(path, json.dumps(row) + "\n")
        return row


def _scored_clips(method: str, clips: Clips, models: _Models, tracker: Tracker) -> dict[str, Any]:
    match method:
        case "mixdvae":
            scores = clips.score(by_following(clips, models.model, tracker))
        case "lstm":
            assert models.lstm is not None
            scores = clips.score(by_following(clips, models.lstm, tracker))
        case "vem" | "published":
            assert models.picture is not None
            scores = clips.score(by_vem(clips, models.picture, published=method == "published"))
        case "kalman" | "resting-kalman":
            scores = clips.score(by_kalman(clips, resting=method == "resting-kalman"))
        case _:
            scores = clips.score_boxes(by_sort(clips, _sort(method)))
    return scores.to_dict()


def _scored_film(method: str, sequence: _Sequence, models: _Models, tracker: Tracker) -> dict[str, Any]:
    detections, scene = sequence.detections, sequence.scene
    start = time.process_time()
    tracks = _tracked(method, detections, scene, models, tracker)
    seconds = time.process_time() - start
    scores = score_tracks(sequence.truth, tracks, frames=scene.frames)
    return {**scores.to_dict(), "frames_per_second": scene.frames / max(seconds, 1e-9)}


def _tracked(method: str, detections: Boxes, scene: Scene, models: _Models, tracker: Tracker) -> Boxes:
    if method in ("mixdvae", "lstm"):
        model = models.model if method == "mixdvae" else models.lstm
        assert model is not None
        return tracker.track(model, detections, scene)
    return _sort(method).track(detections, scene)


def _sort(method: str) -> Sort:
    return Sort(patience=30) if method == "patient-sort" else Sort()


def _clip_table(rows: list[dict[str, Any]]) -> str:
    lines = ["| frames | detections | method | MOTA | MOTP | IDF1 | HOTA | switches | MT | ML | FP | FN | CPU s |",
             "|--:|:--|:--|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"]  # fmt: skip
    for row in rows:
        cells = [_percent(row[name]) for name in ("mota", "motp", "idf1", "hota")]
        cells += [str(row[name]) for name in ("switches", "mostly_tracked", "mostly_lost", "false_positives", "misses")]
        lines.append(f"| {row['frames']} ({row['clips']} clips) | {row['variant']} | {CLIP_METHODS[row['method']]} | "
                     f"{' | '.join(cells)} | {row['cpu_seconds']:.1f} |")  # fmt: skip
    return "\n".join(lines) + "\n"


def _film_table(rows: list[dict[str, Any]]) -> str:
    lines = ["| sequence | method | IDF1 | HOTA | MOTA | MOTP | switches | fragments | FP | FN | tracks | frames/s |",
             "|:--|:--|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"]  # fmt: skip
    for row in sorted(rows, key=lambda row: str(row["sequence"])):
        cells = [_percent(row[name]) for name in ("idf1", "hota", "mota", "motp")]
        cells += [str(row[name]) for name in ("switches", "fragments", "false_positives", "misses", "tracks")]
        lines.append(f"| {row['sequence']} | {FILM_METHODS[row['method']]} | {' | '.join(cells)} | "
                     f"{row['frames_per_second']:.0f} |")  # fmt: skip
    return "\n".join(lines) + "\n"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as temp:
        temp.write_text(text, encoding="utf-8")
