"""PyTorch's operators on the compiled kernels, with their gradients: a linear layer with its activation, a likelihood.

Ask :func:`usable` first: the kernels are for plain float32 tensors on the CPU. In eager mode an operator is an
autograd function that calls C directly; :func:`torch.compile` and :func:`torch.export` see one custom operator, with
the same code behind it, which would cost 40 µs more for each forward and backward pass.
"""

from __future__ import annotations

__all__ = ["ACTIVATIONS", "complex_gaussian_log_prob", "linear", "usable", "worthwhile"]

import ctypes
import functools
from contextvars import ContextVar
from typing import Any, Literal, cast

import torch
from torch import Tensor

from dynvae.native.build import library, status
from dynvae.native.tracing import constant_when_traced

ACTIVATIONS = ("identity", "tanh", "sigmoid", "relu", "elu", "leaky_relu", "exp", "softplus")
"""The activations of :func:`linear`, in the order of the enumeration in ``vector.h``."""

_SERIAL = 1 << 19  # multiply-adds below which a second thread costs more than it brings

allowed: ContextVar[bool] = ContextVar("allowed", default=True)
"""False where the caller wants PyTorch's own operators."""


def usable(*tensors: Tensor | None) -> bool:
    """Whether the operators here can take these tensors: plain float32 on the CPU, and nothing special going on.

    Special are autocast, :mod:`torch.func`, forward-mode differentiation and dispatch modes, which PyTorch's own
    operators must see.
    """
    for tensor in tensors:
        if tensor is None:
            continue
        plain = tensor.dtype is torch.float32 and tensor.is_cpu and tensor.layout is torch.strided
        if not plain or torch.is_autocast_enabled("cpu"):
            return False
    if torch.compiler.is_compiling():
        return _available()
    return (
        allowed.get()
        and all(type(tensor) in _PLAIN for tensor in tensors)
        and torch._C._functorch.peek_interpreter_stack() is None
        and torch._C._len_torch_dispatch_stack() == 0
        and torch.autograd.forward_ad._current_level < 0
        and _available()
    )


_PLAIN = (Tensor, torch.nn.Parameter, type(None))


@constant_when_traced
def _available() -> bool:
    return allowed.get() and library() is not None


def worthwhile(rows: int, n: int, k: int, activation: str = "identity") -> bool:
    """Whether :func:`linear` is likely to beat PyTorch's operators on ``rows`` rows from k to n features.

    Its calls cost 10 to 20 µs more, and it packs the weight each time, which must pay off over the rows. Measured on
    one core with AVX-512 (one multiplier: where PyTorch's own product is nearly as fast), forward and backward
    together break even at 2^22 multiply-adds with an activation, and at 2^25 without.
    """
    return rows >= 32 and rows * n * k >= 1 << (25 if activation == "identity" else 22) and _fast()


@constant_when_traced
def _fast() -> bool:
    """Whether the processor's multiply-add and all threads are in use: PyTorch's products have them in any case."""
    found = status()
    return found.isa in ("AVX-512", "AVX2", "NEON") and (found.threads or torch.get_num_threads() == 1)


def linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    add: Tensor | None = None,
    activation: str = "identity",
    gemm_dtype: Literal["float32", "bf16"] = "float32",
) -> Tensor:
    """Activation(x Wᵀ + bias + add), differentiable once in all four tensors.

    Args:
        x: ``(..., k)``.
        weight: ``(n, k)``; may be some columns of a larger matrix.
        bias: ``(n,)``.
        add: what broadcasts to ``(..., n)``, such as a hoisted product, or one vector for each sequence.
        activation: one of :data:`ACTIVATIONS`; leaky_relu has the slope 0.01, elu and softplus have no parameters.
        gemm_dtype: ``"bf16"`` rounds the factors of the products, forward and backward, to bfloat16.

    Returns:
        ``(..., n)``, contiguous.
    """
    kind = ACTIVATIONS.index(activation)
    bf16 = gemm_dtype == "bf16"
    if torch.compiler.is_compiling():
        return cast(Tensor, _linear_op(x, weight, bias, add, kind, bf16))
    if not torch.is_grad_enabled():
        return _linear_forward(x, weight, bias, add, kind, bf16)
    return cast(Tensor, _Linear.apply(x, weight, bias, add, kind, bf16))


def complex_gaussian_log_prob(raw: Tensor, power: Tensor, floor: float, limit: float) -> Tensor:
    """-Σ_f (ln π + ln v + p / v) with v = exp(clamp(raw, ±limit)) + floor: ``(..., feature)`` to ``(...)``.

    The gradient is that of :class:`dynvae.distributions.ComplexGaussian` after ``bound_log_variance``: as if there
    were no clamp outside its limits. There is none for the power.

    Args:
        raw: log-variances, before they are bounded.
        power: the powers p, in the shape of ``raw``.
        floor: added to the variance; at least 0.
        limit: bound of the log-variance, at most 80.
    """
    if torch.compiler.is_compiling():
        return cast(Tensor, _log_prob_op(raw, power, floor, limit))
    return cast(Tensor, _LogProb.apply(raw, power, floor, limit))


class _Rows(ctypes.Structure):
    """``struct rows`` of ``gemm.h``."""

    _fields_ = [("data", ctypes.c_void_p), ("outer", ctypes.c_long), ("inner", ctypes.c_long)]


_NO_ROWS = _Rows(None, 0, 0)


@functools.cache
def _kernels() -> ctypes.CDLL:
    kernels = library()
    assert kernels is not None, "ask usable() first"
    pointer, size, number, one = ctypes.c_void_p, ctypes.c_long, ctypes.c_float, ctypes.c_int
    layer: list[Any] = [size, size, pointer, size]  # outer, inner, weight, its row stride
    # All of them return nothing; what ctypes then reads as a result is not looked at.
    kernels.layer_forward.argtypes = [pointer, _Rows, *layer, pointer, _Rows, size, size, one, size]
    kernels.layer_finish.argtypes = [pointer, size, size, pointer, _Rows, size, one, size]
    kernels.layer_backward.argtypes = [*[pointer] * 6, _Rows, *layer, size, size, one, size]
    frames: list[Any] = [_Rows, _Rows, size, size, size, number, number, size]
    kernels.complex_gaussian_forward.argtypes = [pointer, *frames]
    kernels.complex_gaussian_backward.argtypes = [pointer, pointer, *frames]
    return kernels


def _as_rows(x: Tensor) -> Tensor:
    """``x`` as (outer, inner, feature) with unit stride in the last axis; copied only where no view can be that."""
    if x.ndim != 3:
        x = x.reshape(-1, *x.shape[-2:]) if x.ndim > 3 else x.reshape(1, -1, x.shape[-1])
    return x if x.stride(2) == 1 or x.shape[2] == 1 else x.contiguous()


def _rows(x: Tensor) -> _Rows:
    return _Rows(x.data_ptr(), x.stride(0), x.stride(1))


def _matrix(weight: Tensor) -> Tensor:
    return weight if weight.stride(1) == 1 or weight.shape[1] == 1 else weight.contiguous()


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _threads(work: int) -> int:
    return torch.get_num_threads() if work >= _SERIAL else 1


def _product(a: Tensor, b: Tensor) -> Tensor:
    """A b in bfloat16 (oneDNN has kernels for it), where it is half the work."""
    return (a.bfloat16() @ b.bfloat16()).float()


def _linear_forward(
    x: Tensor, weight: Tensor, bias: Tensor | None, add: Tensor | None, kind: int, bf16: bool
) -> Tensor:
    (n, k), shape = weight.shape, (*x.shape[:-1], weight.shape[0])
    x, weight = _as_rows(x), _matrix(weight)
    outer, inner = x.shape[:2]
    bias = None if bias is None else bias.contiguous()
    add = None if add is None else _as_rows(add.expand(shape))
    extra = _NO_ROWS if add is None else _rows(add)
    threads = _threads(outer * inner * n * k)
    if bf16:
        out = _product(x.reshape(-1, k), weight.T)
        _kernels().layer_finish(out.data_ptr(), outer, inner, _pointer(bias), extra, n, kind, threads)
    else:
        out = x.new_empty(outer * inner, n)
        _kernels().layer_forward(
            out.data_ptr(), _rows(x), outer, inner, weight.data_ptr(), weight.stride(0), _pointer(bias), extra,
            n, k, kind, threads,
        )  # fmt: skip
    return out.view(shape)


Gradients = tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]


def _linear_backward(
    gradient: Tensor, x: Tensor, weight: Tensor, out: Tensor | None, kind: int, bf16: bool, wanted: tuple[bool, ...]
) -> Gradients:
    """The gradients of x, weight, bias and the pre-activation, None where not wanted."""
    n, k = weight.shape
    rows, weight = _as_rows(x), _matrix(weight)
    outer, inner = rows.shape[:2]
    gradient = gradient.contiguous()
    drive = gradient if out is None else torch.empty_like(gradient)
    out = gradient if out is None else out
    dx = torch.empty(x.shape) if wanted[0] and not bf16 else None
    dw = torch.empty(n, k) if wanted[1] and not bf16 else None
    dbias = torch.empty(n) if wanted[2] else None
    _kernels().layer_backward(
        drive.data_ptr(), _pointer(dx), _pointer(dw), _pointer(dbias), gradient.data_ptr(), out.data_ptr(), _rows(rows),
        outer, inner, weight.data_ptr(), weight.stride(0), n, k, kind, _threads(outer * inner * n * k),
    )  # fmt: skip
    if bf16:
        flat = drive.view(-1, n)
        dx = _product(flat, weight).view(x.shape) if wanted[0] else None
        dw = _product(flat.T, rows.reshape(-1, k)) if wanted[1] else None
    return dx, dw, dbias, drive if wanted[3] else None


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, add: Tensor | None, kind: int, bf16: bool
    ) -> Tensor:
        out = _linear_forward(x, weight, bias, add, kind, bf16)
        _keep(ctx, (x, weight, bias, add, kind, bf16), out)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, weight, out = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:4]
        dx, dw, dbias, drive = _linear_backward(gradient, x, weight, out, ctx.kind, ctx.bf16, wanted)
        return dx, dw, dbias, None if drive is None else drive.sum_to_size(ctx.add_shape), None, None


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, _, add, ctx.kind, ctx.bf16 = inputs
    ctx.add_shape = None if add is None else add.shape
    ctx.save_for_backward(x, weight, None if ctx.kind == 0 else output)


@torch.library.custom_op("dynvae::linear", mutates_args=())
def _linear_op(x: Tensor, weight: Tensor, bias: Tensor | None, add: Tensor | None, kind: int, bf16: bool) -> Tensor:
    return _linear_forward(x, weight, bias, add, kind, bf16)


@_linear_op.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None, add: Tensor | None, kind: int, bf16: bool) -> Tensor:
    return x.new_empty((*x.shape[:-1], weight.shape[0]))


@torch.library.custom_op("dynvae::linear_backward", mutates_args=())
def _linear_backward_op(
    gradient: Tensor, x: Tensor, weight: Tensor, out: Tensor | None, kind: int, bf16: bool, wanted: list[bool]
) -> list[Tensor]:
    found = _linear_backward(gradient, x, weight, out, kind, bf16, tuple(wanted))
    return [_own(tensor, gradient) for tensor in found]


def _own(tensor: Tensor | None, gradient: Tensor) -> Tensor:
    """An operator has a tensor for every result, and none that is one of its inputs."""
    if tensor is None:
        return gradient.new_empty(0)
    return tensor.clone() if tensor is gradient else tensor


@_linear_backward_op.register_fake
def _(
    gradient: Tensor, x: Tensor, weight: Tensor, out: Tensor | None, kind: int, bf16: bool, wanted: list[bool]
) -> list[Tensor]:
    shapes = (x.shape, weight.shape, weight.shape[:1], gradient.shape)
    return [gradient.new_empty(shape if want else 0) for shape, want in zip(shapes, wanted, strict=True)]


def _linear_op_backward(ctx: Any, gradient: Tensor) -> Any:
    x, weight, out = ctx.saved_tensors
    wanted = list(ctx.needs_input_grad[:4])
    found = _linear_backward_op(gradient, x, weight, out, ctx.kind, ctx.bf16, wanted)
    dx, dw, dbias, drive = (tensor if want else None for tensor, want in zip(found, wanted, strict=True))
    return dx, dw, dbias, None if drive is None else drive.sum_to_size(ctx.add_shape), None, None


_linear_op.register_autograd(_linear_op_backward, setup_context=_keep)


def _log_prob_forward(raw: Tensor, power: Tensor, floor: float, limit: float) -> Tensor:
    out = raw.new_empty(raw.shape[:-1])
    raw, power = _as_rows(raw), _as_rows(power)
    outer, inner, n = raw.shape
    _kernels().complex_gaussian_forward(
        out.data_ptr(), _rows(raw), _rows(power), outer, inner, n, floor, limit, _threads(8 * raw.numel())
    )
    return out


def _log_prob_backward(gradient: Tensor, raw: Tensor, power: Tensor, floor: float, limit: float) -> Tensor:
    out = torch.empty(raw.shape)
    raw, power, gradient = _as_rows(raw), _as_rows(power), gradient.contiguous()
    outer, inner, n = raw.shape
    _kernels().complex_gaussian_backward(
        out.data_ptr(), gradient.data_ptr(), _rows(raw), _rows(power), outer, inner, n, floor, limit,
        _threads(8 * raw.numel()),
    )  # fmt: skip
    return out


class _LogProb(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, raw: Tensor, power: Tensor, floor: float, limit: float) -> Tensor:
        _keep_frames(ctx, (raw, power, floor, limit), None)
        return _log_prob_forward(raw, power, floor, limit)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        raw, power = ctx.saved_tensors
        return _log_prob_backward(gradient, raw, power, ctx.floor, ctx.limit), None, None, None


def _keep_frames(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    raw, power, ctx.floor, ctx.limit = inputs
    ctx.save_for_backward(raw, power)


@torch.library.custom_op("dynvae::complex_gaussian_log_prob", mutates_args=())
def _log_prob_op(raw: Tensor, power: Tensor, floor: float, limit: float) -> Tensor:
    return _log_prob_forward(raw, power, floor, limit)


@_log_prob_op.register_fake
def _(raw: Tensor, power: Tensor, floor: float, limit: float) -> Tensor:
    return raw.new_empty(raw.shape[:-1])


@torch.library.custom_op("dynvae::complex_gaussian_log_prob_backward", mutates_args=())
def _log_prob_backward_op(gradient: Tensor, raw: Tensor, power: Tensor, floor: float, limit: float) -> Tensor:
    return _log_prob_backward(gradient, raw, power, floor, limit)


@_log_prob_backward_op.register_fake
def _(gradient: Tensor, raw: Tensor, power: Tensor, floor: float, limit: float) -> Tensor:
    return raw.new_empty(raw.shape)


def _log_prob_op_backward(ctx: Any, gradient: Tensor) -> Any:
    raw, power = ctx.saved_tensors
    return _log_prob_backward_op(gradient, raw, power, ctx.floor, ctx.limit), None, None, None


_log_prob_op.register_autograd(_log_prob_op_backward, setup_context=_keep_frames)
