"""What :func:`torch.compile` has to know of functions that it cannot look into."""

from __future__ import annotations

__all__ = ["constant_when_traced"]

from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def constant_when_traced(function: Function) -> Function:
    """Let a tracer call a function once and keep its result.

    :func:`torch.compiler.assume_constant_result` sets the same mark, but imports the whole compiler first, which takes
    longer than all other imports together.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function
