"""SORT: whom it follows, when it forgets, and what it does with nothing or too much."""

from __future__ import annotations

import numpy as np
import pytest
from tracking_toys import SCENE, detected, walkers

from dynvae.errors import ConfigError
from dynvae.tracking import Boxes, Scene, Sort, score_tracks


def test_people_who_keep_apart_are_followed() -> None:
    truth = walkers()
    tracks = Sort().track(detected(truth), SCENE)
    scores = score_tracks(truth, tracks)
    assert scores.switches == 0
    assert scores.mota > 0.98
    assert tracks.id.tolist()[:3] == [1, 2, 3]


def test_patience_bridges_a_gap() -> None:
    rows = [(t, -1, 10 + t, 20, 30, 60, 1) for t in range(1, 41) if not 20 <= t < 24]
    scene = Scene("gap", 40, 640, 480)
    assert Sort().track(Boxes.of(rows), scene).tracks == 2
    patient = Sort(patience=5).track(Boxes.of(rows), scene)
    assert patient.tracks == 1
    assert not np.isin(patient.frame, [20, 21, 22, 23]).any()


def test_three_hits_are_needed_after_the_beginning() -> None:
    rows = [(t, -1, 10, 20, 30, 60, 1) for t in (11, 12, 13, 14)] + [(5, -1, 300, 20, 30, 60, 1)]
    assert Sort().track(Boxes.of(rows), SCENE).frame.tolist() == [14]


def test_hardly_anything_and_boxes_without_area() -> None:
    assert len(Sort().track(Boxes.of([]), SCENE)) == 0
    assert len(Sort().track(Boxes.of([]), Scene("none", 0, 1, 1))) == 0
    flat = Boxes.of([(t, -1, 5, 5, 0, 9, 1) for t in range(1, 9)])
    assert len(Sort().track(flat, SCENE)) == 0
    same = Boxes.of([(t, -1, 5, 5, 9, 9, 1) for t in range(1, 61) for _ in range(3)])
    tracks = Sort().track(same, SCENE)
    assert np.isfinite(tracks.box).all()
    assert tracks.tracks == 3


def test_settings_out_of_range() -> None:
    with pytest.raises(ConfigError, match="patience from 1"):
        Sort(patience=0)
