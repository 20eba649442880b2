"""The networks that the models are made of, and how sequences of unequal length go through them."""

from __future__ import annotations

__all__ = ["ACTIVATIONS", "MLP", "Direction", "Recurrent", "full_precision", "reverse_valid", "shift", "time_mask"]

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dynvae.errors import ConfigError

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "elu": F.elu,
    "gelu": F.gelu,
    "silu": F.silu,
    "leaky_relu": F.leaky_relu,
}
"""What may follow a hidden layer."""

Direction = Literal["forward", "backward", "both"]
"""Which way a recurrent network runs in time: it sees the past, the future, or both."""


def time_mask(lengths: Tensor, time: int) -> Tensor:
    """True on valid frames, ``(batch, time)``.

    Example:
        >>> time_mask(torch.tensor([3, 1]), 3).int()
        tensor([[1, 1, 1],
                [1, 0, 0]], dtype=torch.int32)
    """
    return torch.arange(time, device=lengths.device) < lengths.unsqueeze(-1)


def full_precision(like: Tensor) -> AbstractContextManager[Any]:
    """Keep autocast away from what half precision would break, such as the updates of covariances."""
    kind = like.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()


def shift(x: Tensor) -> Tensor:
    """The previous frame at every frame, zero at the first: ``(batch, time, feature)``."""
    return F.pad(x, (0, 0, 1, 0))[:, :-1]


def reverse_valid(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Reverse each sequence in time and leave its padding at the end; its own inverse.

    Example:
        >>> reverse_valid(torch.tensor([[[1.], [2.], [0.]]]), torch.tensor([2])).flatten()
        tensor([2., 1., 0.])
    """
    if lengths is None:
        return x.flip(1)
    frames = torch.arange(x.shape[1], device=x.device)
    source = lengths.unsqueeze(-1) - 1 - frames
    source = torch.where(source < 0, frames, source)
    return x.gather(1, source.unsqueeze(-1).expand_as(x))


class MLP(nn.Module):
    """Linear layers with an activation and dropout after each hidden one; with no layer at all, the identity.

    Hidden layers start as Glorot and Bengio (2010) propose, with the activation's gain.

    Args:
        in_features: size of the input.
        hidden: sizes of the hidden layers; may be empty.
        out_features: size of a last linear layer without activation; none by default.
        activation: name in ``ACTIVATIONS``.
        dropout: probability of dropping a hidden unit.

    Raises:
        ConfigError: the activation is unknown, or the dropout is not a probability.
    """

    def __init__(
        self,
        in_features: int,
        hidden: Sequence[int] = (),
        out_features: int | None = None,
        *,
        activation: str = "tanh",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ConfigError(f"there is no activation '{activation}'; there are {', '.join(ACTIVATIONS)}")
        _check_probability(dropout)
        sizes = [in_features, *hidden, *([] if out_features is None else [out_features])]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.hidden_layers = len(hidden)
        self.activation = activation
        self.dropout = dropout
        self.out_features = sizes[-1]
        # torch's own default keeps a third of the variance at each layer: in a deep decoder of tanh units the signal
        # dies, and training stays for long where z carries nothing.
        gain = nn.init.calculate_gain(activation) if activation in ("tanh", "relu", "leaky_relu") else math.sqrt(2.0)  # type: ignore[arg-type]
        for layer in self._linears()[: self.hidden_layers]:
            nn.init.xavier_uniform_(layer.weight, gain)
            nn.init.zeros_(layer.bias)

    @property
    def first(self) -> nn.Parameter:
        """The weight of the first layer."""
        return cast(nn.Parameter, self._linears()[0].weight)

    def _linears(self) -> list[nn.Linear]:
        return cast(list[nn.Linear], list(self.layers))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., in_features)`` to ``(..., out_features)``."""
        for index, layer in enumerate(self.layers):
            x = layer(x)
            if index < self.hidden_layers:
                x = F.dropout(ACTIVATIONS[self.activation](x), self.dropout, self.training)
        return x


class Recurrent(nn.Module):
    """The weights of an LSTM, GRU or tanh RNN of any direction; a program runs it (:mod:`dynvae.recurrence`).

    A backward run starts at each sequence's own last frame. A bidirectional layer gives ``[forward, backward]``.

    Args:
        in_features: size of a frame.
        hidden: size of the state, for each direction.
        layers: number of layers.
        direction: ``"forward"`` (sees the past), ``"backward"`` (sees the future) or ``"both"``.
        cell: ``"lstm"``, ``"gru"`` or ``"rnn"`` (tanh).
        dropout: between layers.

    Raises:
        ConfigError: there is no layer, or the dropout is not a probability.
    """

    def __init__(
        self,
        in_features: int,
        hidden: int,
        *,
        layers: int = 1,
        direction: Direction = "forward",
        cell: Literal["lstm", "gru", "rnn"] = "lstm",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if layers < 1:
            raise ConfigError(f"a recurrent network has at least one layer, not {layers}")
        _check_probability(dropout)
        make = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[cell]
        self.directions = {"forward": (False,), "backward": (True,), "both": (False, True)}[direction]
        self.out_features = hidden * len(self.directions)
        sizes = [in_features] + [self.out_features] * (layers - 1)
        self.layers = nn.ModuleList(
            nn.ModuleList(make(size, hidden, batch_first=True) for _ in self.directions) for size in sizes
        )
        self.dropout = dropout
        self.cell = cell
        self.hidden = hidden


def _check_probability(dropout: float) -> None:
    if not 0 <= dropout <= 1:
        raise ConfigError(f"dropout is a probability, not {dropout}")
