"""The operators on the compiled kernels against PyTorch in float64: values, gradients, and where they keep away."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dynvae.distributions import ComplexGaussian, bound_log_variance
from dynvae.native import Status, library, ops

pytestmark = pytest.mark.skipif(library() is None, reason="the compiled kernels are not available")

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": torch.clone,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "elu": F.elu,
    "leaky_relu": F.leaky_relu,
    "exp": torch.exp,
    "softplus": F.softplus,
}


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Every call on so many threads, the small ones too."""
    monkeypatch.setattr(ops, "_SERIAL", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def leaf(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def check_linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, add: Tensor | None, activation: str = "tanh", error: float = 2e-6
) -> None:
    """Compare the output and all gradients with those of PyTorch in float64."""
    given = [x, weight, bias, add]
    single = [None if tensor is None else tensor.detach().requires_grad_() for tensor in given]
    double = [None if tensor is None else tensor.detach().double().requires_grad_() for tensor in given]
    assert ops.usable(*single)
    out = ops.linear(*single, activation)  # type: ignore[arg-type]
    drive = F.linear(*double[:3])  # type: ignore[arg-type]
    exact = ACTIVATIONS[activation](drive if add is None else drive + double[3])
    assert out.shape == exact.shape
    upstream = leaf(*out.shape, seed=9)
    got = torch.autograd.grad(out, [tensor for tensor in single if tensor is not None], upstream)
    wanted = torch.autograd.grad(exact, [tensor for tensor in double if tensor is not None], upstream.double())
    for found, true in zip((out, *got), (exact, *wanted), strict=True):
        assert found.shape == true.shape
        if true.numel():
            assert (found - true).abs().max() <= error * max(1.0, true.abs().max().item())


@pytest.mark.parametrize("activation", ops.ACTIVATIONS)
@pytest.mark.parametrize(
    ("leading", "n", "k"), [((7,), 5, 3), ((3, 50), 64, 17), ((), 4, 6), ((2, 3, 20), 33, 100), ((5, 1), 1, 1)]
)
def test_linear(activation: str, leading: tuple[int, ...], n: int, k: int, threads: int) -> None:
    x, weight, bias, add = (
        leaf(*leading, k),
        leaf(n, k, seed=1, scale=k**-0.5),
        leaf(n, seed=2),
        leaf(*leading, n, seed=3),
    )
    check_linear(x, weight, bias, add, activation)


@pytest.mark.parametrize(("bias", "add"), list(itertools.product([False, True], repeat=2)))
def test_optional_terms(bias: bool, add: bool, threads: int) -> None:
    check_linear(leaf(4, 9, 20), leaf(30, 20, seed=1), leaf(30, seed=2) if bias else None,
                 leaf(4, 9, 30, seed=3) if add else None)  # fmt: skip


@pytest.mark.parametrize("leading", [(16, 50), (30, 75), (2200,), (3, 700)])
def test_many_rows(leading: tuple[int, ...], threads: int) -> None:
    """Each way in which threads share the sum that is the gradient of the weight."""
    check_linear(leaf(*leading, 130), leaf(65, 130, seed=1, scale=0.09), leaf(65, seed=2), None, error=5e-6)
    check_linear(leaf(*leading, 40), leaf(129, 40, seed=1, scale=0.15), leaf(129, seed=2), None, error=5e-6)


def test_wide_layer(threads: int) -> None:
    check_linear(leaf(16, 9, 513), leaf(256, 513, seed=1, scale=0.04), leaf(256, seed=2), None, error=5e-6)
    check_linear(leaf(16, 9, 256), leaf(513, 256, seed=1, scale=0.06), leaf(513, seed=2), None, error=5e-6)


@pytest.mark.parametrize("add", [(6, 1, 11), (1, 13, 11), (11,), (1, 1, 11), (6, 13, 1)])
def test_add_broadcasts(add: tuple[int, ...], threads: int) -> None:
    check_linear(leaf(6, 13, 7), leaf(11, 7, seed=1), None, leaf(*add, seed=3))


@pytest.mark.parametrize(
    "view",
    [
        pytest.param(lambda x: x.transpose(0, 1), id="time first"),
        pytest.param(lambda x: x[:, 1:], id="one frame later"),
        pytest.param(lambda x: x[..., 3:10], id="some features"),
        pytest.param(lambda x: x[:, ::3], id="every third frame"),
        pytest.param(lambda x: x[:, :1].expand(-1, 8, -1), id="the same at all frames"),
        pytest.param(lambda x: x[..., ::2], id="every other feature"),
        pytest.param(lambda x: x.transpose(1, 2), id="features first"),
        pytest.param(lambda x: x.unflatten(0, (2, 3)).transpose(0, 1), id="four axes"),
        pytest.param(lambda x: x[0, 0], id="one frame"),
        pytest.param(lambda x: x[:0], id="no frame"),
    ],
)
def test_any_strides(view: Callable[[Tensor], Tensor], threads: int) -> None:
    x = view(leaf(6, 31, 12))
    check_linear(x, leaf(9, x.shape[-1], seed=1), leaf(9, seed=2), leaf(*x.shape[:-1], 9, seed=3))


@pytest.mark.parametrize("columns", [slice(0, 5), slice(5, 12), slice(None, None, 2)])
def test_columns_of_a_weight(columns: slice, threads: int) -> None:
    weight = leaf(40, 12, seed=1)[:, columns]
    check_linear(leaf(3, 20, weight.shape[1]), weight, None, None)


def test_only_wanted_gradients(threads: int) -> None:
    tensors = [leaf(2, 5, 7), leaf(4, 7, seed=1), leaf(4, seed=2), leaf(2, 5, 4, seed=3)]
    full = [tensor.clone().requires_grad_() for tensor in tensors]
    upstream = leaf(2, 5, 4, seed=4)
    expected = torch.autograd.grad(ops.linear(*full, "tanh"), full, upstream)
    for wanted in itertools.product([False, True], repeat=4):
        if any(wanted):
            some = [tensor.clone().requires_grad_(want) for tensor, want in zip(tensors, wanted, strict=True)]
            ops.linear(*some, "tanh").backward(upstream)
            for tensor, want, true in zip(some, wanted, expected, strict=True):
                assert torch.equal(tensor.grad, true) if want else tensor.grad is None


def test_gradient_that_is_expanded(threads: int) -> None:
    x = leaf(3, 4, 5).requires_grad_()
    ops.linear(x, leaf(6, 5, seed=1)).sum().backward()
    torch.testing.assert_close(x.grad, leaf(6, 5, seed=1).sum(0).expand_as(x))


def test_upstream_gradient_is_left_alone() -> None:
    x = leaf(3, 4, 5).requires_grad_()
    upstream = leaf(3, 4, 6, seed=2)
    before = upstream.clone()
    ops.linear(x, leaf(6, 5, seed=1), None, None, "tanh").backward(upstream)
    assert torch.equal(upstream, before)


def test_repeats_to_the_bit(threads: int) -> None:
    x, weight, bias = leaf(40, 50, 129).requires_grad_(), leaf(65, 129).requires_grad_(), leaf(65).requires_grad_()

    def run() -> list[Tensor]:
        out = ops.linear(x, weight, bias, None, "tanh")
        return [out, *torch.autograd.grad(out.square().sum(), [x, weight, bias])]

    for first, second in zip(run(), run(), strict=True):
        assert torch.equal(first, second)


def test_second_derivative_is_refused() -> None:
    x = leaf(3, 5).requires_grad_()
    (gradient,) = torch.autograd.grad(ops.linear(x, leaf(4, 5)).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        gradient.sum().backward()


def test_bf16_products() -> None:
    x, weight, bias = (t.requires_grad_() for t in (leaf(20, 30, 65), leaf(33, 65, seed=1, scale=0.1), leaf(33)))
    out = ops.linear(x, weight, bias, None, "tanh", gemm_dtype="bf16")
    exact = ops.linear(x, weight, bias, None, "tanh")
    assert out.dtype == torch.float32
    assert not torch.equal(out, exact)
    torch.testing.assert_close(out, exact, rtol=0, atol=0.02)
    upstream = leaf(*out.shape, seed=5)
    for found, true in zip(
        torch.autograd.grad(out, [x, weight, bias], upstream),
        torch.autograd.grad(exact, [x, weight, bias], upstream),
        strict=True,
    ):
        assert found.dtype == torch.float32
        assert (found - true).norm() < 0.02 * true.norm()


def frames(*shape: int, scale: float = 3.0) -> tuple[Tensor, Tensor]:
    return leaf(*shape, scale=scale).requires_grad_(), leaf(*shape, seed=1).square() * leaf(
        *shape[:-1], 1, seed=2
    ).exp()


def check_log_prob(raw: Tensor, power: Tensor, floor: float = 1e-10, limit: float = 45.0) -> None:
    assert ops.usable(raw, power)
    out = ops.complex_gaussian_log_prob(raw, power, floor, limit)
    upstream = leaf(*out.shape, seed=5)
    (got,) = torch.autograd.grad(out, raw, upstream)
    double = raw.detach().double().requires_grad_()
    exact = ComplexGaussian(bound_log_variance(double, limit), floor).log_prob(power.double())
    (true,) = torch.autograd.grad(exact, double, upstream.double())
    torch.testing.assert_close(out.double(), exact, rtol=1e-6, atol=1e-6 * raw.shape[-1])
    # The gradient is a difference of two terms, each good to some roundings.
    variance = double.detach().clamp(-limit, limit).exp() + floor
    size = upstream.unsqueeze(-1).abs() * (1 + power / variance)
    assert ((got - true).abs() <= 1e-6 * size).all()


@pytest.mark.parametrize("shape", [(3, 5, 513), (7, 16), (4, 1), (2, 3, 4, 31), (1, 1, 1025), (2, 2500), (17,), (0, 5)])
def test_log_prob(shape: tuple[int, ...], threads: int) -> None:
    check_log_prob(*frames(*shape))


@pytest.mark.parametrize("floor", [0.0, 1e-10, 1e-3])
@pytest.mark.parametrize("power", [0.0, 1e-8, 1.0, 1e4])
def test_log_prob_at_extremes(floor: float, power: float, threads: int) -> None:
    raw = torch.linspace(-60, 60, 4 * 513).view(4, 513).requires_grad_()
    check_log_prob(raw, torch.full_like(raw, power).detach(), floor)
    check_log_prob(raw, torch.full_like(raw, power).detach(), floor, limit=80.0)


def test_log_prob_of_strided_frames(threads: int) -> None:
    raw, power = frames(6, 4, 33)
    check_log_prob(raw.transpose(0, 1), power.transpose(0, 1))
    check_log_prob(raw[:, 1:, :20], power[:, 1:, :20])
    check_log_prob(raw, power[:1].expand_as(power))
    check_log_prob(raw[..., ::2], power[..., ::2])


def test_log_prob_lets_nan_through() -> None:
    raw, power = frames(2, 40)
    with torch.no_grad():
        raw[0, 35] = float("nan")
    out = ops.complex_gaussian_log_prob(raw, power, 1e-10, 45.0)
    out.sum().backward()
    assert out.isnan().tolist() == [True, False]
    assert raw.grad.isnan().sum() == 1


def test_usable_only_for_plain_single_precision() -> None:
    x = leaf(3, 4)
    assert ops.usable(x, None, nn.Parameter(x))
    assert not ops.usable(x.double())
    assert not ops.usable(x.bfloat16())
    assert not ops.usable(x.to_sparse())
    assert not ops.usable(torch.empty(3, device="meta"))
    with torch.autocast("cpu", torch.bfloat16):
        assert not ops.usable(x)
    with torch.autograd.forward_ad.dual_level():
        assert not ops.usable(x)
    seen = []
    torch.vmap(lambda row: seen.append(ops.usable(row)) or row)(x)
    torch.func.grad(lambda x: seen.append(ops.usable(leaf(2))) or x.sum())(x)
    assert seen == [False, False]


def test_unusable_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "library", lambda: None)
    assert not ops.usable(leaf(3))


def test_worthwhile_grows_with_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "status", lambda: Status(True, isa="AVX2", threads=True))
    assert not ops.worthwhile(1, 513, 256)
    assert not ops.worthwhile(1000, 4, 4)
    assert ops.worthwhile(6400, 513, 256)
    assert not ops.worthwhile(512, 128, 64)
    assert ops.worthwhile(512, 128, 64, "tanh")


@pytest.mark.parametrize("isa", ["", "SSE2", "generic"])
def test_not_worthwhile_without_the_means(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "status", lambda: Status(bool(isa), isa=isa, threads=True))
    assert not ops.worthwhile(6400, 513, 256)
    monkeypatch.setattr(ops, "status", lambda: Status(True, isa="AVX-512"))
    assert ops.worthwhile(6400, 513, 256)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert not ops.worthwhile(6400, 513, 256)


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(12, 9)

    def forward(self, x: Tensor, power: Tensor) -> Tensor:
        assert ops.usable(x, self.layer.weight)
        hidden = ops.linear(x, self.layer.weight, self.layer.bias, None, "tanh")
        return ops.complex_gaussian_log_prob(hidden, power, 1e-10, 45.0)


def test_compiled_network_sees_one_operator_each() -> None:
    network, x, power = Network(), leaf(2, 5, 12).requires_grad_(), leaf(2, 5, 9).square()
    exact = network(x, power)
    expected = torch.autograd.grad(exact.sum(), [x, *network.parameters()])
    program = torch.export.export(network, (x, power))
    names = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert names == ["dynvae.linear.default", "dynvae.complex_gaussian_log_prob.default"]
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    out = compiled(x, power)
    assert torch.equal(out, exact)
    for found, true in zip(torch.autograd.grad(out.sum(), [x, *network.parameters()]), expected, strict=True):
        assert torch.equal(found, true)


def test_operators_keep_their_contracts() -> None:
    x, weight, bias = (t.requires_grad_() for t in (leaf(2, 5, 7), leaf(4, 7, seed=1), leaf(4, seed=2)))
    torch.library.opcheck(ops._linear_op, (x, weight, bias, None, 1, False))
    torch.library.opcheck(ops._linear_op, (x.detach(), weight, None, leaf(2, 1, 4).requires_grad_(), 0, False))
    torch.library.opcheck(ops._log_prob_op, (*frames(2, 3, 20), 1e-10, 45.0))
