"""A model out of a configuration and weights that are not to be trusted."""

from __future__ import annotations

__all__ = ["construct", "fill"]

import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dynvae.errors import CheckpointError
from dynvae.models import DVAE, ZOO

_MOST_LAYERS = 1000


def construct(name: str, arguments: dict[str, Any], kinds: Mapping[str, Any] = ZOO) -> DVAE:
    """A model without storage for its weights: whatever sizes are asked for, nothing is allocated.

    Args:
        name: in the registry.
        arguments: of its constructor.
        kinds: the registry.

    Raises:
        CheckpointError: the class is not in the registry, or does not take such arguments.
    """
    if name not in kinds:
        near = get_close_matches(name, kinds, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(kinds)}"
        raise CheckpointError(f"there is no model '{name[:80]}'; {hint}")
    known = [
        parameter.name
        for kind in kinds[name].__mro__
        if "__init__" in vars(kind) and (kind is kinds[name] or issubclass(kind, DVAE))
        for parameter in list(inspect.signature(kind.__init__).parameters.values())[1:]
        if parameter.kind is not parameter.VAR_KEYWORD
    ]
    for key, value in arguments.items():
        if key not in known:
            near = get_close_matches(key, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"it takes {', '.join(dict.fromkeys(known))}"
            raise CheckpointError(f"a {name} takes no argument '{key[:80]}'; {hint}")
        layers = len(value) if isinstance(value, list) else value if key in ("rnn_layers", "layers") else 0
        if isinstance(layers, int) and layers > _MOST_LAYERS:
            raise CheckpointError(f"'{key}' asks for {layers} layers; more than {_MOST_LAYERS} are not believed")
    with torch.device("meta"):
        model: DVAE = kinds[name](**arguments)
    return model


def fill(model: DVAE, state: dict[str, Tensor], path: Path) -> None:
    """Give a model its weights, once every name and shape is known to fit.

    Args:
        model: from `construct`.
        state: the weights, which become the model's own.
        path: their file, for the errors.

    Raises:
        CheckpointError: a weight is missing, unknown, or of another shape or kind.
    """
    wanted = model.state_dict()
    for problem, names in (("misses", set(wanted) - set(state)), ("has unknown", set(state) - set(wanted))):
        if names:
            shown = ", ".join(sorted(names)[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            raise CheckpointError(
                f"{path} {problem} weights ({shown[:240]}); the configuration describes another model"
            )
    for name, place in wanted.items():
        value = state[name]
        if value.shape != place.shape or value.is_floating_point() != place.is_floating_point():
            raise CheckpointError(
                f"{path}: {name} is {value.dtype} {tuple(value.shape)}, the configuration wants {place.dtype} "
                f"{tuple(place.shape)}; the two do not belong together"
            )
    model.load_state_dict(state, assign=True)
