"""The Transformer that hierarchical DVAEs are made of, for whole sequences and, with caches, frame by frame.

There is one way through a decoder: some new frames are appended to those of the caches. A whole sequence is the case
of empty caches; a frame of generation that of one new frame, whose keys and values alone are computed.
"""

from __future__ import annotations

__all__ = ["Attention", "Caches", "Decoder", "Encoder", "Grown", "Positions", "positional_encoding", "rotated"]

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dynvae.errors import ConfigError
from dynvae.nn import MLP, time_mask

Positions = Literal["absolute", "relative"]

_LEAST_ROOM = 32


@dataclass(frozen=True)
class Grown:
    """A sequence that grows at its end, at the cost of what is new.

    The frames lie in a larger tensor, whose room is doubled when it is used up. A sequence that has been continued can
    be continued otherwise: the second time its frames are copied first, so that neither disturbs the other.

    Attributes:
        store: ``(batch, room, feature)``.
        length: how many of its frames are this sequence's.
        written: one number: how many of its frames are anybody's.
    """

    store: Tensor
    length: int
    written: list[int]

    @classmethod
    def of(cls, frames: Tensor) -> Grown:
        """The sequence of these frames, ``(batch, time, feature)``."""
        return cls(frames, frames.shape[1], [frames.shape[1]])

    @property
    def frames(self) -> Tensor:
        """``(batch, time, feature)``."""
        return self.store[:, : self.length]

    def continued(self, at: int, new: Tensor) -> Grown:
        """The sequence whose frames from ``at`` on are these, ``(batch, time, feature)``."""
        watched = torch.is_grad_enabled() and (new.requires_grad or self.store.requires_grad)
        if watched or torch.compiler.is_exporting():  # what has a gradient, or is to be a graph, is not written over
            return self.of(torch.cat([self.store[:, :at], new], 1))
        stop = at + new.shape[1]
        if at == self.written[0] and stop <= self.store.shape[1]:
            store, written = self.store, self.written
        else:
            store = new.new_empty(new.shape[0], max(2 * stop, _LEAST_ROOM), new.shape[2])
            store[:, :at] = self.store[:, :at]
            written = [at]
        store[:, at:stop] = new
        written[0] = stop
        return Grown(store, stop, written)


Caches = dict[str, Grown]
"""Keys and values of the frames so far, side by side, by the name of the stream and the number of the layer."""


def _grow(caches: Caches, name: str, at: int, new: Tensor) -> Tensor:
    caches[name] = caches[name].continued(at, new) if at else Grown.of(new)
    return caches[name].frames


def positional_encoding(start: int, count: int, like: Tensor) -> Tensor:
    """The sinusoids of frames ``start``, ``start + 1``, ... (Vaswani et al., 2017), ``(count, size)``.

    The first half of the size are sines, the second cosines, of wavelengths from 2π to 10,000 · 2π.

    Args:
        start: the first frame.
        count: how many frames.
        like: has the size as its last axis, and the type and place.
    """
    dtype = torch.promote_types(like.dtype, torch.float32)
    frames = torch.arange(start, start + count, device=like.device, dtype=dtype).unsqueeze(-1)
    half = like.shape[-1] // 2
    rates = torch.exp(torch.arange(half, device=like.device, dtype=dtype) * (-math.log(10_000) / half))
    return torch.cat([(frames * rates).sin(), (frames * rates).cos()], -1).to(like.dtype)


def rotated(x: Tensor, start: int) -> Tensor:
    """Vectors turned by angles that grow with their frame, ``(batch, time, heads, size)``: rotary positions.

    The product of two of them depends on the distance of their frames, not on where they are (Su et al., 2021, eq. 34).

    Args:
        x: vectors of the frames ``start``, ``start + 1``, ..., an even number of features.
        start: the first frame.
    """
    sine, cosine = positional_encoding(start, x.shape[1], x).unsqueeze(1).chunk(2, -1)
    first, second = x.chunk(2, -1)
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], -1)


class Attention(nn.Module):
    """Scaled dot-product attention of several heads (Vaswani et al., 2017), its keys and values computed apart.

    Args:
        size: of all vectors.
        heads: number of heads, which divide the size between them.
        rotary: whether queries and keys know how far their frames are from each other (:func:`rotated`).
    """

    def __init__(self, size: int, heads: int, rotary: bool = False) -> None:
        super().__init__()
        self.heads, self.rotary = heads, rotary
        self.query = nn.Linear(size, size)
        self.remember = nn.Linear(size, 2 * size)
        self.out = nn.Linear(size, size)
        for weight in (self.query.weight, *self.remember.weight.chunk(2), self.out.weight):
            nn.init.xavier_uniform_(weight.data)
        for layer in (self.query, self.remember, self.out):
            nn.init.zeros_(layer.bias)

    def memory(self, x: Tensor, start: int = 0) -> Tensor:
        """Keys and values of the frames from ``start`` on, ``(batch, time, 2 · size)``."""
        kept = self.remember(x)
        if not self.rotary:
            return kept
        keys, values = kept.chunk(2, -1)
        return torch.cat([rotated(keys.unflatten(-1, (self.heads, -1)), start).flatten(2), values], -1)

    def forward(self, x: Tensor, memory: Tensor, start: int = 0, **masked: Any) -> Tensor:
        """What the frames from ``start`` on, ``(batch, time, size)``, find in a :meth:`memory`."""
        query = self.query(x).unflatten(-1, (self.heads, -1))
        query = (rotated(query, start) if self.rotary else query).transpose(1, 2)
        keys, values = memory.unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        found = F.scaled_dot_product_attention(query, keys, values, **masked)
        return self.out(found.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """Self-attention, attention to another stream (if it has one) and two dense layers, each in a residual branch."""

    def __init__(
        self,
        size: int,
        heads: int,
        feed_forward: int,
        *,
        crossed: bool,
        rotary: bool,
        rotary_memory: bool,
        pre_norm: bool,
        activation: str,
        dropout: float,
    ) -> None:
        super().__init__()
        self.pre_norm, self.dropout = pre_norm, dropout
        self.own = Attention(size, heads, rotary)
        self.own_norm = nn.LayerNorm(size)
        if crossed:
            self.cross = Attention(size, heads, rotary_memory)
            self.cross_norm = nn.LayerNorm(size)
        self.dense = MLP(size, (feed_forward,), size, activation=activation, dropout=dropout)
        self.dense_norm = nn.LayerNorm(size)

    def branch(self, norm: nn.Module, x: Tensor, function: Callable[[Tensor], Tensor], residual: bool = True) -> Tensor:
        """``norm(x + function(x))``, or ``x + function(norm(x))`` with pre-norm; ``x +`` only if residual."""
        out = F.dropout(function(norm(x) if self.pre_norm else x), self.dropout, self.training)
        out = x + out if residual else out
        return out if self.pre_norm else norm(out)


def _layers(size: int, layers: int, heads: int, feed_forward: int, **options: Any) -> tuple[nn.ModuleList, nn.Module]:
    """The layers, and what follows the last.

    Raises:
        ConfigError: the sizes do not fit.
    """
    if layers < 1 or feed_forward < 1:
        raise ConfigError(f"a Transformer has layers of some units, not {layers} of {feed_forward}")
    if heads < 1 or size < 1 or size % heads or size % 2:
        raise ConfigError(f"model_dim must be even and a multiple of the number of heads: {size} for {heads}")
    if options["rotary"] and size // heads % 2:
        raise ConfigError(f"with relative positions, model_dim over heads must be even: {size} over {heads}")
    stack = nn.ModuleList(Layer(size, heads, feed_forward, **options) for _ in range(layers))
    return stack, nn.LayerNorm(size) if options["pre_norm"] else nn.Identity()


class Encoder(nn.Module):
    """Every frame sees all frames.

    Args:
        features: size of a frame.
        size: of the layers' vectors.
        layers: number of layers.
        heads: number of heads.
        feed_forward: size of the hidden dense layer.
        positions: see :class:`~dynvae.models.hit.HiTDVAE`, as ``span``.
        span: a frame sees fewer than so many before and after it; 0 is all.
        options: ``pre_norm``, ``activation``, ``dropout``.
    """

    def __init__(
        self,
        features: int,
        size: int,
        layers: int,
        heads: int,
        feed_forward: int,
        *,
        positions: Positions,
        span: int,
        **options: Any,
    ) -> None:
        super().__init__()
        self.embedding = nn.Linear(features, size)
        self.span, self.rotary = span, positions == "relative"
        options |= {"crossed": False, "rotary": self.rotary, "rotary_memory": False}
        self.layers, self.norm = _layers(size, layers, heads, feed_forward, **options)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """From ``(batch, time, features)`` to ``(batch, time, size)``; nobody sees the padding."""
        mask = None if lengths is None else time_mask(lengths, x.shape[1])[:, None, None]
        if self.span:
            frames = torch.arange(x.shape[1], device=x.device)
            apart = (frames - frames.unsqueeze(-1)).abs()
            # A frame sees itself in any case: one of the padding may have nobody else.
            mask = apart < self.span if mask is None else (apart < self.span) & mask | (apart == 0)
        x = self.embedding(x)
        x = x if self.rotary else x + positional_encoding(0, x.shape[1], x)
        for layer in self.layers:
            assert isinstance(layer, Layer)

            def own(h: Tensor, layer: Layer = layer) -> Tensor:
                return layer.own(h, layer.own.memory(h), attn_mask=mask)

            x = layer.branch(layer.own_norm, x, own)
            x = layer.branch(layer.dense_norm, x, layer.dense)
        return self.norm(x)


class Decoder(nn.Module):
    """Every frame of one stream, which asks, sees the frames up to it of its own stream and of another, the memory.

    Args:
        z_features: size of a frame of the latent stream.
        x_features: size of a frame of the observed stream.
        size: of the layers' vectors.
        layers: number of layers.
        heads: number of heads.
        feed_forward: size of the hidden dense layer.
        positions: see :class:`~dynvae.models.hit.HiTDVAE`, as ``span``.
        span: a frame sees so many, itself included; 0 is all before it.
        memory_positions: whether the memory's frames know their place.
        projection: whether a linear layer follows.
        options: ``pre_norm``, ``activation``, ``dropout``.
    """

    def __init__(
        self,
        z_features: int,
        x_features: int,
        size: int,
        layers: int,
        heads: int,
        feed_forward: int,
        *,
        positions: Positions,
        span: int,
        memory_positions: bool,
        projection: bool,
        **options: Any,
    ) -> None:
        super().__init__()
        self.z_embedding = nn.Linear(z_features, size)
        self.x_embedding = nn.Linear(x_features, size)
        self.span, self.rotary, self.memory_positions = span, positions == "relative", memory_positions
        options |= {"crossed": True, "rotary": self.rotary, "rotary_memory": self.rotary and memory_positions}
        self.layers, self.norm = _layers(size, layers, heads, feed_forward, **options)
        self.projection = nn.Linear(size, size) if projection else nn.Identity()

    def forward(
        self,
        z: Tensor,
        x: Tensor,
        caches: Caches,
        start: int = 0,
        *,
        query: Literal["z", "x"],
        name: str,
        memory: str,
        residual: bool = True,
    ) -> Tensor:
        """Decode new frames.

        Args:
            z: the latent stream from frame ``start`` on, ``(batch, time, z_features)``.
            x: the observed stream from there on, ``(batch, time, x_features)``.
            caches: of the frames before ``start``; those of the new frames are put in.
            start: the number of frames before.
            query: the stream that asks; the other one is the memory.
            name: of the asking stream's caches.
            memory: of the memory's caches. Observed frames that are among them already are not computed again.
            residual: whether what a branch finds is added to what it was asked with, or replaces it.

        Returns:
            ``(batch, time, size)``.
        """
        count = z.shape[1]
        stop = start + count
        streams = {"z": lambda: self.z_embedding(z), "x": lambda: self.x_embedding(x)}
        h = streams[query]()
        places = 0 if self.rotary else positional_encoding(start, count, h)
        h = h + places
        known = caches.get(f"{memory}.0")
        other: Tensor | None = None
        if query == "x" or known is None or known.length < stop:  # laws share the observed stream alone
            other = streams["x" if query == "z" else "z"]()
            other = other + places if self.memory_positions else other
        first = max(0, start + 1 - self.span) if self.span else 0
        masked = _causal(start, count, first, self.span, h)
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)

            def own(h: Tensor, layer: Layer = layer, index: int = index) -> Tensor:
                seen = _grow(caches, f"{name}.{index}", start, layer.own.memory(h, start))
                return layer.own(h, seen[:, first:], start, **masked)

            def cross(h: Tensor, layer: Layer = layer, index: int = index) -> Tensor:
                if other is not None:
                    _grow(caches, f"{memory}.{index}", start, layer.cross.memory(other, start))
                return layer.cross(h, caches[f"{memory}.{index}"].store[:, first:stop], start, **masked)

            h = layer.branch(layer.own_norm, h, own, residual)
            h = layer.branch(layer.cross_norm, h, cross, residual)
            h = layer.branch(layer.dense_norm, h, layer.dense, residual)
        return self.projection(self.norm(h))


def _causal(start: int, count: int, first: int, span: int, like: Tensor) -> dict[str, Any]:
    """How attention keeps new frames from seeing later ones, and those of the frames from ``first`` on too far back."""
    if count == 1:
        return {}
    if start == 0 and not 0 < span < count:
        return {"is_causal": True}
    ones = torch.ones(count, start + count - first, dtype=torch.bool, device=like.device).tril(start - first)
    return {"attn_mask": ones.triu(start - first - span + 1) if span else ones}
