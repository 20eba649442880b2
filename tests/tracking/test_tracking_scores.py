"""Scores of tracks: by hand, beside TrackEval where it is installed, and as published for real trackers."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from dynvae.tracking import Boxes, combine, iou, read_boxes, read_scene, read_truth, score_tracks

# By TrackEval 1.3.0: MOTA, MOTP, IDF1, switches, fragments, MT, ML, HOTA, DetA, AssA.
TRACKEVAL = {
    ("MOT17-02", "lif_t_SDP.txt.gz"): (0.550078, 0.907067, 0.612605, 50, 49, 16, 16, 0.525266, 0.505980, 0.545440),
    ("MOT17-10", "elias2020_munkres_cache_reid_SDP.txt.gz"): (
        0.614378,
        0.793239,
        0.472315,
        390,
        282,
        31,
        3,
        0.412169,
        0.537658,
        0.319095,
    ),
    ("TUD-Stadtmitte", "py_motmetrics_test.txt"): (
        0.564014,
        0.654096,
        0.644619,
        7,
        6,
        5,
        1,
        0.397849,
        0.392268,
        0.408841,
    ),
}
NAMES = ("mota", "motp", "idf1", "switches", "fragments", "mostly_tracked", "mostly_lost", "hota", "deta", "assa")


def line(who: int, frames: range, left: float = 0.0) -> list[tuple[float, ...]]:
    return [(t, who, left + t, 0, 10, 10, 1) for t in frames]


def test_perfect_tracks() -> None:
    truth = Boxes.of(line(1, range(1, 11)) + line(2, range(3, 9), 50))
    scores = score_tracks(truth, truth)
    assert (scores.mota, scores.motp, scores.idf1, scores.hota) == (1, 1, 1, 1)
    assert (scores.mostly_tracked, scores.switches, scores.people, scores.tracks) == (2, 0, 2, 2)


def test_switch_gap_and_false_alarm_by_hand() -> None:
    truth = Boxes.of(line(1, range(1, 11)))
    tracks = Boxes.of(line(1, range(1, 5)) + line(2, range(7, 11)) + line(3, range(5, 6), 500))
    scores = score_tracks(truth, tracks)
    assert (scores.misses, scores.false_positives, scores.switches, scores.fragments) == (2, 1, 1, 1)
    assert scores.mota == pytest.approx(1 - 4 / 10)
    assert scores.idf1 == pytest.approx(2 * 4 / 19)
    assert (scores.mostly_tracked, scores.partly_tracked, scores.mostly_lost) == (0, 1, 0)


def test_nothing_to_compare() -> None:
    nothing, something = Boxes.of([]), Boxes.of(line(1, range(1, 5)))
    missed = score_tracks(something, nothing)
    assert (missed.mota, missed.idf1, missed.hota, missed.misses, missed.mostly_lost) == (0, 0, 0, 4, 1)
    assert math.isnan(missed.motp)
    alarms = score_tracks(nothing, something)
    assert math.isnan(alarms.mota)
    assert (alarms.idf1, alarms.hota, alarms.false_positives) == (0, 0, 4)
    empty = score_tracks(nothing, nothing, frames=5)
    assert math.isnan(empty.hota)
    assert empty.to_dict()["hota"] is None
    assert combine([]).people == 0


def test_several_sequences_are_added_up() -> None:
    truth = Boxes.of(line(1, range(1, 11)))
    half = Boxes.of(line(1, range(1, 6)))
    both = combine([score_tracks(truth, truth), score_tracks(truth, half)])
    assert both.mota == pytest.approx(15 / 20)
    assert both.idf1 == pytest.approx(30 / 35)
    assert (both.people, both.tracks, both.truth) == (2, 2, 20)
    alone = combine([score_tracks(truth, half)])
    assert alone.to_dict() == score_tracks(truth, half).to_dict()


def random_tracks(seed: int) -> tuple[Boxes, Boxes]:
    dice = np.random.default_rng(seed)

    def drawn() -> Boxes:
        rows = [
            (t, who, *(dice.integers(0, 12, 2)), *(dice.integers(4, 9, 2)), 1)
            for t in range(1, 13)
            for who in range(1, 5)
            if dice.uniform() < 0.7
        ]
        return Boxes.of(rows)

    return drawn(), drawn()


@pytest.mark.parametrize("seed", range(20))
def test_trackeval_says_the_same(seed: int) -> None:
    trackeval = pytest.importorskip("trackeval")
    truth, tracks = random_tracks(seed)
    people, who = np.unique(truth.id, return_inverse=True)
    ids, track = np.unique(tracks.id, return_inverse=True)
    rows, columns = truth.split(12), tracks.split(12)
    data = {
        "num_timesteps": 12, "num_gt_ids": len(people), "num_tracker_ids": len(ids), "num_gt_dets": len(truth),
        "num_tracker_dets": len(tracks), "gt_ids": [who[row] for row in rows],
        "tracker_ids": [track[column] for column in columns],
        "similarity_scores": [iou(truth.box[a], tracks.box[b]) for a, b in zip(rows, columns, strict=True)],
    }  # fmt: skip
    quiet = {"PRINT_CONFIG": False}
    theirs = trackeval.metrics.CLEAR(quiet).eval_sequence(data) | trackeval.metrics.Identity(quiet).eval_sequence(data)
    theirs |= {key: np.mean(value) for key, value in trackeval.metrics.HOTA().eval_sequence(data).items()}
    ours = score_tracks(truth, tracks)
    for name, key in zip(NAMES, ("MOTA", "MOTP", "IDF1", "IDSW", "Frag", "MT", "ML", "HOTA", "DetA", "AssA"),
                         strict=True):  # fmt: skip
        assert getattr(ours, name) == pytest.approx(theirs[key], abs=1e-12), name


def test_real_trackers(shared: Path) -> None:
    """What TrackEval has said of them; beside it, py-motmetrics, which breaks ties otherwise."""
    with (shared / "data/mot/reference_metrics.csv").open() as file:
        reference = {(row["run"].removesuffix("-SDP"), row["tracker"][:4].lower()): row for row in csv.DictReader(file)}
    for (sequence, tracker), expected in TRACKEVAL.items():
        folder = shared / "data/mot" / sequence
        truth, tracks = read_truth(folder / "gt/gt.txt"), read_boxes(folder / "trackers" / tracker)
        ours = score_tracks(truth, tracks, frames=read_scene(folder).frames)
        assert [getattr(ours, name) for name in NAMES] == pytest.approx(expected, abs=1e-6)
        row = reference[sequence, tracker[:4].lower().replace("_m", "-m")]
        assert ours.mota == pytest.approx(float(row["mota"]), abs=2e-3)
        assert ours.idf1 == pytest.approx(float(row["idf1"]), abs=2e-6)
        assert ours.misses == pytest.approx(float(row["num_misses"]), abs=3)
