"""What a frame of a moving box is, and from where it is seen."""

from __future__ import annotations

__all__ = ["BoxView"]

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from dynvae.errors import ConfigError

_SMALLEST = 1e-4  # of a picture
_SEEN = ("own", "picture")


@dataclass(frozen=True)
class BoxView:
    """The front end of a model of boxes: between places in the picture and the frames that the model takes.

    A place is the left and the top edge, the right edge, and the top less the height, as shares of the picture's width
    and height, ``(..., 4)``. (The last is published so; other data have the lower edge.)

    Args:
        seen: in the ``"picture"``, as published: a frame is the place. Or from one of a track's ``"own"`` boxes: a
            frame is (place - its place) / its size. Motion looks alike wherever somebody is and however large; seen so,
            it is alike.

    Raises:
        ConfigError: there is no such view.

    Example:
        >>> one, later = torch.tensor([0.2, 0.4, 0.3, 0.0]), torch.tensor([0.25, 0.4, 0.35, 0.0])
        >>> BoxView().frames(later, one)
        tensor([0.5000, 0.0000, 0.5000, 0.0000])
    """

    seen: Literal["own", "picture"] = "own"

    def __post_init__(self) -> None:
        if self.seen not in _SEEN:
            raise ConfigError(f"boxes are seen from one of their own or in the picture ({', '.join(_SEEN)}), "
                              f"not '{self.seen}'")  # fmt: skip

    def origin(self, one: Tensor) -> tuple[Tensor, Tensor]:
        """Where a frame is 0, and in which unit, if seen from this place: ``(..., 4)`` each."""
        if self.seen == "picture":
            return torch.zeros_like(one), torch.ones_like(one)
        size = torch.stack([one[..., 2] - one[..., 0], one[..., 1] - one[..., 3]], -1)
        return one, size.clamp(min=_SMALLEST).repeat(*[1] * (one.dim() - 1), 2)

    def frames(self, places: Tensor, one: Tensor) -> Tensor:
        """What a model takes of places, seen from this one."""
        place, size = self.origin(one)
        return (places - place) / size

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values, for a JSON file."""
        return {"kind": "boxes", "seen": self.seen}

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> BoxView:
        """The view of a saved dictionary.

        Raises:
            ConfigError: a key is unknown, or there is no such view.
        """
        given = {key: value for key, value in settings.items() if key != "kind"}
        if set(given) - {"seen"}:
            raise ConfigError(f"boxes: there is no setting {', '.join(sorted(set(given) - {'seen'}))}; there is seen")
        return cls(**given)
