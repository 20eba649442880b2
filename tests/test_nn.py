"""The parts of networks."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dynvae.errors import ConfigError
from dynvae.nn import MLP, Recurrent, full_precision, reverse_valid, shift, time_mask


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def frames(*, batch: int = 3, time: int = 6, size: int = 4) -> Tensor:
    return torch.randn(batch, time, size, dtype=torch.float64)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=5))
def test_reversing_twice_changes_nothing(lengths: list[int]) -> None:
    x, sizes = frames(batch=len(lengths), time=7, size=2), torch.tensor(lengths)
    turned = reverse_valid(x, sizes)
    assert torch.equal(reverse_valid(turned, sizes), x)
    for row, back, length in zip(x, turned, lengths, strict=True):
        assert torch.equal(back[:length], row[:length].flip(0))
        assert torch.equal(back[length:], row[length:])


def test_reversing_without_lengths() -> None:
    x = frames()
    assert torch.equal(reverse_valid(x, None), x.flip(1))
    assert torch.equal(reverse_valid(x, torch.full((3,), 6)), x.flip(1))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=5))
def test_time_mask_counts(lengths: list[int]) -> None:
    mask = time_mask(torch.tensor(lengths), 6)
    assert mask.sum(1).tolist() == lengths
    assert (mask.int().diff(dim=1) <= 0).all()  # valid frames first


def test_shift_is_the_past() -> None:
    x = frames()
    late = shift(x)
    assert torch.equal(late[:, 1:], x[:, :-1])
    assert (late[:, 0] == 0).all()
    assert shift(x[:, :1]).shape == (3, 1, 4)


def test_mlp_is_linear_layers_with_activations_between() -> None:
    x = frames(size=4)
    mlp = MLP(4, (5, 6), 3, activation="relu").double()
    first, second, last = mlp.layers
    torch.testing.assert_close(mlp(x), last(second(first(x).relu()).relu()))
    hidden_only = MLP(4, (5,), activation="tanh").double()
    torch.testing.assert_close(hidden_only(x), hidden_only.layers[0](x).tanh())
    assert torch.equal(MLP(4)(x), x)


def test_mlp_dropout_spares_the_output() -> None:
    mlp = MLP(4, (50,), 3, dropout=0.5).double()
    x = frames()
    assert not torch.equal(mlp(x), mlp(x))
    assert (mlp(x) != 0).all()
    assert torch.equal(mlp.eval()(x), mlp(x))


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(ConfigError, match="there is no activation 'tan'; there are tanh, relu"):
        MLP(4, (5,), activation="tan")
    with pytest.raises(ConfigError, match="at least one layer, not 0"):
        Recurrent(4, 5, layers=0)


def test_full_precision_switches_autocast_off() -> None:
    a = torch.randn(3, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (a @ a).dtype == torch.bfloat16
        with full_precision(a):
            assert (a @ a).dtype == torch.float32
    with full_precision(a.to("meta")):
        pass
