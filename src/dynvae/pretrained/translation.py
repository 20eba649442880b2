"""From the published names and arrangement of weights to ours; :mod:`dynvae.pretrained.layouts` says which they are."""

from __future__ import annotations

__all__ = ["translate"]

import re
from typing import Any

import torch
from torch import Tensor

from dynvae.errors import CheckpointError
from dynvae.pretrained.codecs import is_codec, translate_codec
from dynvae.pretrained.layouts import LAYOUTS, OTHER_NAMES, Dense, Recurrence

Weights = dict[str, Tensor]


def translate(published: Weights) -> tuple[str, dict[str, Any], Weights]:
    """The model of a published state dict.

    Args:
        published: its weights, by the published names.

    Returns:
        Name of the model in the registry, the arguments of its constructor that the shapes tell, its weights.

    Raises:
        CheckpointError: the layout is unknown, incomplete, or one that no model here can have.
    """
    if is_codec(published):
        return translate_codec(published)
    weights = {_common_name(key): value for key, value in published.items()}
    modules = {key.partition(".")[0] for key in weights}
    layout = next(
        (it for it in LAYOUTS if all((s.lstrip("-") in modules) != s.startswith("-") for s in it.signs)), None
    )
    if layout is None or len(weights) < len(published):
        raise CheckpointError(
            f"its {len(published)} weights ({', '.join(list(published)[:3])}, ...) are of no published layout known "
            f"here; known are those of {', '.join(it.model for it in LAYOUTS)}"
        )
    for key, value in weights.items():
        if value.dim() != (2 if "weight" in key.rpartition(".")[2] else 1):
            raise CheckpointError(f"'{key}' is {tuple(value.shape)}: a weight must be a matrix and a bias a vector")
    source = _Source(weights, layout.model)
    arguments: dict[str, Any] = {
        "x_dim": len(source[f"{layout.output}.bias"]),
        "z_dim": len(source[f"{layout.posterior}_mean.bias"]),
    }
    if layout.model == "av-cvae":
        arguments["v_dim"] = source["encoder_layerV.weight"].shape[1]
    if layout.model == "dsae":
        arguments["v_dim"] = len(source["inf_v_mean.bias"])
    state: Weights = {}
    runs: dict[str, tuple[int, bool]] = {}
    for network in layout.networks:
        if isinstance(network, Dense):
            sizes = _dense(source, network, state)
            if network.argument:
                arguments[network.argument] = sizes
        else:
            size, *runs[network.ours] = _recurrence(source, network, state)  # type: ignore[assignment]
            arguments[network.argument] = size
    for ours, theirs in layout.linear:
        for part in ("weight", "bias"):
            state[f"{ours}.{part}"] = source.take(f"{theirs}.{part}")
    if source.left:
        raise CheckpointError(
            f"its '{source.left[0]}' has no place in a {layout.model}; this variant has no equivalent here"
        )
    if runs:
        arguments |= _common(layout.model, runs)
    arguments |= dict(layout.arguments)
    return layout.model, arguments, state


class _Source:
    """Published weights, of which each is to be taken."""

    def __init__(self, weights: Weights, model: str) -> None:
        self.weights, self.model, self.taken = weights, model, set[str]()

    def __contains__(self, key: str) -> bool:
        return key in self.weights

    def __getitem__(self, key: str) -> Tensor:
        if key not in self.weights:
            raise CheckpointError(f"it looks like a {self.model}, but lacks '{key}'")
        return self.weights[key]

    def take(self, key: str) -> Tensor:
        self.taken.add(key)
        return self[key]

    @property
    def left(self) -> list[str]:
        return [key for key in self.weights if key not in self.taken]


def _common_name(key: str) -> str:
    for pattern, name in OTHER_NAMES:
        if re.match(pattern, key):
            return re.sub("^" + pattern, name, key)
    return key


def _dense(source: _Source, network: Dense, state: Weights) -> list[int]:
    """Move the layers of a network; the sizes of its hidden ones."""
    sizes: list[int] = []
    while True:
        layer = len(sizes)
        name = network.layers[layer] if layer < len(network.layers) else f"{network.theirs}.linear{layer}"
        if f"{name}.weight" not in source:
            break
        for part in ("weight", "bias"):
            state[f"{network.ours}.layers.{layer}.{part}"] = source.take(f"{name}.{part}")
        sizes.append(len(state[f"{network.ours}.layers.{layer}.bias"]))
    if network.last:
        for part in ("weight", "bias"):
            parts = [source.take(f"{name}.{part}") for name in network.last]
            if len({tensor.shape for tensor in parts}) > 1:
                raise CheckpointError(f"the shapes of {' and '.join(network.last)} differ")
            state[f"{network.ours}.layers.{len(sizes)}.{part}"] = torch.cat(parts)
    return sizes


def _recurrence(source: _Source, network: Recurrence, state: Weights) -> tuple[int, int, bool]:
    """Move the layers of a recurrent network; its size, number of layers, and whether it is bidirectional."""
    size, layers = source[f"{network.theirs}.weight_hh_l0"].shape[1], 0
    both = f"{network.theirs}.weight_hh_l0_reverse" in source
    flipped = both and bool(network.flipped_for)
    while f"{network.theirs}.weight_hh_l{layers}" in source:
        for run in range(2 if both else 1):
            suffix = "_reverse" if run != flipped and both else ""
            for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                value = source.take(f"{network.theirs}.{part}_l{layers}{suffix}")
                if flipped and part == "weight_ih" and layers:
                    value = _swap_halves(value, size)
                state[f"{network.ours}.layers.{layers}.{run}.{part}_l0"] = value
        layers += 1
    if flipped:
        reader = f"{network.flipped_for}.layers.0.weight"
        state[reader] = _swap_halves(state[reader], size)
    return size, layers, both


def _swap_halves(weight: Tensor, size: int) -> Tensor:
    """The weight for an input whose first two blocks of so many features have changed places."""
    return torch.cat([weight[:, size : 2 * size], weight[:, :size], weight[:, 2 * size :]], dim=1)


def _common(model: str, runs: dict[str, tuple[int, bool]]) -> dict[str, Any]:
    """The arguments that all recurrent networks of a model share."""
    counts = {count for count, _ in runs.values()}
    if len(counts) > 1:
        raise CheckpointError(
            f"its recurrent networks have {sorted(counts)} layers; here all of a {model} have as many"
        )
    arguments: dict[str, Any] = {"rnn_layers": counts.pop()}
    if model == "dkf":
        arguments["bidirectional"] = runs["x_rnn"][1]
    if model == "rvae":
        if runs["x_rnn"][1] != runs["decoder_rnn"][1]:
            raise CheckpointError("only one of its encoder and decoder is bidirectional; here an RVAE has both or none")
        arguments["causal"] = not runs["decoder_rnn"][1]
    return arguments
