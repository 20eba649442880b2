"""Programs run by the plain executor: against PyTorch's own networks, frame by frame against whole sequences."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from dynvae.errors import ConfigError
from dynvae.nn import MLP, Recurrent, shift, time_mask
from dynvae.recurrence import Builder, Program, carried, executor, future, past, plain, run, run_frame
from dynvae.recurrence.program import Cell, Linear, Map, Product, Read, Sample
from dynvae.recurrence.schedule import Loop, schedule

LENGTHS = torch.tensor([6, 4, 1])
KINDS = ("lstm", "gru", "rnn")
X = (Read("x", 0, 4),)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def frames(*, batch: int = 3, time: int = 6, size: int = 4) -> Tensor:
    return torch.randn(batch, time, size, dtype=torch.float64)


class Model(nn.Module):
    """A recurrent network between two linear layers."""

    def __init__(self, **options) -> None:
        super().__init__()
        self.net = MLP(4, (3,))
        self.rnn = Recurrent(3, 5, **options)
        self.head = nn.Linear(self.rnn.out_features, 2)
        self.double()

    def program(self) -> Program:
        p = Builder(self)
        out = p(self.rnn, p(self.net, X))
        p.last(self.rnn, out)
        p(self.head, out)
        return p.program


def theirs(mine: Recurrent) -> nn.RNNBase:
    """PyTorch's module with the same weights, forward direction first."""
    kind = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[mine.cell]
    both = len(mine.directions) == 2
    other = kind(3, mine.hidden, num_layers=len(mine.layers), batch_first=True, bidirectional=both).double()
    with torch.no_grad():
        for index, layer in enumerate(mine.layers):
            for cell, suffix in zip(layer, ("", "_reverse"), strict=False):
                for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                    getattr(other, f"{part}_l{index}{suffix}").copy_(getattr(cell, f"{part}_l0"))
    return other


@pytest.mark.parametrize(("cell", "layers", "direction"), list(product(KINDS, (1, 2), ("forward", "both"))))
def test_recurrent_networks_equal_pytorchs_own(cell, layers, direction) -> None:
    model = Model(cell=cell, layers=layers, direction=direction)
    x, other, valid = frames(), theirs(model.rnn), time_mask(LENGTHS, 6)
    packed = pack_padded_sequence(model.net(x), LENGTHS, batch_first=True)
    out, last = other(packed)
    expected = model.head(pad_packed_sequence(out, batch_first=True)[0])
    values = run(model.program(), model, {"x": x}, {"head"}, lengths=LENGTHS)
    torch.testing.assert_close(values["head"][valid], expected[valid], rtol=1e-12, atol=1e-12)
    hidden = (last[0] if cell == "lstm" else last)[-len(model.rnn.directions) :]
    ends = [name for name in model.program().operations if name.endswith(".last")]
    values = run(model.program(), model, {"x": x}, ends, lengths=LENGTHS)
    for name, end in zip(ends, hidden, strict=True):
        torch.testing.assert_close(values[name], end, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("cell", "direction"), list(product(KINDS, ("forward", "backward", "both"))))
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_a_loop_equals_the_fused_layer(cell, direction, lengths) -> None:
    """The two ways of running a layer: torch's kernel, and the frames one after the other."""
    model, x = Model(cell=cell, direction=direction, layers=2), frames()
    program = model.program()
    whole = run(program, model, {"x": x}, {"head"}, lengths=lengths)["head"]
    values, parameters = {"x": x}, model.get_parameter

    def read(source: Read) -> Tensor:
        return values[source.name]

    for stage in schedule(program, {"x"}, {"head"}, True, cells_as_loops=True):
        if isinstance(stage, Loop):
            zeros = {name: x.new_zeros(3, size) for name, size in stage.carried.items()}
            inputs = {name: values[name] for name in stage.inputs}
            values.update(plain.run_loop(stage, inputs, parameters, zeros, lengths))
        else:
            values[stage.out] = plain.run_linear(stage, read, parameters)
    valid = time_mask(torch.full((3,), 6) if lengths is None else lengths, 6)
    torch.testing.assert_close(values["head"][valid], whole[valid], rtol=1e-12, atol=1e-12)
    weights = list(model.parameters())
    ours, fused = (torch.autograd.grad(head[valid].square().sum(), weights) for head in (values["head"], whole))
    torch.testing.assert_close(ours, fused, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("cell", "layers"), list(product(KINDS, (1, 2))))
def test_frame_by_frame_and_in_pieces(cell, layers) -> None:
    model, x = Model(cell=cell, layers=layers), frames()
    program = model.program()
    whole = run(program, model, {"x": x}, {"head"})["head"]
    state = {name: x.new_zeros(3, size) for name, size in carried(program, {"x": 4}).items()}
    assert len(state) == layers * (2 if cell == "lstm" else 1)
    for t in range(6):
        now = run_frame(program, model, {"x": x[:, t]}, state, {"head", *state})
        state = {name: now[name] for name in state}
        torch.testing.assert_close(now["head"], whole[:, t], rtol=1e-12, atol=1e-12)
    first = run(program, model, {"x": x[:, :4]}, {"head", *state})
    state = {name: first[name][:, -1] for name in state}
    rest = run(program, model, {"x": x[:, 4:]}, {"head"}, initial=state)["head"]
    torch.testing.assert_close(rest, whole[:, 4:], rtol=1e-12, atol=1e-12)


def test_dropout_is_in_training_only() -> None:
    for layers, drops in ((1, False), (2, True)):
        model, x = Model(layers=layers, dropout=0.5), frames()
        heads = [run(model.program(), model, {"x": x}, {"head"})["head"] for _ in range(2)]
        assert torch.equal(*heads) != drops
        model.eval()
        heads = [run(model.program(), model, {"x": x}, {"head"})["head"] for _ in range(2)]
        assert torch.equal(*heads)


class Chain(nn.Module):
    """z_t from z_t-1 and x_t, with dropout inside the recursion."""

    def __init__(self, dropout: float = 0.0, activation: str = "tanh") -> None:
        super().__init__()
        self.net = MLP(4 + 2, (5,), 4, dropout=dropout, activation=activation)
        self.double()

    def program(self) -> Program:
        p = Builder(self)
        p(self.net, X, past((Read("z", 0, 2),)))
        p.add(Sample("z", 2, Read("net", 0, 2), Read("net", 2, 4), "noise"))
        return p.program


@pytest.mark.parametrize("activation", ["tanh", "gelu", "elu"])
def test_what_the_recursion_does_not_need_is_hoisted(activation) -> None:
    model = Chain(activation=activation)
    hoisted, loop = schedule(model.program(), {"x", "noise"}, {"z"}, False)
    assert isinstance(hoisted, Linear)
    assert [product.read.name for product in hoisted.products] == ["x"]
    assert isinstance(loop, Loop)
    assert loop.carried == {"z": 2}
    assert set(loop.inputs) == {hoisted.out, "noise"}
    x, noise = frames(), frames(size=2)
    z, zs = x.new_zeros(3, 2), []
    for t in range(6):
        mean, log_variance = model.net(torch.cat([x[:, t], z], -1)).chunk(2, -1)
        z = mean + (0.5 * log_variance).exp() * noise[:, t]
        zs.append(z)
    values = run(model.program(), model, {"x": x, "noise": noise}, {"z"})
    torch.testing.assert_close(values["z"], torch.stack(zs, 1), rtol=1e-12, atol=1e-12)


def test_nothing_is_recursive_once_the_path_is_known() -> None:
    model, x, noise = Chain(), frames(), frames(size=2)
    stages = schedule(model.program(), {"x", "z"}, {"net"}, False)
    assert not any(isinstance(stage, Loop) for stage in stages)
    values = run(model.program(), model, {"x": x, "noise": noise}, {"z", "net"})
    along = run(model.program(), model, {"x": x, "z": values["z"]}, {"net"})
    torch.testing.assert_close(along["net"], values["net"], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(along["net"], model.net(torch.cat([x, shift(values["z"])], -1)))


def test_dropout_inside_a_recursion() -> None:
    model, x, noise = Chain(dropout=0.5), frames(), torch.zeros(3, 6, 2, dtype=torch.float64)
    known = {"x": x, "noise": noise}
    dropped = run(model.program(), model, known, {"net.0.dropout", "net.0"})
    kept = dropped["net.0.dropout"] != 0
    assert 0 < kept.double().mean() < 1
    torch.testing.assert_close(dropped["net.0.dropout"][kept], 2 * dropped["net.0"][kept])
    model.eval()
    assert torch.equal(*(run(model.program(), model, known, {"net"})["net"] for _ in range(2)))


def test_the_future_stops_at_each_end() -> None:
    model = nn.Linear(4, 4)
    ahead = Map("ahead", 4, "identity", future(X))
    values = run(Program({"ahead": ahead}), model, {"x": frames()}, {"ahead"}, lengths=LENGTHS)
    for i, length in enumerate(LENGTHS.tolist()):
        assert torch.equal(values["ahead"][i, : length - 1], values["x"][i, 1:length])
        assert torch.equal(values["ahead"][i, length - 1], torch.zeros(4, dtype=torch.float64))


def test_gradients_of_a_loop() -> None:
    model, noise = Chain(), frames(time=4, size=2)

    def z(x: Tensor) -> Tensor:
        return run(model.program(), model, {"x": x, "noise": noise}, {"z"})["z"]

    assert torch.autograd.gradcheck(z, frames(time=4).requires_grad_())


def test_what_cannot_be_run_is_refused() -> None:
    model, x = Model(direction="backward"), frames()
    with pytest.raises(ValueError, match="'x', which is neither given nor defined"):
        run(model.program(), model, {}, {"head"})
    with pytest.raises(ValueError, match="one frame ahead"):
        run_frame(model.program(), model, {"x": x[:, 0]}, {}, {"head"})
    here = Linear("a", 2, (Product(Read("a", 0, 2, 1), "head.weight"), Product(Read("a", 0, 2, -1), "head.weight")))
    with pytest.raises(ValueError, match="one direction of time"):
        run(Program({"a": here}), model, {"x": x}, {"a"})
    p = Builder(model)
    p(model.net, X)
    with pytest.raises(ValueError, match="defined twice"):
        p(model.net, past(X))
    with pytest.raises(TypeError, match="no operations for a Conv1d"):
        p(nn.Conv1d(1, 1, 1), X)


def test_reading_a_program() -> None:
    cell = Model().program().operations["rnn"]
    assert isinstance(cell, Cell)
    assert cell.state == ("rnn", "rnn.cell")


@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("direction", ["forward", "both"])
def test_segments_change_nothing(direction, lengths) -> None:
    """Checkpointing keeps less and computes the same."""
    model, x = Model(direction=direction, layers=2), frames()
    valid = time_mask(torch.full((3,), 6) if lengths is None else lengths, 6)
    found = []
    for segment in (0, 1, 4):
        with executor("plain", segment=segment):
            head = run(model.program(), model, {"x": x}, {"head"}, lengths=lengths, every_state=True)["head"][valid]
        found.append((head, *torch.autograd.grad(head.square().sum(), list(model.parameters()))))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-11, atol=1e-12)


def test_settings_of_the_executor_are_checked() -> None:
    for settings in ({"choice": "fast"}, {"choice": "auto", "gemm_dtype": "int4"}, {"choice": "auto", "segment": -1}):
        with pytest.raises(ConfigError), executor(**settings):
            pass
