"""The objective and its schedules, against sums written out by hand."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dynvae.errors import ConfigError
from dynvae.models.base import ELBO
from dynvae.training import TrainConfig, elbo_loss
from dynvae.training.objective import cyclical, learning_rate, linear, ramp


@pytest.fixture
def elbo() -> ELBO:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([4, 2, 3])
    valid = torch.arange(4) < lengths[:, None]
    kl = torch.rand(3, 4, 2, generator=generator, dtype=torch.float64) * torch.tensor([1.0, 0.01]) * valid[..., None]
    log_likelihood = -torch.rand(3, 4, generator=generator, dtype=torch.float64) * valid
    kl_w = torch.rand(3, generator=generator, dtype=torch.float64)
    return ELBO(log_likelihood.requires_grad_(), kl.requires_grad_(), kl_w.requires_grad_(), lengths)


def test_loss_is_the_negative_elbo_in_nats_per_frame(elbo: ELBO) -> None:
    loss = elbo_loss(elbo)
    torch.testing.assert_close(loss.value, -elbo.per_frame)
    assert elbo.kl_w is not None
    expected = torch.stack([elbo.log_likelihood.sum(), elbo.kl.sum(), elbo.kl_w.sum(), torch.tensor(9.0)])
    torch.testing.assert_close(loss.sums, expected.detach())


def test_kl_weight_scales_both_divergences(elbo: ELBO) -> None:
    assert elbo.kl_w is not None
    divergence = (elbo.kl.sum() + elbo.kl_w.sum()) / 9
    torch.testing.assert_close(elbo_loss(elbo, kl_weight=0.25).value, 0.25 * divergence - elbo.log_likelihood.sum() / 9)


def test_free_bits_charge_a_constant_for_a_dimension_below(elbo: ELBO) -> None:
    per_dimension = elbo.kl.sum((0, 1)) / 9
    assert per_dimension[1] < 0.1 < per_dimension[0]
    assert elbo.kl_w is not None
    expected = per_dimension[0] + 0.1 + elbo.kl_w.sum() / 9 - elbo.log_likelihood.sum() / 9
    loss = elbo_loss(elbo, free_bits=0.1)
    torch.testing.assert_close(loss.value, expected)
    loss.value.backward()
    assert elbo.kl.grad is not None
    assert (elbo.kl.grad[..., 0] != 0).all()
    assert (elbo.kl.grad[..., 1] == 0).all()


@pytest.mark.parametrize("free_bits", [0.0, 0.1])
def test_the_losses_of_two_processes_add_up_to_that_of_one(elbo: ELBO, free_bits: float) -> None:
    assert elbo.kl_w is not None
    parts = [
        ELBO(elbo.log_likelihood[rows], elbo.kl[rows], elbo.kl_w[rows], elbo.lengths[rows])
        for rows in (slice(0, 1), slice(1, 3))
    ]
    # what an all-reduce would answer to each of the two questions
    answers = {(): elbo.lengths.sum(), (2,): elbo.kl.detach().sum((0, 1))}
    losses = [elbo_loss(part, free_bits=free_bits, total=lambda t: answers[tuple(t.shape)]) for part in parts]
    torch.testing.assert_close(losses[0].value + losses[1].value, elbo_loss(elbo, free_bits=free_bits).value)


@given(st.floats(0, 100), st.floats(0, 50), st.floats(0, 50), st.floats(0, 1))
def test_ramp_rises_from_nothing_to_its_target(epoch: float, start: float, length: float, target: float) -> None:
    value = ramp(epoch, start, start + length, target)
    assert 0 <= value <= target
    if epoch >= start + length:
        assert value == target
    elif epoch <= start:
        assert value == 0
    assert ramp(epoch + 1, start, start + length, target) >= value


def test_warm_up_of_no_length_is_over_at_once() -> None:
    assert linear(0, 0) == 1
    assert cyclical(0, 0, 4) == 1
    assert TrainConfig().kl_weight(0) == 1


def test_cycles_start_anew_and_end_at_full_weight() -> None:
    values = [cyclical(epoch, 20, 4) for epoch in range(25)]
    assert [epoch for epoch, value in enumerate(values) if value == 0] == [0, 5, 10, 15]
    assert values[20:] == [1.0] * 5


def test_learning_rate_has_a_peak_and_a_floor() -> None:
    rates = [learning_rate(step, 1000, peak=2.0, warmup=10, floor=0.1) for step in range(1001)]
    assert rates[0] == pytest.approx(0.2)
    assert max(rates) == pytest.approx(2.0)
    assert rates[-1] == pytest.approx(0.2)
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))
    assert learning_rate(999, 1000, peak=2.0, warmup=10, floor=0.1, cosine=False) == 2.0
    assert math.isclose(learning_rate(505, 1000, peak=2.0, warmup=10, floor=0.1), 1.1)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"lr": 0.0}, "train.lr"),
        ({"ema": 1.0}, "train.ema"),
        ({"free_running": 1.5}, "train.free_running"),
        ({"free_running_start": 3.0}, "train.free_running_end"),
        ({"max_steps": 0}, "train.max_steps"),
        ({"clip": -1.0}, "train.clip"),
    ],
)
def test_settings_out_of_range_are_named(changes: dict[str, float], key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        TrainConfig(**changes)  # type: ignore[arg-type]


def test_the_kl_costs_nothing_before_its_start() -> None:
    for schedule in ("linear", "cyclical"):
        config = TrainConfig(kl_schedule=schedule, kl_start=3.0, kl_warmup=4.0, kl_cycles=1)
        assert [config.kl_weight(epoch) for epoch in (0, 2.9, 3, 4, 7, 9)] == [
            0,
            0,
            0,
            *((0.25, 1, 1) if schedule == "linear" else (0.5, 1, 1)),
        ]
        assert config.settled == 7
