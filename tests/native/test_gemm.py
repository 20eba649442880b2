"""The compiled products against float64, for any size, stride and number of rows."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dynvae.native import library

pytestmark = pytest.mark.skipif(library() is None, reason="the compiled kernels are not available")

Array = NDArray[Any]
SIZE = st.integers(1, 70)
LARGE = [(1, 512, 128), (64, 33, 1201), (213, 513, 30), (7, 30, 577), (400, 65, 2)]


class Rows(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("outer", ctypes.c_long), ("inner", ctypes.c_long)]


def pointer(array: Array) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def long(*numbers: int) -> list[ctypes.c_long]:
    return [ctypes.c_long(number) for number in numbers]


def matrix(seed: int, rows: int, columns: int, ld: int) -> Array:
    """A view of ``rows`` by ``columns`` numbers in memory whose other numbers would spoil any sum."""
    memory = np.full((rows, ld), np.nan, np.float32)
    memory[:, :columns] = np.random.default_rng(seed).standard_normal((rows, columns))
    return memory


def kernels() -> Any:
    found: Any = library()
    found.gemm_packed_size.restype = ctypes.c_size_t
    return found


def check(got: Array, exact: Array, scale: Array) -> None:
    """Each number to a few roundings of the sum of its terms' sizes."""
    assert (np.abs(got - exact) <= 1e-6 * (scale + 1e-30)).all()


def products(rows: int, n: int, k: int, pad: int, accumulate: bool, transposed: bool, seed: int) -> None:
    a = matrix(seed, rows, k, k + pad)
    c = matrix(seed + 1, rows, n, n + pad)
    w = matrix(seed + 2, k, n, n + pad) if transposed else matrix(seed + 2, n, k, k + pad)
    before = c.copy()
    packed = np.empty(kernels().gemm_packed_size(*long(n, k)), np.float32)
    pack = kernels().gemm_pack_transposed if transposed else kernels().gemm_pack
    pack(pointer(packed), pointer(w), *long(w.shape[1], n, k))
    kernels().gemm_packed(
        pointer(c), *long(n + pad), pointer(a), *long(k + pad), pointer(packed), *long(rows, n, k), int(accumulate)
    )
    right = w[:, :n].astype(float) if transposed else w[:, :k].astype(float).T
    left, start = a[:, :k].astype(float), before[:, :n].astype(float) * accumulate
    check(c[:, :n], start + left @ right, np.abs(start) + np.abs(left) @ np.abs(right))
    assert np.isnan(c[:, n:]).all()


@given(SIZE, SIZE, SIZE, st.integers(0, 3), st.booleans(), st.booleans(), st.integers(0, 9))
@settings(deadline=None, max_examples=150)
def test_packed_product(rows: int, n: int, k: int, pad: int, accumulate: bool, transposed: bool, seed: int) -> None:
    products(rows, n, k, pad, accumulate, transposed, seed)


@pytest.mark.parametrize(("rows", "n", "k"), LARGE)
@pytest.mark.parametrize("transposed", [False, True])
def test_packed_product_in_blocks(rows: int, n: int, k: int, transposed: bool) -> None:
    products(rows, n, k, 1, False, transposed, 0)
    products(rows, n, k, 0, True, transposed, 0)


def gradients(outer: int, inner: int, m: int, n: int, delay: int, accumulate: bool, seed: int) -> None:
    """The rows of B lie one time step before those of A, as those of a delayed source do."""
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((outer, inner, m + 1), np.float32)
    b = rng.standard_normal((outer, inner + delay, n + 2), np.float32)
    c = matrix(seed, m, n, n + 1)
    before = c.copy()
    kernels().gemm_tn(
        pointer(c), *long(n + 1), Rows(a.ctypes.data, inner * (m + 1), m + 1),
        Rows(b.ctypes.data, (inner + delay) * (n + 2), n + 2), *long(outer, inner, m, n), int(accumulate),
    )  # fmt: skip
    left = a[..., :m].reshape(-1, m).astype(float)
    right = b[:, :inner, :n].reshape(-1, n).astype(float)
    start = before[:, :n].astype(float) * accumulate
    check(c[:, :n], start + left.T @ right, np.abs(start) + np.abs(left).T @ np.abs(right))
    assert np.isnan(c[:, n:]).all()


@given(st.integers(0, 5), st.integers(1, 30), SIZE, SIZE, st.integers(0, 1), st.booleans(), st.integers(0, 9))
@example(0, 3, 5, 7, 0, False, 0)
@settings(deadline=None, max_examples=150)
def test_sum_over_rows(outer: int, inner: int, m: int, n: int, delay: int, accumulate: bool, seed: int) -> None:
    gradients(outer, inner, m, n, delay, accumulate, seed)


@pytest.mark.parametrize(("outer", "inner", "m", "n"), [(13, 50, 30, 513), (1, 1301, 130, 40), (700, 1, 3, 2)])
def test_sum_over_rows_in_blocks(outer: int, inner: int, m: int, n: int) -> None:
    gradients(outer, inner, m, n, 1, False, 0)
    gradients(outer, inner, m, n, 0, True, 0)


def test_nothing_to_contract_is_zero() -> None:
    c = np.full((3, 5), 7, np.float32)
    packed = np.empty(16, np.float32)
    kernels().gemm_packed(pointer(c), *long(5), pointer(c), *long(0), pointer(packed), *long(3, 5, 0), 1)
    assert (c == 7).all()
    kernels().gemm_packed(pointer(c), *long(5), pointer(c), *long(0), pointer(packed), *long(3, 5, 0), 0)
    assert (c == 0).all()
