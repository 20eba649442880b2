"""The mixture on boxes: sources are followed, gaps are bridged, and neither order nor number of detections harms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tracking_toys import SCENE, detected, walkers

from dynvae.errors import ConfigError
from dynvae.mixtures import Estimate, GaussianAssignment, Mixture, Observations
from dynvae.models import DVAE
from dynvae.pretrained import load
from dynvae.tracking import Boxes, Scene, Sort, Tracker, score_tracks, to_frames
from dynvae.tracking.kalman import KalmanMixture, smoothed
from dynvae.tracking.protocol import by_following, by_kalman, by_sort
from dynvae.tracking.triplets import Clips, cut_clips


@pytest.fixture(scope="module")
def model() -> DVAE:
    return load("srnn-boxes")


@pytest.fixture(scope="module")
def clips() -> Clips:
    truth = walkers()
    found = detected(truth, missing=0.1)
    leading = detected(truth).where(detected(truth).frame <= 5)
    found = Boxes.of(
        np.concatenate([
            np.column_stack([part.frame, part.id, part.box])
            for part in (leading, found.where(found.frame > 5))
        ])
    )  # fmt: skip
    return cut_clips(truth, found, Scene("toy", 61, 640, 480), 60)


def test_clips_hold_the_detections_of_their_people(clips: Clips) -> None:
    assert clips.names == ["toy@1:1-2-3"]
    assert clips.truth.shape == (1, 60, 3, 4)
    assert 0.8 < clips.present.mean() < 1
    assert clips.present[:, :5].all()
    np.testing.assert_allclose(clips.values[clips.present], clips.truth[clips.present], atol=0.02)
    shuffled = clips.shuffled()
    assert shuffled.present.sum() == clips.present.sum()
    assert not np.array_equal(shuffled.values, clips.values)
    assert clips.thinned(0.5).present.mean() < 0.6
    assert clips.score(np.moveaxis(clips.truth, 1, 2)).mota == 1
    assert len(cut_clips(walkers(2), detected(walkers(2)), SCENE, 30)) == 0
    with pytest.raises(ConfigError, match="clips have at least"):
        cut_clips(walkers(), walkers(), SCENE, 2)


def test_order_of_detections_changes_nothing(clips: Clips, model: DVAE) -> None:
    tracker = Tracker()
    given, shuffled = (by_following(each, model, tracker) for each in (clips, clips.shuffled()))
    order = np.argsort(clips.shuffled().values[0, 0, :, 0]), np.argsort(clips.values[0, 0, :, 0])
    np.testing.assert_allclose(given[:, order[1]], shuffled[:, order[0]], atol=1e-5)
    assert clips.score(given).idf1 > 0.99


def test_every_way_follows_people_who_keep_apart(clips: Clips) -> None:
    for means in (by_kalman(clips), by_kalman(clips, resting=True)):
        assert clips.score(means).idf1 > 0.95
    assert clips.score_boxes(by_sort(clips, Sort(patience=10))).switches == 0


def test_smoother_of_the_kalman_mixture_is_exact() -> None:
    """Beside the joint Gaussian of all places, solved at once."""
    time, a, v, noise = 7, 0.3, 0.8, 0.2
    start = Estimate(torch.zeros(1), torch.full((1,), 0.5))
    seen = torch.randn(time, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    said = Mixture.__init__.__globals__["Evidence"].of(torch.full((time, 1), 1 / noise, dtype=torch.float64), seen)
    found = smoothed(said, start, torch.full((1,), a), torch.full((1,), v))
    basis = np.zeros((time, time + 1))  # place by first place, first velocity, and the pushes
    for t in range(time):
        basis[t, 0], basis[t, 1] = 1, t
        for push in range(t):
            basis[t, 2 + push] = 0.5 + (t - 1 - push)
    prior = np.diag([0.5, v**2, *[a**2] * (time - 1)])
    covariance = basis @ prior @ basis.T
    mean = covariance @ np.linalg.solve(covariance + noise * np.eye(time), seen[:, 0].numpy())
    np.testing.assert_allclose(found.mean[:, 0].numpy(), mean, atol=1e-6)
    spread = covariance - covariance @ np.linalg.solve(covariance + noise * np.eye(time), covariance)
    np.testing.assert_allclose(found.variance[:, 0].numpy(), np.diag(spread), atol=1e-6)
    with pytest.raises(ConfigError, match="must be positive"):
        KalmanMixture(GaussianAssignment(), acceleration=0)


def test_error_in_gaps_does_not_grow_with_iterations(model: DVAE) -> None:
    """15 % of the detections are missing; z comes from the prior there."""
    truth = to_frames(walkers(8, 40).box, SCENE.size).reshape(8, 40, 4)
    own = torch.from_numpy((truth - truth[:, :1]) / (truth[:, :1, 2:] - truth[:, :1, :2])[..., [0, 1, 0, 1]]).float()
    own = own.unsqueeze(1)
    present = torch.rand(8, 40, 1, generator=torch.Generator().manual_seed(0)) >= 0.15
    present[:, :5] = True
    observed = Observations(own.transpose(1, 2), present, torch.tensor(0.04**2))
    errors = []
    for iterations in (2, 10, 40):
        mixture = Mixture(model, GaussianAssignment(), iterations=iterations)
        found = mixture.run(observed, Estimate(own, torch.full_like(own, 1e-3)))
        errors.append(float((found.mean - own).abs()[:, 0][~present[..., 0]].mean()))
    assert max(errors) < 1.1 * errors[0]


def test_people_come_and_go(model: DVAE) -> None:
    truth = walkers(4)
    truth = truth.where((truth.id % 2 == 0) | ((truth.frame > 15) & (truth.frame <= 45)))
    tracks = Tracker().track(model, detected(truth), SCENE)
    scores = score_tracks(truth, tracks)
    assert (scores.switches, scores.tracks) == (0, 4)
    assert scores.idf1 > 0.98
    for who in np.unique(tracks.id):
        assert np.isin(len(tracks.where(tracks.id == who)), (30, 60))


def test_gaps_are_filled_if_they_are_short(model: DVAE) -> None:
    truth = walkers(1)
    found = detected(truth).where((truth.frame < 20) | (truth.frame > 31))
    assert len(Tracker().track(model, found, SCENE)) == 48
    filled = Tracker(longest=12).track(model, found, SCENE)
    assert filled.frame.tolist() == list(range(1, 61))
    assert score_tracks(truth, filled).mota == 1
    assert len(Tracker(longest=12, fill="none").track(model, found, SCENE)) == 48
    assert Tracker(patience=5).track(model, found, SCENE).tracks == 2
    modelled = Tracker(longest=12, fill="model").track(model, found, SCENE)
    assert len(modelled) == 60
    assert np.isfinite(modelled.box).all()


def test_nothing_to_see(model: DVAE) -> None:
    assert len(Tracker().track(model, Boxes.of([]), SCENE)) == 0
    assert len(Tracker().track(model, Boxes.of([]), Scene("none", 0, 1, 1))) == 0
    flat = Boxes.of([(t, -1, 5, 5, 0, 9, 1) for t in range(1, 9)])
    assert len(Tracker().track(model, flat, SCENE)) == 0
    once = Boxes.of([(5, -1, 50, 50, 20, 40, 1)])
    assert len(Tracker().track(model, once, SCENE)) == 0
    assert len(Tracker(hits=1).track(model, once, SCENE)) == 1
    unsure = detected(walkers())
    unsure = Boxes(unsure.frame, unsure.id, unsure.box, np.full(len(unsure), 0.2))
    assert len(Tracker(confidence=0.5).track(model, unsure, SCENE)) == 0


def test_identical_boxes_and_more_people_than_before(model: DVAE) -> None:
    same = Boxes.of([(t, -1, 50, 50, 30, 60, 1) for t in range(1, 21) for _ in range(3)])
    tracks = Tracker().track(model, same, Scene("same", 20, 640, 480))
    assert np.isfinite(tracks.box).all()
    assert tracks.tracks == 3
    assert len(tracks) == 60
    crowd = Boxes.of([(t, -1, 20 * who, 50, 15, 40, 1) for t in range(1, 9) for who in range(30 if t > 3 else 1)])
    tracks = Tracker().track(model, crowd, Scene("crowd", 8, 640, 480))
    assert tracks.tracks == 30


def test_tiny_and_huge_boxes_stay_finite(model: DVAE) -> None:
    rows = [(t, -1, 1e6 * (-1) ** t, 5, size, size, 1) for t in range(1, 16) for size in (1e-6, 1e6)]
    tracks = Tracker(hits=1).track(model, Boxes.of(rows), Scene("odd", 15, 640, 480))
    assert np.isfinite(tracks.box).all()


def test_ten_thousand_frames(model: DVAE) -> None:
    """Somebody is there now and then."""
    there = [t for t in range(1, 10_001) if t % 2500 < 25 and t % 7]
    rows = [(t, -1, 50 + t % 2500, 50, 30, 60, 1) for t in there]
    tracks = Tracker(iterations=1, patience=3).track(model, Boxes.of(rows), Scene("long", 10_000, 640, 480))
    assert tracks.tracks == 4
    assert tracks.last_frame > 7500
    assert np.isfinite(tracks.box).all()


def test_settings_out_of_range() -> None:
    for wrong in ({"gate": 0}, {"spread": 0.01}, {"learn": -1}, {"iterations": 0}, {"history": 1}, {"patience": -1},
                  {"fill": "air"}):  # fmt: skip
        with pytest.raises(ConfigError):
            Tracker(**wrong)  # type: ignore[arg-type]


def test_real_film_beats_sort(model: DVAE, shared: Path) -> None:
    from dynvae.tracking import read_boxes, read_scene, read_truth

    folder = shared / "data/mot/TUD-Stadtmitte"
    scene, truth = read_scene(folder), read_truth(folder / "gt/gt.txt")
    found = read_boxes(folder / "det/det.txt")
    ours, theirs = (
        score_tracks(truth, tracks) for tracks in (Tracker().track(model, found, scene), Sort().track(found, scene))
    )
    assert ours.idf1 > theirs.idf1
