"""Tables of scores: derived ones, failures that are never averaged in, and honest intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dynvae.errors import ConfigError
from dynvae.metrics import METRICS, Score, score, summarize, table


def test_failures_are_counted_and_not_averaged() -> None:
    summary = summarize([2.0, Score(4.0), Score.failure("short"), Score.failure("silent"), Score.failure("short")])
    assert (summary.mean, summary.median, summary.n) == (3.0, 3.0, 2)
    assert list(summary.failures.items()) == [("short", 2), ("silent", 1)]


def test_nan_and_infinity_are_failures() -> None:
    summary = summarize([1.0, math.nan, math.inf, -math.inf])
    assert (summary.mean, summary.n, summary.failures) == (1.0, 1, {"not a finite number": 3})


def test_nothing_and_one_file_have_no_interval() -> None:
    nothing, one = summarize([Score.failure("x")]), summarize([3.0])
    assert (nothing.mean, nothing.median, nothing.low, nothing.n) == (None, None, None, 0)
    assert (one.mean, one.low, one.high, one.n) == (3.0, None, None, 1)


def test_the_interval_repeats_and_knows_no_order() -> None:
    values = list(np.random.default_rng(0).standard_normal(50))
    assert summarize(values) == summarize(values[::-1])
    assert summarize(values, seed=1).low != summarize(values).low


def test_the_interval_is_the_normal_one_where_that_holds() -> None:
    values = np.random.default_rng(1).standard_normal(400)
    summary = summarize(values)
    half = 1.96 * values.std() / math.sqrt(400)
    assert (summary.low, summary.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)


def test_the_interval_covers_as_often_as_it_says() -> None:
    random = np.random.default_rng(2)
    intervals = [summarize(random.standard_normal(40), resamples=400) for _ in range(200)]
    covered = sum(summary.low < 0 < summary.high for summary in intervals)
    assert 178 <= covered <= 200  # 95 % of 200, less two binomial deviations and the bootstrap's own shortfall


def test_memory_does_not_grow_with_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).standard_normal(1000)
    whole = summarize(values)
    monkeypatch.setattr("dynvae.metrics.summary.DRAWS_AT_ONCE", 10_000)
    parts = summarize(values)
    assert (parts.low, parts.high) == pytest.approx((whole.low, whole.high), abs=0.01)


def test_a_derived_score_uses_the_one_it_derives_from(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def fake(reference, estimate, rate) -> float:
        calls.append(rate)
        return 2.0

    monkeypatch.setitem(table.METRICS, "pesq_nb", table.Metric("PESQ NB", fake))
    signal = np.ones(10)
    assert list(score(signal, signal, 16000, ["pesq_raw", "pesq_nb"])) == ["pesq_raw", "pesq_nb"]
    assert score(signal, signal, 8000, ["pesq_raw"])["pesq_raw"].value == pytest.approx(2.3838, abs=1e-3)
    assert calls == [16000, 8000]


def test_derived_failures_keep_the_reason() -> None:
    signal = np.ones(10)
    scores = score(signal, signal, 16000)
    assert scores["pesq_raw"] == scores["pesq_nb"] != scores["rmse"]
    assert set(scores) == set(METRICS)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="no metric 'pesq'; there are rmse"):
        score([1.0], [1.0], 16000, ["pesq"])
