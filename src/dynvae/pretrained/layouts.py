"""The published layouts of weights: how they name their layers, and where these go in ours.

Two families of files are known: those of the DVAE benchmark (Girin et al., 2021; Bie et al., 2021, 2022) and those of
the first RVAE (Leglaive et al., 2020), which has other names for the same. A file holds no settings; the sizes are
told by the shapes.

Three things are more than a change of name:

* mean and log-variance are two linear layers there and one of twice the size here, mean first;
* the bidirectional LSTM over x of the non-causal RVAE runs on the sequence reversed in time, so that ``_l0`` is its
  backward direction and ``_l0_reverse`` its forward one, and whoever reads its output finds the halves swapped;
* the output layer is ``gen_out`` in some versions and ``gen_logvar`` in others.
"""

from __future__ import annotations

__all__ = ["translate"]

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dynvae.errors import CheckpointError

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Dense:
    """A network of linear layers: ``theirs.linear0``, ``theirs.linear1``, ..., then the layers of ``last`` in one.

    The sizes of the hidden layers are given to the constructor as ``argument``.
    """

    ours: str
    theirs: str
    argument: str | None
    last: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recurrence:
    """An LSTM or RNN, whose size is given to the constructor as ``argument``.

    Where a bidirectional one runs on the reversed sequence, ``flipped_for`` is the network that reads its output.
    """

    ours: str
    theirs: str
    argument: str
    flipped_for: str = ""


@dataclass(frozen=True)
class Layout:
    """A published class: ``model`` is its name here, ``signs`` are modules that only its files have or lack (``-``)."""

    model: str
    signs: tuple[str, ...]
    networks: tuple[Dense | Recurrence, ...]
    linear: tuple[tuple[str, str], ...] = ()
    posterior: str = "inf"


_Q, _P, _OUT = ("inf_mean", "inf_logvar"), ("prior_mean", "prior_logvar"), ("gen_logvar",)

LAYOUTS = (
    Layout(
        "vae",
        ("-rnn", "-rnn_h", "-rnn_gx", "-rnn_g", "-rnn_prior", "inf_mean", "gen_logvar"),
        (Dense("encoder", "mlp_x_z", "hidden", _Q), Dense("decoder", "mlp_z_x", None, _OUT)),
    ),
    Layout(
        "dkf",
        ("rnn_gx",),
        (
            Dense("x_net", "mlp_x_gx", "x_hidden"),
            Recurrence("x_rnn", "rnn_gx", "rnn"),
            Dense("z_net", "mlp_ztm1_g", "z_hidden", ("mlp_ztm1_g.linear_last",)),
            Dense("encoder", "mlp_g_z", "encoder_hidden", _Q),
            Dense("decoder", "mlp_z_x", "decoder_hidden", _OUT),
        ),
        (
            ("transition.gate.layers.0", "mlp_gate.linear1"),
            ("transition.gate.layers.1", "mlp_gate.linear2"),
            ("transition.proposal.layers.0", "mlp_z_prop.linear1"),
            ("transition.proposal.layers.1", "mlp_z_prop.linear2"),
            ("transition.mean", "prior_mean"),
            ("transition.variance", "prior_logvar.1"),
        ),
    ),
    Layout(
        "storn",
        ("rnn_g", "rnn_h", "-prior_mean"),
        (
            Dense("x_net", "mlp_x_g", "x_hidden"),
            Recurrence("encoder_rnn", "rnn_g", "encoder_rnn"),
            Dense("encoder", "mlp_g_z", "encoder_hidden", _Q),
            Dense("z_net", "mlp_z_h", "z_hidden"),
            Dense("past_net", "mlp_xtm1_h", "past_hidden"),
            Recurrence("decoder_rnn", "rnn_h", "decoder_rnn"),
            Dense("decoder", "mlp_h_x", "decoder_hidden", _OUT),
        ),
    ),
    Layout(
        "vrnn",
        ("rnn",),
        (
            Dense("x_net", "feature_extractor_x", "x_hidden"),
            Dense("z_net", "feature_extractor_z", "z_hidden"),
            Recurrence("rnn", "rnn", "rnn"),
            Dense("encoder", "mlp_hx_z", "encoder_hidden", _Q),
            Dense("prior_net", "mlp_h_z", "prior_hidden", _P),
            Dense("decoder", "mlp_hz_x", "decoder_hidden", _OUT),
        ),
    ),
    Layout(  # also the class that was made for scheduled sampling
        "srnn",
        ("rnn_g", "rnn_h", "prior_mean"),
        (
            Dense("x_net", "mlp_x_h", "x_hidden"),
            Recurrence("forward_rnn", "rnn_h", "forward_rnn"),
            Dense("hx_net", "mlp_hx_g", "hx_hidden"),
            Recurrence("backward_rnn", "rnn_g", "backward_rnn"),
            Dense("encoder", "mlp_gz_z", "encoder_hidden", _Q),
            Dense("prior_net", "mlp_hz_z", "prior_hidden", _P),
            Dense("decoder", "mlp_hz_x", "decoder_hidden", _OUT),
        ),
    ),
    Layout(
        "rvae",
        ("rnn_g_x", "rnn_g_z", "rnn_h"),
        (
            Dense("x_net", "mlp_x_gx", "x_hidden"),
            Dense("z_net", "mlp_z_gz", "z_hidden"),
            Recurrence("z_rnn", "rnn_g_z", "z_rnn"),
            Dense("encoder", "mlp_g_z", "encoder_hidden", _Q),
            Recurrence("x_rnn", "rnn_g_x", "x_rnn", flipped_for="encoder"),
            Dense("latent_net", "mlp_z_h", "latent_hidden"),
            Recurrence("decoder_rnn", "rnn_h", "decoder_rnn"),
            Dense("decoder", "mlp_h_x", "decoder_hidden", _OUT),
        ),
    ),
    Layout(
        "dsae",
        ("rnn_g_v", "rnn_g_xv", "rnn_prior"),
        (
            Dense("x_net", "mlp_x", "x_hidden"),
            Recurrence("v_rnn", "rnn_g_v", "v_rnn"),
            Dense("v_encoder", "mlp_gv_v", "v_hidden", ("inf_v_mean", "inf_v_logvar")),
            Recurrence("z_rnn", "rnn_g_xv", "z_rnn"),
            Dense("z_net", "mlp_gxv_gz", "z_hidden"),
            Recurrence("encoder_rnn", "rnn_g_z", "encoder_rnn"),
            Dense("encoder", "", None, ("inf_z_mean", "inf_z_logvar")),
            Recurrence("prior_rnn", "rnn_prior", "prior_rnn"),
            Dense("prior_net", "", None, _P),
            Dense("decoder", "mlp_vz_x", "decoder_hidden", _OUT),
        ),
        posterior="inf_z",
    ),
)

_OLDER_NAMES = (  # in files of Leglaive et al. (2020)
    (r"encoder_layers\.(\d+)\.", r"mlp_x_z.linear\1."),
    (r"decoder_layers\.(\d+)\.", r"mlp_z_x.linear\1."),
    (r"latent_(mean|logvar)_layer\.", r"inf_\1."),
    (r"output_layer\.", "gen_logvar."),
    (r"enc_rnn_s\.", "rnn_g_x."),
    (r"enc_rnn_z\.", "rnn_g_z."),
    (r"enc_dense\.", "mlp_g_z."),
    (r"enc_(mean|logvar)\.", r"inf_\1."),
    (r"dec_rnn\.", "rnn_h."),
    (r"dec_logvar\.", "gen_logvar."),
    (r"gen_out\.", "gen_logvar."),
)


def translate(published: Weights) -> tuple[str, dict[str, Any], Weights]:
    """The model of a published state dict.

    Args:
        published: its weights, by the published names.

    Returns:
        Name of the model in the registry, the arguments of its constructor that the shapes tell, its weights.

    Raises:
        CheckpointError: the layout is unknown, incomplete, or one that no model here can have.
    """
    weights = {_newer_name(key): value for key, value in published.items()}
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
        "x_dim": len(source["gen_logvar.bias"]),
        "z_dim": len(source[f"{layout.posterior}_mean.bias"]),
    }
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


def _newer_name(key: str) -> str:
    for pattern, name in _OLDER_NAMES:
        if re.match(pattern, key):
            return re.sub("^" + pattern, name, key)
    return key


def _dense(source: _Source, network: Dense, state: Weights) -> list[int]:
    """Move the layers of a network; the sizes of its hidden ones."""
    sizes: list[int] = []
    while f"{network.theirs}.linear{len(sizes)}.weight" in source:
        layer = len(sizes)
        for part in ("weight", "bias"):
            state[f"{network.ours}.layers.{layer}.{part}"] = source.take(f"{network.theirs}.linear{layer}.{part}")
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
