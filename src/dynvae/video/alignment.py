"""Which picture belongs to which frame of a sound's transform."""

from __future__ import annotations

__all__ = ["Alignment", "Interpolation", "aligned"]

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynvae.audio import FrontEnd
from dynvae.errors import ConfigError
from dynvae.video.lips import Lips

Interpolation = Literal["nearest", "linear"]

HOLD = 0.1
"""Seconds that a picture is held where the next one is late or there is none."""


@dataclass(frozen=True, eq=False)
class Alignment:
    r"""The picture of each frame of the transform: :math:`(1 - w_t)\, v_{left_t} + w_t\, v_{right_t}`.

    Attributes:
        left: the first picture's index, ``(time,)``.
        right: the second's.
        weight: w, float32, from 0 to 1.
        present: whether there is a mouth to be seen, ``(time,)``.
    """

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    weight: NDArray[np.float32]
    present: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        lips: Lips,
        frames: int,
        front_end: FrontEnd,
        *,
        start: float = 0.0,
        offset: float = 0.0,
        interpolation: Interpolation = "nearest",
    ) -> Alignment:
        """Find the pictures of a sound's frames.

        Frame t of the transform stands for the moment ``start + t · hop / rate``; a picture for the middle of the time
        for which it is shown, less the offset. The nearest picture is therefore the one on the screen. A frame has no
        lips where the nearest picture is further than a tenth of a second and a period of the video away, or shows
        none; linear interpolation leaves out a picture that shows none.

        Args:
            lips: the pictures, on the clock of the whole recording.
            frames: of the transform.
            front_end: of the transform.
            start: seconds of the recording before the sound that is transformed, where its beginning was cut.
            offset: seconds by which the pictures are late: 0.04 says that a picture belongs to the sound 40 ms before.
            interpolation: the nearest picture, or a line between the two around the moment.

        Raises:
            ConfigError: the interpolation is unknown.
        """
        if interpolation not in get_args(Interpolation):
            raise ConfigError(f"pictures are interpolated {' or '.join(get_args(Interpolation))}, not {interpolation}")
        moments = start + np.arange(frames) * front_end.hop_length / front_end.sample_rate
        middles = lips.times + lips.period / 2 - offset
        right = np.searchsorted(middles, moments).clip(0, len(lips) - 1)
        left = (right - 1).clip(0)
        span = np.maximum(middles[right] - middles[left], 1e-9)
        weight = ((moments - middles[left]) / span).clip(0, 1)
        # Rounding must not decide where a frame begins just when a picture does.
        near = np.where(weight > 0.5 - 1e-6, right, left)
        present = lips.present[near] & (np.abs(moments - middles[near]) <= HOLD + lips.period + 1e-6)
        both = lips.present[left] & lips.present[right]
        if interpolation == "nearest":
            both[:] = False
        left, right = np.where(both, left, near), np.where(both, right, near)
        return cls(left, right, np.where(both, weight, 0).astype(np.float32), present)

    def __getitem__(self, part: slice) -> Alignment:
        """Some frames in a row."""
        return Alignment(self.left[part], self.right[part], self.weight[part], self.present[part])

    def __len__(self) -> int:
        return len(self.left)

    def features(self, lips: Lips) -> NDArray[np.float32]:
        """What a model sees, ``(time, size)``: zeros where there is no mouth."""
        features = lips.features(self.left)
        if self.weight.any():
            weight = self.weight[:, None]
            features = (1 - weight) * features + weight * lips.features(self.right)
        return np.where(self.present[:, None], features, np.float32(0))


def aligned(
    lips: Lips,
    frames: int,
    front_end: FrontEnd,
    *,
    start: float = 0.0,
    offset: float = 0.0,
    interpolation: Interpolation = "nearest",
) -> tuple[Tensor, Tensor]:
    """Lips in step with the frames of a transform; see `Alignment.of` for the arguments.

    Returns:
        Features ``(time, size)``, float32 and zero where there is no mouth, and where there is one, bool ``(time,)``.

    Example:
        >>> lips = Lips.at_rate(np.full((25, 4489), 255, np.uint8), 25)
        >>> features, present = aligned(lips, 100, FrontEnd())  # 1.6 s of sound, 1 s of video
        >>> features.shape, int(present.sum()), bool((features[~present] == 0).all())
        (torch.Size([100, 4489]), 71, True)
    """
    found = Alignment.of(lips, frames, front_end, start=start, offset=offset, interpolation=interpolation)
    return torch.from_numpy(found.features(lips)), torch.from_numpy(found.present)
