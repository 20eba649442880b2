"""What is known beside the observations: a vector a frame, such as the speaker's lips, where there is one."""

from __future__ import annotations

__all__ = ["Condition"]

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Condition(NamedTuple):
    """A second view of each frame of a batch of sequences, with gaps.

    A gap is data, not an error: where ``present`` is False, ``features`` may be anything, NaN too; nobody looks.

    Attributes:
        features: ``(batch, time, v_dim)``, on the frames of the observations.
        present: ``(batch, time)``, whether a frame has any.

    Example:
        >>> lips = Condition.of(torch.ones(2, 5, 3), torch.arange(5) < torch.tensor([[5], [2]]))
        >>> lips.fitted(4).present.int()
        tensor([[1, 1, 1, 1],
                [1, 1, 0, 0]], dtype=torch.int32)
    """

    features: Tensor
    present: Tensor

    @classmethod
    def of(cls, features: Tensor, present: Tensor | None = None) -> Condition:
        """A condition of every frame, or of those that ``present`` tells.

        Raises:
            ValueError: the shapes do not fit.
        """
        if features.dim() != 3:
            raise ValueError(f"a condition is (batch, time, feature), not {tuple(features.shape)}")
        if present is None:
            present = torch.ones(features.shape[:2], dtype=torch.bool, device=features.device)
        if present.shape != features.shape[:2] or present.dtype != torch.bool:
            raise ValueError(
                f"present tells of each frame whether it has a condition: Booleans {tuple(features.shape[:2])}, "
                f"not {present.dtype} {tuple(present.shape)}"
            )
        return cls(features, present)

    @classmethod
    def absent(cls, like: Tensor, size: int) -> Condition:
        """None at all, of ``size`` features, for frames ``(batch, time, ...)``."""
        return cls(like.new_zeros(*like.shape[:2], size), like.new_zeros(like.shape[:2], dtype=torch.bool))

    def repeated(self, samples: int) -> Condition:
        """Each sequence's ``samples`` times, copies side by side."""
        return self if samples == 1 else Condition(*(part.repeat_interleave(samples, 0) for part in self))

    def fitted(self, time: int) -> Condition:
        """Of so many frames: what is too long is cut, and missing at the end what is too short."""
        short = max(0, time - self.features.shape[1])
        return Condition(F.pad(self.features, (0, 0, 0, short))[:, :time], F.pad(self.present, (0, short))[:, :time])

    def frames(self, start: int, stop: int) -> Condition:
        """Those from ``start`` to before ``stop``."""
        return Condition(self.features[:, start:stop], self.present[:, start:stop])

    def like(self, other: Tensor) -> Condition:
        """In the type and place of a tensor."""
        # Not called "to": Lightning would take the whole for a tensor.
        return Condition(self.features.to(other), self.present.to(other.device))
