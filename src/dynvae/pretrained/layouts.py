"""The published layouts of weights: how they name their layers, and where these go in ours.

Three families of files are known: those of the DVAE benchmark (Girin et al., 2021; Bie et al., 2021, 2022), those of
the first RVAE (Leglaive et al., 2020), and those of MixDVAE (Lin et al., 2023), which have other names for the same. A
file holds no settings; the sizes are told by the shapes, and what no shape tells is looked up by
:mod:`dynvae.pretrained.published`.

Three things are more than a change of name:

* mean and log-variance are two linear layers there and one of twice the size here, mean first;
* the bidirectional LSTM over x of the non-causal RVAE runs on the sequence reversed in time, so that ``_l0`` is its
  backward direction and ``_l0_reverse`` its forward one, and whoever reads its output finds the halves swapped;
* the output layer is ``gen_out`` or ``gen_x`` in some versions and ``gen_logvar`` in others; boxes have a mean, too.
"""

from __future__ import annotations

__all__ = ["LAYOUTS", "OTHER_NAMES", "Dense", "Layout", "Recurrence"]

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Dense:
    """A network of linear layers: ``theirs.linear0``, ``theirs.linear1``, ..., then the layers of ``last`` in one.

    The sizes of the hidden layers are given to the constructor as ``argument``. ``layers`` names them otherwise.
    """

    ours: str
    theirs: str
    argument: str | None
    last: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()


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
    """A published class: ``model`` is its name here, ``signs`` are modules that only its files have or lack (``-``).

    ``arguments`` are those of the constructor that all its files have in common.
    """

    model: str
    signs: tuple[str, ...]
    networks: tuple[Dense | Recurrence, ...]
    linear: tuple[tuple[str, str], ...] = ()
    posterior: str = "inf"
    output: str = "gen_logvar"
    arguments: tuple[tuple[str, Any], ...] = ()


_Q, _P, _OUT = ("inf_mean", "inf_logvar"), ("prior_mean", "prior_logvar"), ("gen_logvar",)
_QZ, _PZ = ("inf_z_mean", "inf_z_logvar"), ("prior_z_mean", "prior_z_logvar")

_V = "zprior_mean_layer", "zprior_logvar_layer"

LAYOUTS = (
    Layout(
        "av-cvae",
        ("layer_mix_encoder", "zprior_mean_layer"),
        (
            Dense("views.encoder.net", "", "v_hidden", layers=("encoder_layerV",)),
            Dense("views.prior.net", "", None, layers=("prior_layerV",)),
            Dense("views.decoder.net", "", None, layers=("decoder_layerV",)),
            Dense("x_net", "mlp_x_z", "x_hidden"),
            Dense("z_net", "mlp_z_x", "z_hidden"),
            Dense("encoder", "", "hidden", _Q, layers=("layer_mix_encoder",)),
            Dense("prior_net", "", "prior_hidden", _V),
            Dense("decoder", "", None, _OUT, layers=("layer_mix_decoder",)),
        ),
        arguments=(("views", "own"), ("v_activation", "tanh")),
    ),
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
        ("rnn_g", "rnn_h", "-prior_mean", "-prior_z_mean"),
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
    Layout(  # MixDVAE: a source of sound
        "srnn",
        ("rnn_g", "rnn_h", "prior_z_mean"),
        (
            Dense("x_net", "mlp_x_h", "x_hidden"),
            Recurrence("forward_rnn", "rnn_h", "forward_rnn"),
            Dense("hx_net", "mlp_hx_g", "hx_hidden"),
            Recurrence("backward_rnn", "rnn_g", "backward_rnn"),
            Dense("encoder", "mlp_gz_z", "encoder_hidden", _QZ),
            Dense("prior_net", "mlp_hz_z", "prior_hidden", _PZ),
            Dense("decoder", "mlp_hz_x", "decoder_hidden", _OUT),
        ),
        posterior="inf_z",
    ),
    Layout(  # MixDVAE: a box that moves
        "srnn",
        ("-rnn_g", "rnn_h", "prior_z_mean", "gen_x_mean"),
        (
            Dense("x_net", "mlp_x_h", "x_hidden"),
            Recurrence("forward_rnn", "rnn_h", "forward_rnn"),
            Dense("encoder", "mlp_gz_z", "encoder_hidden", _QZ),
            Dense("prior_net", "mlp_hz_z", "prior_hidden", _PZ),
            Dense("decoder", "mlp_hz_x", "decoder_hidden", ("gen_x_mean", "gen_x_logvar")),
        ),
        posterior="inf_z",
        output="gen_x_mean",
        arguments=(("hx_hidden", []), ("backward_rnn", 0), ("likelihood", "gaussian")),
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
            Dense("encoder", "", None, _QZ),
            Recurrence("prior_rnn", "rnn_prior", "prior_rnn"),
            Dense("prior_net", "", None, _P),
            Dense("decoder", "mlp_vz_x", "decoder_hidden", _OUT),
        ),
        posterior="inf_z",
    ),
)

OTHER_NAMES = (
    (r"(mlp_\w+)\.linear_(\d+)\.", r"\1.linear\2."),  # in files of Lin et al. (2023)
    (r"gen_x\.", "gen_logvar."),
    # in files of Leglaive et al. (2020)
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
