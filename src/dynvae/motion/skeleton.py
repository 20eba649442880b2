"""What a frame of motion is: which joints, where they are measured from, and in which unit."""

from __future__ import annotations

__all__ = ["Skeleton"]

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dynvae.errors import ConfigError

_MOST_JOINTS = 1000
_STILL = 1e-5  # metres; a joint that moves less, or is nearer to another, tells nothing


@dataclass(frozen=True)
class Skeleton:
    """The front end of a model of motion: between the places of a body's joints and the frames that the model takes.

    A frame holds the observed joints, seen from the root: (place - place of the root - centre) / scale, x, y and z of
    a joint side by side.

    Args:
        parents: of each joint; -1 for the first, which is the root, and else a joint before it.
        frame_rate: frames a second.
        up: the axis, 0, 1 or 2, that points upwards; drawings need it.
        observed: the joints of a frame; by default all but the root.
        centre: a pose, ``(joints, 3)``, in metres from the root; by default the origin.
        scale: metres that are 1 in a frame.

    Raises:
        ConfigError: the parents are no tree, or another value is out of range.

    Example:
        >>> arm = Skeleton(parents=(-1, 0, 1), frame_rate=25)
        >>> arm.frames(torch.tensor([[[1.0, 1, 1], [1, 2, 1], [1, 3, 1]]]))
        tensor([[0., 1., 0., 0., 2., 0.]])
    """

    parents: tuple[int, ...]
    frame_rate: float
    up: int = 1
    observed: tuple[int, ...] = ()
    centre: tuple[tuple[float, float, float], ...] = ()
    scale: float = 1.0

    def __post_init__(self) -> None:
        try:
            parents, observed = ([int(value) for value in values] for values in (self.parents, self.observed))
            centre = [tuple(float(value) for value in place) for place in self.centre]
            rate, scale = float(self.frame_rate), float(self.scale)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"skeleton: {error}") from None
        joints = len(parents)
        if not 2 <= joints <= _MOST_JOINTS:
            raise ConfigError(f"skeleton: it has {joints} joints; from 2 to {_MOST_JOINTS} are possible")
        wrong = [
            joint for joint, parent in enumerate(parents) if not (0 <= parent < joint or joint == -1 - parent == 0)
        ]
        if wrong:
            raise ConfigError(f"skeleton: the parent of joint {wrong[0]} is {parents[wrong[0]]}; it must be a joint "
                              "before it, and -1 for the first")  # fmt: skip
        observed = observed or list(range(1, joints))
        centre = centre or [(0.0, 0.0, 0.0)] * joints
        if sorted(set(observed)) != observed or not 0 <= observed[0] <= observed[-1] < joints:
            raise ConfigError(f"skeleton: observed must be joints out of {joints}, in their order")
        numbers = [value for place in centre for value in place]
        if len(centre) != joints or any(len(place) != 3 for place in centre) or not all(map(math.isfinite, numbers)):
            raise ConfigError(f"skeleton: centre must be three numbers for each of {joints} joints")
        if not (0 < rate < math.inf and 0 < scale < math.inf and self.up in (0, 1, 2)):
            raise ConfigError(f"skeleton: frame_rate ({rate}) and scale ({scale}) must be positive, up ({self.up}) "
                              "0, 1 or 2")  # fmt: skip
        values = {"parents": tuple(parents), "frame_rate": rate, "up": int(self.up), "observed": tuple(observed),
                  "centre": tuple(centre), "scale": scale}  # fmt: skip
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def joints(self) -> int:
        """How many there are, observed or not."""
        return len(self.parents)

    @property
    def size(self) -> int:
        """Features of a frame."""
        return 3 * len(self.observed)

    def fitted(self, sequences: Iterable[Tensor]) -> Skeleton:
        """The skeleton with joints, centre and scale taken from training data.

        Joints that never move, and those that are always where another is, are left out: no density fits them.
        The centre is the mean pose, and the scale makes the mean square of a feature 1.

        Args:
            sequences: places of the joints, each ``(time, joints, 3)``, in metres.

        Raises:
            ConfigError: nothing moves.
        """
        places = torch.cat([(sequence - sequence[:, :1]).double() for sequence in sequences])
        centre = places.mean(0)
        moves = ((places - centre).abs().amax((0, 2)) > _STILL).tolist()
        observed: list[int] = []
        for joint in range(self.joints):
            if moves[joint] and not any(_alike(places[:, joint], places[:, other]) for other in observed):
                observed.append(joint)
        if not observed:
            raise ConfigError("nothing moves in the training sequences")
        scale = float((places - centre)[:, observed].square().mean().sqrt())
        pose = tuple((float(x), float(y), float(z)) for x, y, z in centre.tolist())
        return dataclasses.replace(self, observed=tuple(observed), centre=pose, scale=scale)

    def frames(self, places: Tensor) -> Tensor:
        """What a model takes, ``(..., joints, 3)`` in metres to ``(..., size)``."""
        observed = list(self.observed)
        seen = places[..., observed, :] - places[..., :1, :] - self._centre(places)[observed]
        return (seen / self.scale).flatten(-2)

    def places(self, frames: Tensor) -> Tensor:
        """All joints, seen from the root, ``(..., size)`` to ``(..., joints, 3)`` in metres.

        A joint that is not observed is where another always is, or else as far from its parent as in the centre.
        """
        centre = self._centre(frames)
        seen = dict(zip(self.observed, frames.unflatten(-1, (-1, 3)).unbind(-2), strict=True))
        places = [seen[0] * self.scale + centre[0] if 0 in seen else frames.new_zeros(*frames.shape[:-1], 3)]
        for joint in range(1, self.joints):
            if joint in seen:
                places.append(seen[joint] * self.scale + centre[joint])
            else:
                near = (other for other in range(joint) if _alike(centre[joint], centre[other]))
                anchor = next(near, self.parents[joint])
                places.append(places[anchor] + (centre[joint] - centre[anchor]))
        return torch.stack(places, -2)

    def turned(self, frames: Tensor, angle: float) -> Tensor:
        """The frames ``(..., size)`` of a body that is turned about the vertical, by an angle in radians."""
        one, other = (axis for axis in range(3) if axis != self.up)
        rotation = torch.eye(3, dtype=frames.dtype, device=frames.device)
        rotation[[one, other], [one, other]] = math.cos(angle)
        rotation[one, other], rotation[other, one] = math.sin(angle), -math.sin(angle)
        centre = self._centre(frames)[list(self.observed)] / self.scale
        return ((frames.unflatten(-1, (-1, 3)) + centre) @ rotation - centre).flatten(-2)

    def errors(self, frames: Tensor, reference: Tensor) -> Tensor:
        """Distances between the joints of two poses, ``(..., size)`` to ``(..., observed joints)``, in metres."""
        return torch.linalg.vector_norm((frames - reference).unflatten(-1, (-1, 3)), dim=-1) * self.scale

    def same_body(self, other: Skeleton) -> bool:
        """Whether the joints are connected alike, at the same frame rate."""
        return (self.parents, self.frame_rate) == (other.parents, other.frame_rate)

    def _centre(self, like: Tensor) -> Tensor:
        return torch.tensor(self.centre, dtype=like.dtype, device=like.device)

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values, for a JSON file."""
        return {"kind": "skeleton", **dataclasses.asdict(self)}

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Skeleton:
        """The skeleton of a saved dictionary.

        Raises:
            ConfigError: a key is unknown or missing, or a value is out of range.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        given = {key: value for key, value in settings.items() if key != "kind"}
        unknown = sorted(set(given) - set(known))
        if unknown or not {"parents", "frame_rate"} <= set(given):
            raise ConfigError(f"skeleton: it needs parents and frame_rate, and may have {', '.join(known[2:])}; "
                              f"there are {', '.join(sorted(map(str, given)))}")  # fmt: skip
        return cls(**given)


def _alike(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= _STILL)
