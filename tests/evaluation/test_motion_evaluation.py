"""Evaluation of motion: windows, errors in millimetres, futures with their baselines, conventions, what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dynvae.data.motion import MotionCorpus, MotionSequence
from dynvae.errors import ConfigError, DataError
from dynvae.evaluation.motion import MODEL, NEAREST, STILL, evaluate_motion, windows_of
from dynvae.metrics.motion import score_futures
from dynvae.models import DVAE, build
from dynvae.motion import Skeleton

BODY = Skeleton((-1, 0, 1), frame_rate=10)
SMALL: dict[str, Any] = {"futures": 4, "observe": 0.4, "predict": 0.6}


def recording(frames: int, seed: int) -> Tensor:
    steps = torch.randn(frames, 3, 3, generator=torch.Generator().manual_seed(seed)) * 0.1
    return steps.cumsum(0)


@pytest.fixture(scope="module")
def corpus() -> MotionCorpus:
    lengths = [("train", 40), ("train", 33), ("valid", 20), ("test", 23), ("test", 10), ("test", 12)]
    items = [MotionSequence(f"{i}", "", split, recording(n, i)) for i, (split, n) in enumerate(lengths)]
    return MotionCorpus("recordings", BODY, items)


def model_for(corpus: MotionCorpus, name: str = "srnn", **config: Any) -> DVAE:
    skeleton = corpus.skeleton.fitted(item.places for item in corpus.split("train"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build(name, x_dim=skeleton.size, z_dim=2, likelihood="gaussian", **config)
    model.front_end = skeleton
    return model


def test_windows_are_cut_as_published(corpus: MotionCorpus) -> None:
    skeleton = corpus.skeleton.fitted(item.places for item in corpus.split("train"))
    windows = windows_of(corpus.split("test"), skeleton, 4, 6)
    assert windows.names == ["3@0", "3@4", "3@8", "3@12", "5@0"]  # the one of just ten frames has none
    places = corpus.sequences[3].places
    seen = (places - places[:, :1])[:, 1:].flatten(1) - torch.tensor(skeleton.centre)[1:].flatten()
    torch.testing.assert_close(windows.past[1], seen[4:8], atol=1e-6, rtol=0)
    torch.testing.assert_close(windows.future[1], seen[8:14], atol=1e-6, rtol=0)
    with pytest.raises(DataError, match="all sequences are shorter than 20"):
        windows_of(corpus.split("test"), skeleton, 20, 60)


def test_an_evaluation(corpus: MotionCorpus, tmp_path: Path) -> None:
    model = model_for(corpus)
    found = evaluate_motion(model, corpus, out=tmp_path, **SMALL)
    assert [row.path for row in found.sequences] == ["3", "4", "5"]
    assert found.windows[0] == 5
    assert list(found.futures) == [MODEL, STILL, NEAREST]
    skeleton = model.front_end
    assert isinstance(skeleton, Skeleton)
    x = skeleton.frames(corpus.sequences[4].places)
    for column, mode in (("mpjpe", "teacher-forced"), ("mpjpe_generation", "generation")):
        mean = evaluate_motion(model, corpus, latents="mean", futures=0).sequences[1].scores[column].value
        with torch.no_grad():
            own = model.resynthesize(x[None], mode=mode, latents="mean").mean[0]  # type: ignore[arg-type]
        assert mean == pytest.approx(float(skeleton.errors(own, x).mean()) * 1000, rel=1e-5)
    windows = windows_of(corpus.split("test"), skeleton, 4, 6)
    errors = [
        score_futures(past[-1:].expand(6, -1)[None], future[None]).ade
        for past, future in zip(windows.past, windows.future, strict=True)
    ]
    assert found.futures[STILL]["ade"].mean == pytest.approx(sum(errors) / 5)
    assert found.futures[STILL]["apd"].mean == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["futures"][MODEL]["fde"]["n"] == 5
    with (tmp_path / "futures.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["window"] for row in rows] == windows.names
    again = evaluate_motion(model, corpus, out=tmp_path, **SMALL)
    assert again.futures == found.futures
    with pytest.raises(ConfigError, match="another futures"):
        evaluate_motion(model, corpus, out=tmp_path, **{**SMALL, "futures": 5})


def test_neighbours_are_the_nearest_beginnings(corpus: MotionCorpus) -> None:
    """On the training split itself, the nearest beginning is the own one, and its future is the truth."""
    found = evaluate_motion(model_for(corpus, "vae"), corpus, split="train", **SMALL)
    assert found.futures[NEAREST]["ade"].mean == pytest.approx(0, abs=1e-6)
    assert found.futures[MODEL]["ade"].mean > 0.01


def test_windows_like_no_other_count_or_not(corpus: MotionCorpus) -> None:
    model = model_for(corpus, "vae")
    close = evaluate_motion(model, corpus, threshold=0.0, **SMALL)
    assert close.windows == (5, 5)
    for scores in close.futures.values():
        assert scores["mmade"].mean == pytest.approx(scores["ade"].mean)
    with pytest.raises(DataError, match="no windows"):
        evaluate_motion(model, corpus, threshold=0.0, skip_lonely=True, **SMALL)
    some = evaluate_motion(model, corpus, threshold=0.5, **SMALL)
    kept = evaluate_motion(model, corpus, threshold=0.5, skip_lonely=True, **SMALL)
    assert 0 < some.windows[1] < 5
    assert kept.futures[MODEL]["ade"].n == 5 - some.windows[1]
    assert some.futures[MODEL]["ade"].n == 5


def test_a_model_that_looks_ahead_has_no_futures(corpus: MotionCorpus) -> None:
    found = evaluate_motion(model_for(corpus, "rvae"), corpus, **SMALL)
    assert list(found.futures) == [STILL, NEAREST]
    assert "cannot continue" in found.problem


def test_what_does_not_fit_is_refused(corpus: MotionCorpus) -> None:
    model = model_for(corpus, "vae")
    slower = MotionCorpus("slow", Skeleton(BODY.parents, 5), corpus.sequences)
    with pytest.raises(ConfigError, match="the model is for 3 joints at 10 frames a second, slow has 3 at 5"):
        evaluate_motion(model, slower)
    with pytest.raises(ConfigError, match="must last a frame"):
        evaluate_motion(model, corpus, observe=0.01)
    model.front_end = None
    with pytest.raises(ConfigError, match="no skeleton"):
        evaluate_motion(model, corpus)
