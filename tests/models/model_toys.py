"""Every preset in a size at which the whole contract is checked in a second or two."""

from __future__ import annotations

from typing import Any

import torch

from dynvae.models import DVAE, build

X_DIM, Z_DIM = 5, 3

SMALL: dict[str, dict[str, Any]] = {
    "vae": {"hidden": (7,)},
    "dkf": {"x_hidden": (6,), "rnn": 5, "z_hidden": (4,), "encoder_hidden": (6,), "decoder_hidden": (6,)},
    "kvae": {"state_dim": 3, "mixtures": 2, "encoder_hidden": (6,), "mixture_rnn": 4, "decoder_hidden": (6,)},
    "storn": {
        "x_hidden": (6,), "encoder_rnn": 5, "encoder_hidden": (6,), "z_hidden": (4,), "past_hidden": (6,),
        "decoder_rnn": 5, "decoder_hidden": (6,),
    },
    "vrnn": {
        "x_hidden": (6,), "z_hidden": (4,), "rnn": 5, "encoder_hidden": (6,), "prior_hidden": (5,),
        "decoder_hidden": (6,),
    },
    "srnn": {
        "x_hidden": (6,), "forward_rnn": 5, "hx_hidden": (6,), "backward_rnn": 5, "encoder_hidden": (6,),
        "prior_hidden": (5,), "decoder_hidden": (6,),
    },
    "rvae": {
        "x_hidden": (6,), "x_rnn": 5, "z_hidden": (4,), "z_rnn": 4, "encoder_hidden": (6,), "latent_hidden": (4,),
        "decoder_rnn": 5, "decoder_hidden": (6,),
    },
    "dsae": {
        "v_dim": 2, "x_hidden": (6,), "v_rnn": 4, "v_hidden": (5,), "z_rnn": 4, "z_hidden": (5,), "encoder_rnn": 4,
        "prior_rnn": 4, "decoder_hidden": (6,),
    },
    "hit": {"w_dim": 1, "model_dim": 4, "layers": 1, "heads": 2, "feed_forward": 5, "w_rnn": 3},
}  # fmt: skip
SMALL["rvae-causal"] = SMALL["rvae"]
SMALL["av-cvae"] = {"v_dim": 4, "v_hidden": (6,), "hidden": (7,), "prior_hidden": (5,)}
SMALL["v-vae"] = SMALL["av-vae"] = SMALL["av-cvae"]
SMALL["min-vae"] = {"v_dim": 4, "v_hidden": (6,), "hidden": (7,)}
SMALL["av-dkf"] = SMALL["dkf"] | {"v_dim": 4, "v_hidden": (6,)}
SMALL["vq-vae"] = {"hidden": 4, "residual_hidden": 3, "codes": 6}
SMALL["mvae"] = SMALL["mopoe"] = {"x_dim": [3, 2], "hidden": (6,)}
SMALL["mmvae"] = SMALL["mvae"] | {"input_transform": "log"}
SMALL["mdvae"] = {
    "x_dim": [3, 2], "z_dim": 2, "w_dim": 2, "private_dim": 1, "x_hidden": (6,), "w_rnn": 4, "w_hidden": (5,),
    "prior_rnn": 4, "prior_hidden": (5,), "encoder_hidden": (6,), "decoder_hidden": (6,), "input_transform": "log",
}  # fmt: skip
SMALL["vsc"] = SMALL["sdm-vae"] = SMALL["vae"]
SMALL["sdm-srnn"] = SMALL["srnn"]
SMALL |= dict.fromkeys(("light", "light-reported", "light-inv-s", "light-inv-s-nr"), SMALL["hit"])


def bare(name: str) -> dict[str, Any]:
    """The same with every optional hidden layer left out."""
    return {key: () if isinstance(value, tuple) else value for key, value in SMALL[name].items()}


def small(name: str, *, seed: int = 0, **changes: Any) -> DVAE:
    """A preset with few units and repeatable weights; the global generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(name, **{"x_dim": X_DIM, "z_dim": Z_DIM, **SMALL[name], **changes})
