"""The networks that the models are made of, and how sequences of unequal length go through them."""

from __future__ import annotations

__all__ = ["MLP", "CellState", "Direction", "Recurrent", "full_precision", "reverse_valid", "shift", "time_mask"]

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dynvae.errors import ConfigError

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh, "relu": nn.ReLU, "elu": nn.ELU, "gelu": nn.GELU, "silu": nn.SiLU, "leaky_relu": nn.LeakyReLU
}  # fmt: skip

Direction = Literal["forward", "backward", "both"]
"""Which way a recurrent network runs in time: it sees the past, the future, or both."""

CellState = tuple[Tensor, ...]
"""Hidden states of all layers, then (for an LSTM) their cell states: each ``(batch, hidden)``."""


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

    The input of a network inside a recursion is often ``[known for all frames, recursive]``.
    :meth:`hoist` computes the first layer's share of the known part for all frames in one product, so that only
    the recursive share stays in the loop: ``mlp(torch.cat([x, z], -1)) == mlp(z, hoisted=mlp.hoist(x))``.

    Hidden layers start as Glorot and Bengio (2010) propose, with the activation's gain.

    Args:
        in_features: size of the input.
        hidden: sizes of the hidden layers; may be empty.
        out_features: size of a last linear layer without activation; none by default.
        activation: name in ``ACTIVATIONS``.
        dropout: probability of dropping a hidden unit.

    Raises:
        ConfigError: the activation is unknown.
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
        sizes = [in_features, *hidden, *([] if out_features is None else [out_features])]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.hidden_layers = len(hidden)
        self.activation = ACTIVATIONS[activation]()
        self.dropout = nn.Dropout(dropout)
        self.out_features = sizes[-1]
        # torch's own default keeps a third of the variance at each layer: in a deep decoder of tanh units the signal
        # dies, and training stays for long where z carries nothing.
        gain = nn.init.calculate_gain(activation) if activation in ("tanh", "relu", "leaky_relu") else math.sqrt(2.0)  # type: ignore[arg-type]
        for layer in self._linears()[: self.hidden_layers]:
            nn.init.xavier_uniform_(layer.weight, gain)
            nn.init.zeros_(layer.bias)

    def _linears(self) -> list[nn.Linear]:
        return cast(list[nn.Linear], list(self.layers))

    def hoist(self, known: Tensor) -> Tensor:
        """The first layer's product with its first ``known.shape[-1]`` inputs, and its bias."""
        if not len(self.layers):
            return known
        first = self._linears()[0]
        return F.linear(known, first.weight[:, : known.shape[-1]], first.bias)

    def forward(self, x: Tensor, hoisted: Tensor | None = None) -> Tensor:
        """Map ``(..., in_features)`` to ``(..., out_features)``; with ``hoisted``, x is only what hoist did not see."""
        if hoisted is not None and not len(self.layers):
            return torch.cat([hoisted, x], dim=-1)
        for index, layer in enumerate(self._linears()):
            if index == 0 and hoisted is not None:
                x = hoisted + F.linear(x, layer.weight[:, layer.in_features - x.shape[-1] :])
            else:
                x = layer(x)
            if index < self.hidden_layers:
                x = self.dropout(self.activation(x))
        return x


class Recurrent(nn.Module):
    """LSTM or tanh RNN over ``(batch, time, feature)``, in any direction, that knows about padding.

    A backward run starts at each sequence's own last frame. A bidirectional layer gives ``[forward, backward]``.
    Unlike :class:`torch.nn.LSTM` it needs no packing, and it can be run one frame at a time (:meth:`step`).

    Args:
        in_features: size of a frame.
        hidden: size of the state, for each direction.
        layers: number of layers.
        direction: ``"forward"`` (sees the past), ``"backward"`` (sees the future) or ``"both"``.
        cell: ``"lstm"`` or ``"rnn"`` (tanh).
        dropout: between layers.

    Raises:
        ConfigError: there is no layer.
    """

    def __init__(
        self,
        in_features: int,
        hidden: int,
        *,
        layers: int = 1,
        direction: Direction = "forward",
        cell: Literal["lstm", "rnn"] = "lstm",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if layers < 1:
            raise ConfigError(f"a recurrent network has at least one layer, not {layers}")
        make = {"lstm": nn.LSTM, "rnn": nn.RNN}[cell]
        self.directions = {"forward": (False,), "backward": (True,), "both": (False, True)}[direction]
        self.out_features = hidden * len(self.directions)
        sizes = [in_features] + [self.out_features] * (layers - 1)
        self.layers = nn.ModuleList(
            nn.ModuleList(make(size, hidden, batch_first=True) for _ in self.directions) for size in sizes
        )
        self.dropout = nn.Dropout(dropout)
        self.cell = cell
        self.hidden = hidden

    def _runs(self) -> list[list[Any]]:
        """The :class:`torch.nn.LSTM` or :class:`torch.nn.RNN` of each layer and direction."""
        return [list(layer) for layer in cast(list[nn.ModuleList], list(self.layers))]

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Run over whole sequences: ``(batch, time, in_features)`` to ``(batch, time, out_features)``."""
        for index, layer in enumerate(self._runs()):
            if index:
                x = self.dropout(x)
            runs = []
            for run, backward in zip(layer, self.directions, strict=True):
                source = reverse_valid(x, lengths) if backward else x
                out = run(source)[0]
                runs.append(reverse_valid(out, lengths) if backward else out)
            x = runs[0] if len(runs) == 1 else torch.cat(runs, dim=-1)
        return x

    def last(self, out: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The state in which each direction ends: from the output of :meth:`forward` to ``(batch, out_features)``."""
        if lengths is None:
            ends = out[:, -1]
        else:
            index = (lengths - 1).clamp(min=0).view(-1, 1, 1).expand(-1, 1, out.shape[-1])
            ends = out.gather(1, index).squeeze(1)
        parts = zip(ends.split(self.hidden, -1), out[:, 0].split(self.hidden, -1), self.directions, strict=True)
        return torch.cat([begin if backward else end for end, begin, backward in parts], dim=-1)

    def start(self, batch: int, like: Tensor | None = None) -> CellState:
        """The zero state of a run of ``batch`` sequences, in the type and place of ``like`` (default: the weights)."""
        like = self._runs()[0][0].weight_hh_l0 if like is None else like
        zero = like.new_zeros(batch, self.hidden)
        return (zero,) * (len(self.layers) * (2 if self.cell == "lstm" else 1))

    def hoist(self, known: Tensor) -> Tensor:
        """The first layer's gate pre-activations from its first ``known.shape[-1]`` inputs, and its biases."""
        run = self._runs()[0][0]
        return F.linear(known, run.weight_ih_l0[:, : known.shape[-1]], run.bias_ih_l0 + run.bias_hh_l0)

    def step(self, x: Tensor, state: CellState, hoisted: Tensor | None = None) -> tuple[Tensor, CellState]:
        """Take one frame ``(batch, in_features)``; with ``hoisted``, x is only what :meth:`hoist` did not see.

        Raises:
            ValueError: the run is not forward in time.
        """
        if self.directions != (False,):
            raise ValueError("only a forward run can be stepped: the others need the future")
        count = len(self.layers)
        hidden, cells = list(state[:count]), list(state[count:])
        for index, (run,) in enumerate(self._runs()):
            if index:
                x = self.dropout(x)
            weights = (run.weight_ih_l0, run.weight_hh_l0, run.bias_ih_l0, run.bias_hh_l0)
            if index == 0 and hoisted is not None:
                drive = hoisted + F.linear(x, weights[0][:, run.input_size - x.shape[-1] :])
                drive = drive + F.linear(hidden[0], weights[1])
                if self.cell == "lstm":
                    hidden[0], cells[0] = _lstm_gates(drive, cells[0])
                else:
                    hidden[0] = drive.tanh()
            elif self.cell == "lstm":
                hidden[index], cells[index] = torch.lstm_cell(x, (hidden[index], cells[index]), *weights)
            else:
                hidden[index] = torch.rnn_tanh_cell(x, hidden[index], *weights)
            x = hidden[index]
        return x, (*hidden, *cells)


def _lstm_gates(drive: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden and cell state from the four gates' pre-activations (Hochreiter and Schmidhuber, 1997; Gers, 2000)."""
    into, keep, candidate, out = drive.chunk(4, dim=-1)
    cell = keep.sigmoid() * cell + into.sigmoid() * candidate.tanh()
    return out.sigmoid() * cell.tanh(), cell
