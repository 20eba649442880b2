"""The compiled elementary functions against float64, everywhere and at the ends of the range."""

from __future__ import annotations

import ctypes

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dynvae.native import library
from dynvae.native.ops import ACTIVATIONS

pytestmark = pytest.mark.skipif(library() is None, reason="the compiled kernels are not available")

EXACT = {
    "identity": torch.clone,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "elu": F.elu,
    "leaky_relu": F.leaky_relu,
    "exp": torch.exp,
    "softplus": F.softplus,
}


def activate(name: str, x: Tensor) -> Tensor:
    out = torch.empty_like(x)
    library().activate(  # type: ignore[union-attr]
        ACTIVATIONS.index(name), ctypes.c_void_p(out.data_ptr()), ctypes.c_void_p(x.data_ptr()), ctypes.c_long(len(x))
    )
    return out


def derivative(name: str, y: Tensor) -> Tensor:
    out, one = torch.empty_like(y), torch.ones_like(y)
    pointers = (ctypes.c_void_p(t.data_ptr()) for t in (out, one, y))
    library().activate_backward(ACTIVATIONS.index(name), *pointers, ctypes.c_long(len(y)))  # type: ignore[union-attr]
    return out


def test_every_activation_is_tested() -> None:
    assert set(EXACT) == set(ACTIVATIONS)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_close_to_float64(name: str) -> None:
    x = torch.cat([torch.linspace(-87, 88, 700_001), torch.linspace(-9, 9, 100_001), torch.randn(10_001) * 1e-3])
    exact = EXACT[name](x.double())
    # Relative; near zero elu is e^x - 1, whose error is that of the 1.
    bound = 4e-7 * exact.abs() + (1e-7 if name == "elu" else 0.0)
    assert ((activate(name, x) - exact).abs() <= bound).all()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_infinity_nan_and_zero(name: str) -> None:
    x = torch.tensor([float("inf"), -float("inf"), float("nan"), 0.0, -1e4, 1e4, 1e-30, 3e38, -3e38])
    torch.testing.assert_close(activate(name, x), EXACT[name](x), rtol=3e-7, atol=1e-40, equal_nan=True)


def test_exponentials_below_the_normal_range() -> None:
    x = torch.linspace(-120, -87, 1001)
    bound = 1.2e-38  # which is where a process that takes denormals for zero ends
    assert ((activate("exp", x).double() - x.double().exp()).abs() <= bound).all()


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("count", [1, 3, 15, 16, 17, 40])
def test_odd_lengths_touch_nothing_beyond(name: str, count: int) -> None:
    x, out = torch.randn(count), torch.full((count + 1,), 7.0)
    library().activate(  # type: ignore[union-attr]
        ACTIVATIONS.index(name), ctypes.c_void_p(out.data_ptr()), ctypes.c_void_p(x.data_ptr()), ctypes.c_long(count)
    )
    torch.testing.assert_close(out[:-1], EXACT[name](x), rtol=1e-6, atol=1e-6)
    assert out[-1] == 7


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivative_from_the_output(name: str) -> None:
    x = torch.linspace(-6, 6, 10_000, dtype=torch.float64).requires_grad_()
    y = EXACT[name](x)
    (exact,) = torch.autograd.grad(y.sum(), x)
    got = derivative(name, y.detach().float())
    assert ((got - exact).abs() <= 3e-7 * (1 + exact.abs())).all()
