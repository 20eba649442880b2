"""The networks against PyTorch's own, whole sequences against steps, padded against packed."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from dynvae.errors import ConfigError
from dynvae.nn import MLP, Recurrent, full_precision, reverse_valid, shift, time_mask

LENGTHS = torch.tensor([6, 4, 1])


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def frames(*, batch: int = 3, time: int = 6, size: int = 4) -> Tensor:
    return torch.randn(batch, time, size, dtype=torch.float64)


def theirs(mine: Recurrent, size: int) -> nn.RNNBase:
    """PyTorch's module with the same weights, forward direction first."""
    kind = {"lstm": nn.LSTM, "rnn": nn.RNN}[mine.cell]
    both = len(mine.directions) == 2
    other = kind(size, mine.hidden, num_layers=len(mine.layers), batch_first=True, bidirectional=both).double()
    with torch.no_grad():
        for index, layer in enumerate(mine.layers):
            for run, suffix in zip(layer, ("", "_reverse"), strict=False):
                for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                    getattr(other, f"{part}_l{index}{suffix}").copy_(getattr(run, f"{part}_l0"))
    return other


@pytest.mark.parametrize(("cell", "layers", "direction"), list(product(("lstm", "rnn"), (1, 2), ("forward", "both"))))
def test_recurrent_equals_pytorchs_own(cell, layers, direction) -> None:
    mine = Recurrent(4, 5, layers=layers, direction=direction, cell=cell).double()
    other, x = theirs(mine, 4), frames()
    torch.testing.assert_close(mine(x), other(x)[0], rtol=1e-12, atol=1e-12)
    packed = pack_padded_sequence(x, LENGTHS, batch_first=True)
    out, last = other(packed)
    expected = pad_packed_sequence(out, batch_first=True)[0]
    valid = time_mask(LENGTHS, 6)
    actual = mine(x, LENGTHS)
    torch.testing.assert_close(actual[valid], expected[valid], rtol=1e-12, atol=1e-12)
    hidden = last[0] if cell == "lstm" else last
    ends = torch.cat(list(hidden[-len(mine.directions) :]), -1)
    torch.testing.assert_close(mine.last(actual, LENGTHS), ends, rtol=1e-12, atol=1e-12)
    whole = mine(x)
    hidden = other(x)[1][0] if cell == "lstm" else other(x)[1]
    torch.testing.assert_close(mine.last(whole), torch.cat(list(hidden[-len(mine.directions) :]), -1))


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_a_backward_run_is_a_forward_run_of_the_reversed_sequence(cell) -> None:
    mine = Recurrent(4, 5, direction="backward", cell=cell).double()
    run, x = mine.layers[0][0], frames()
    torch.testing.assert_close(mine(x), run(x.flip(1))[0].flip(1))
    for i, length in enumerate(LENGTHS.tolist()):
        alone = run(x[i : i + 1, :length].flip(1))[0].flip(1)
        torch.testing.assert_close(mine(x, LENGTHS)[i, :length], alone[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(mine.last(mine(x, LENGTHS), LENGTHS), mine(x, LENGTHS)[:, 0])


@pytest.mark.parametrize(("cell", "layers"), list(product(("lstm", "rnn"), (1, 2, 3))))
def test_steps_equal_the_whole_run(cell, layers) -> None:
    mine = Recurrent(4, 5, layers=layers, cell=cell).double()
    x = frames()
    whole, hoisted = mine(x), mine.hoist(x[..., :3])
    for known in (None, hoisted):
        state, outs = mine.start(3), []
        assert len(state) == layers * (2 if cell == "lstm" else 1)
        for t in range(6):
            if known is None:
                out, state = mine.step(x[:, t], state)
            else:
                out, state = mine.step(x[:, t, 3:], state, hoisted=known[:, t])
            outs.append(out)
        torch.testing.assert_close(torch.stack(outs, 1), whole, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_gradients_of_steps(cell) -> None:
    mine = Recurrent(3, 2, layers=2, cell=cell).double()
    x = frames(batch=2, time=3, size=3)
    (by_run,) = torch.autograd.grad(mine(x).square().sum(), [mine.layers[0][0].weight_ih_l0])
    state, total = mine.start(2), torch.zeros((), dtype=torch.float64)
    hoisted = mine.hoist(x[..., :1])
    for t in range(3):
        out, state = mine.step(x[:, t, 1:], state, hoisted=hoisted[:, t])
        total = total + out.square().sum()
    (by_steps,) = torch.autograd.grad(total, [mine.layers[0][0].weight_ih_l0])
    torch.testing.assert_close(by_steps, by_run, rtol=1e-11, atol=1e-11)


def test_start_follows_the_weights_or_the_example() -> None:
    mine = Recurrent(3, 2).double()
    assert mine.start(4)[0].dtype == torch.float64
    assert mine.start(4, torch.zeros(1, dtype=torch.float32))[0].dtype == torch.float32


@pytest.mark.parametrize("direction", ["backward", "both"])
def test_only_forward_runs_can_be_stepped(direction) -> None:
    mine = Recurrent(3, 2, direction=direction)
    with pytest.raises(ValueError, match="only a forward run"):
        mine.step(torch.zeros(1, 3), mine.start(1))


def test_dropout_is_between_layers_and_in_training_only() -> None:
    x = frames()
    for layers, drops in ((1, False), (2, True)):
        mine = Recurrent(4, 5, layers=layers, dropout=0.5).double()
        assert torch.equal(mine(x), mine(x)) != drops
        assert torch.equal(mine.eval()(x), mine(x))


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


@pytest.mark.parametrize(("hidden", "out"), [((), None), ((), 3), ((5,), None), ((5, 6), 3)])
def test_hoisting_equals_concatenating(hidden, out) -> None:
    x, z = frames(size=4), frames(size=2)
    mlp = MLP(6, hidden, out).double()
    expected = mlp(torch.cat([x, z], -1))
    assert expected.shape[-1] == mlp.out_features
    torch.testing.assert_close(mlp(z, hoisted=mlp.hoist(x)), expected, rtol=1e-12, atol=1e-12)


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
