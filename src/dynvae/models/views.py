"""What the networks of a model make of its condition, frame by frame and before any recursion."""

from __future__ import annotations

__all__ = ["Absent", "View"]

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from dynvae.condition import Condition
from dynvae.errors import ConfigError
from dynvae.nn import MLP

Absent = Literal["zero", "learned"]


class View(nn.Module):
    r"""A network on each frame of the condition, and a constant for frames that have none.

    .. math:: e_t = \begin{cases} \mathrm{MLP}(v_t) & \text{where } v_t \text{ is present} \\ a & \text{elsewhere}
              \end{cases}

    Args:
        size: of a frame of the condition.
        hidden: sizes of the layers, each with its activation; the last is the size of e. Without any, e is v itself.
        absent: whether a is ``"zero"`` or ``"learned"``.
        activation: of the layers.
        dropout: after each.

    Raises:
        ConfigError: there is no such a.
    """

    def __init__(
        self,
        size: int,
        hidden: Sequence[int],
        *,
        absent: Absent = "zero",
        activation: str = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if absent not in get_args(Absent):
            raise ConfigError(f"what stands for an absent condition is {' or '.join(get_args(Absent))}, not '{absent}'")
        self.net = MLP(size, hidden, activation=activation, dropout=dropout)
        self.out_features = self.net.out_features
        self.absent = nn.Parameter(torch.zeros(self.out_features)) if absent == "learned" else None

    def none(self, like: Tensor) -> Tensor:
        """What stands for an absent frame, ``(out_features,)``."""
        return like.new_zeros(self.out_features) if self.absent is None else self.absent

    def forward(self, condition: Condition) -> Tensor:
        """Map ``(batch, time, size)`` to ``(batch, time, out_features)``."""
        present = condition.present.unsqueeze(-1)
        seen = self.net(condition.features.where(present, 0))
        return torch.where(present, seen, self.none(seen))
