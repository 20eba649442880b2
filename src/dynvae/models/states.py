"""States of generation: whatever a model keeps between frames, as tensors of a batch of sequences."""

from __future__ import annotations

__all__ = ["expand_state"]

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import Tensor


def expand_state(state: Any, samples: int) -> Any:
    """The state with each of its sequences ``samples`` times, copies side by side.

    Args:
        state: tensors whose first axis is the batch, in tuples, lists, mappings and dataclasses; anything else in it
            is kept as it is.
        samples: how many copies.

    Example:
        >>> import torch
        >>> expand_state({"h": torch.tensor([[1.0], [2.0]]), "time": 3}, 2)
        {'h': tensor([[1.],
                [1.],
                [2.],
                [2.]]), 'time': 3}
    """
    match state:
        case Tensor():
            return state.repeat_interleave(samples, 0)
        case Mapping():
            return {name: expand_state(value, samples) for name, value in state.items()}
        case tuple() if hasattr(state, "_fields"):
            return type(state)(*(expand_state(value, samples) for value in state))
        case tuple() | list():
            return type(state)(expand_state(value, samples) for value in state)
        case _ if dataclasses.is_dataclass(state) and not isinstance(state, type):
            names = [field.name for field in dataclasses.fields(state)]
            return dataclasses.replace(state, **{name: expand_state(getattr(state, name), samples) for name in names})
    return state
