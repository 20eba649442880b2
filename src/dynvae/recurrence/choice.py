"""Which executor runs a program: the compiled one where it can, the plain one elsewhere, or as the caller says."""

from __future__ import annotations

__all__ = ["Executor", "choose", "executor"]

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from dynvae.errors import ConfigError
from dynvae.native import ops
from dynvae.recurrence import compiled, plain, products, scanned
from dynvae.recurrence.segments import segment_frames

Choice = Literal["auto", "plain", "compiled", "scan"]

_choice: ContextVar[str | None] = ContextVar("executor", default=None)


@contextmanager
def executor(choice: Choice, *, gemm_dtype: Literal["float32", "bf16"] = "float32", segment: int = 0) -> Iterator[None]:
    """Run programs by the executor ``"plain"``, ``"compiled"`` (where it can) or ``"auto"`` within a block.

    Outside any block, the environment variable ``DYNVAE_EXECUTOR`` says which; it is ``"auto"`` if not set.
    ``"plain"`` keeps to PyTorch's operators for the likelihood, too, and so does ``"scan"``, which makes a loop one
    operator: for ``torch.export``, which would write down every frame otherwise.

    Args:
        choice: the executor.
        gemm_dtype: ``"bf16"`` lets the compiled one round the factors of large products to bfloat16, which is
            faster where the processor multiplies bfloat16 and moves gradients by some 1e-3.
        segment: let loops keep only what is needed every so many frames, and compute the rest again in the backward
            pass: less memory for long sequences; 0 keeps everything.

    Raises:
        ConfigError: there is no such executor or precision, or the segment is negative.

    Example:
        >>> import torch
        >>> from dynvae import models
        >>> model = models.build("srnn", x_dim=5, z_dim=2)
        >>> with executor("plain"):
        ...     bound = model.elbo(torch.ones(1, 3, 5))
    """
    if choice not in get_args(Choice):
        raise ConfigError(f"there is no executor '{choice}'; there are {', '.join(get_args(Choice))}")
    if gemm_dtype not in ("float32", "bf16"):
        raise ConfigError(f"there is no gemm_dtype '{gemm_dtype}'; there are float32, bf16")
    if segment < 0:
        raise ConfigError(f"a segment has some frames, not {segment}")
    kernels = _within(ops.allowed, choice not in ("plain", "scan"))
    with kernels, _within(_choice, choice), _within(products.gemm_dtype, gemm_dtype), _within(segment_frames, segment):
        yield


@contextmanager
def _within(variable: ContextVar[Any], value: object) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


@dataclass(frozen=True)
class Executor:
    """How the stages of a schedule are run."""

    run_linear: Callable[..., Tensor]
    run_loop: Callable[..., dict[str, Tensor]]
    cells_as_loops: bool
    """Whether recurrent layers are loops like any other, or run by torch's own kernels."""


PLAIN = Executor(plain.run_linear, plain.run_loop, cells_as_loops=False)
SCANNED = Executor(plain.run_linear, scanned.run_loop, cells_as_loops=True)
COMPILED = Executor(products.run_linear, compiled.run_loop, cells_as_loops=True)


def choose(values: Iterable[Tensor]) -> Executor:
    """The executor for a run on these tensors: the compiled one knows float32 on CPUs, without autocast."""
    choice = _choice.get() or os.environ.get("DYNVAE_EXECUTOR", "auto")
    if choice == "scan":
        return SCANNED
    if choice == "plain" or torch.is_autocast_enabled("cpu") or not all(map(_on_cpu, values)):
        return PLAIN
    return COMPILED if compiled.available() else PLAIN


def _on_cpu(value: Tensor) -> bool:
    return value.dtype is torch.float32 and value.device.type == "cpu"
