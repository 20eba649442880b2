"""What goes into an exported graph, and what comes out: names, sizes and meaning, as they stand in its description."""

from __future__ import annotations

__all__ = ["Port", "example"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

Kind = Literal["data", "noise", "lengths", "present"]


@dataclass(frozen=True)
class Port:
    """An input or an output of a graph.

    Attributes:
        name: as the graph has it.
        shape: the sizes of its axes, or the names of those that may have any.
        about: what it holds, in words.
        kind: ``"data"`` (real numbers, those of spectra positive), ``"noise"`` (any real numbers), ``"lengths"`` (whole
            numbers up to the time) or ``"present"`` (Booleans).
    """

    name: str
    shape: tuple[str | int, ...]
    about: str
    kind: Kind = "data"

    @property
    def dtype(self) -> torch.dtype:
        """The type of its numbers."""
        return {"lengths": torch.int64, "present": torch.bool}.get(self.kind, torch.float32)

    def to_dict(self) -> dict[str, Any]:
        """As it stands in the description of an export."""
        names = {torch.int64: "int64", torch.bool: "bool", torch.float32: "float32"}
        return {"name": self.name, "shape": list(self.shape), "type": names[self.dtype], "about": self.about}


def example(ports: Sequence[Port], sizes: Mapping[str, int], generator: torch.Generator) -> dict[str, Tensor]:
    """Random values of inputs for a size of each named axis.

    The first sequence has all frames. Data are as spectra are: most of them small, and some zero.
    """
    values = {}
    for port in ports:
        shape = [axis if isinstance(axis, int) else sizes[axis] for axis in port.shape]
        match port.kind:
            case "lengths":
                value = torch.randint(1, sizes["time"] + 1, shape, generator=generator)
                value[0] = sizes["time"]
            case "present":
                value = torch.rand(shape, generator=generator) < 0.7
            case "noise":
                value = torch.randn(shape, generator=generator)
            case "data":
                value = 10 ** (-12 * torch.rand(shape, generator=generator))
                value = value.where(value > 1e-11, 0)
        values[port.name] = value
    return values
