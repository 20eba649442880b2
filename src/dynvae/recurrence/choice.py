"""Which executor runs a program: the compiled one where it can, the plain one elsewhere, or as the caller says."""

from __future__ import annotations

__all__ = ["Executor", "choose", "executor"]

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dynvae.errors import ConfigError
from dynvae.recurrence import compiled, plain

Choice = Literal["auto", "plain", "compiled"]

_choice: ContextVar[str | None] = ContextVar("executor", default=None)


@contextmanager
def executor(choice: Choice) -> Iterator[None]:
    """Run programs by the executor ``"plain"``, ``"compiled"`` (where it can) or ``"auto"`` within a block.

    Outside any block, the environment variable ``DYNVAE_EXECUTOR`` says which; it is ``"auto"`` if not set.

    Raises:
        ConfigError: there is no such executor.

    Example:
        >>> import torch
        >>> from dynvae import models
        >>> model = models.build("srnn", x_dim=5, z_dim=2)
        >>> with executor("plain"):
        ...     bound = model.elbo(torch.ones(1, 3, 5))
    """
    if choice not in ("auto", "plain", "compiled"):
        raise ConfigError(f"there is no executor '{choice}'; there are auto, plain, compiled")
    token = _choice.set(choice)
    try:
        yield
    finally:
        _choice.reset(token)


@dataclass(frozen=True)
class Executor:
    """How the stages of a schedule are run."""

    run_linear: Callable[..., Tensor]
    run_loop: Callable[..., dict[str, Tensor]]
    cells_as_loops: bool
    """Whether recurrent layers are loops like any other, or run by torch's own kernels."""


PLAIN = Executor(plain.run_linear, plain.run_loop, cells_as_loops=False)
COMPILED = Executor(plain.run_linear, compiled.run_loop, cells_as_loops=True)


def choose(values: Iterable[Tensor]) -> Executor:
    """The executor for a run on these tensors: the compiled one knows float32 on CPUs, without autocast."""
    choice = _choice.get() or os.environ.get("DYNVAE_EXECUTOR", "auto")
    if choice == "plain" or torch.is_autocast_enabled("cpu") or not all(map(_on_cpu, values)):
        return PLAIN
    return COMPILED if compiled.available() else PLAIN


def _on_cpu(value: Tensor) -> bool:
    return value.dtype is torch.float32 and value.device.type == "cpu"
