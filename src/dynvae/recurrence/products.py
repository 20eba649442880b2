"""Linear operations on all frames at once by the compiled kernels, the activation included."""

from __future__ import annotations

__all__ = ["gemm_dtype", "run_linear"]

from collections.abc import Callable
from contextvars import ContextVar
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from dynvae.native import ops
from dynvae.recurrence.functions import FUNCTIONS
from dynvae.recurrence.plain import Parameters
from dynvae.recurrence.program import Linear, Read

gemm_dtype: ContextVar[Literal["float32", "bf16"]] = ContextVar("gemm_dtype", default="float32")
"""The precision of the factors of large products; sums are always float32."""


def run_linear(step: Linear, read: Callable[[Read], Tensor], parameters: Parameters) -> Tensor:
    """The same as :func:`dynvae.recurrence.plain.run_linear`: each product adds to the one before."""
    total = None if step.drive is None else read(Read(step.drive, 0, step.width))
    biases = [parameters(name) for name in step.biases]
    bias = sum(biases[1:], biases[0]) if biases else None
    pairs = [(read(product.read), product) for product in step.products]
    pairs.sort(key=lambda pair: pair[0].dim())  # first what is the same at every frame
    for index, (value, product) in enumerate(pairs):
        weight = parameters(product.weight)
        if product.read.width != weight.shape[1]:
            weight = weight[:, product.column : product.column + product.read.width]
        if total is not None and total.dim() < value.dim():
            total = total.unsqueeze(1)
        last = step.activation if index == len(pairs) - 1 else "identity"
        total = _linear(value, weight, bias, total, last)
        bias = None
    assert total is not None, "a linear operation has a product"
    return total


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None, add: Tensor | None, activation: str) -> Tensor:
    n, k = weight.shape
    if not ops.worthwhile(x.numel() // k, n, k, activation) or not ops.usable(x, weight, bias, add):
        out = F.linear(x, weight, bias)
        return FUNCTIONS[activation](out if add is None else out + add)
    if activation in ops.ACTIVATIONS:
        return ops.linear(x, weight, bias, add, activation, gemm_dtype.get())
    return FUNCTIONS[activation](ops.linear(x, weight, bias, add, "identity", gemm_dtype.get()))
