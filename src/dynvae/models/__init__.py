"""The zoo: every member of the family, by name."""

from __future__ import annotations

__all__ = [
    "AVDKF",
    "CVAE",
    "DKF",
    "DSAE",
    "DVAE",
    "ELBO",
    "KVAE",
    "MDVAE",
    "MINVAE",
    "MVAE",
    "PRESETS",
    "RVAE",
    "SRNN",
    "STORN",
    "VAE",
    "VQVAE",
    "VRNN",
    "VSC",
    "ZOO",
    "Condition",
    "Continued",
    "Frame",
    "Generated",
    "HiTDVAE",
    "Latents",
    "LigHTDVAE",
    "Modalities",
    "MultimodalDVAE",
    "Posterior",
    "RecursiveDVAE",
    "build",
]

from difflib import get_close_matches
from typing import Any

from dynvae.condition import Condition
from dynvae.errors import ConfigError
from dynvae.models.base import DVAE, ELBO, Continued, Frame, Generated, Latents, Posterior
from dynvae.models.cvae import CVAE
from dynvae.models.dkf import AVDKF, DKF
from dynvae.models.dsae import DSAE
from dynvae.models.hit import HiTDVAE, LigHTDVAE
from dynvae.models.kvae import KVAE
from dynvae.models.mdvae import MDVAE
from dynvae.models.minvae import MINVAE
from dynvae.models.modalities import Modalities, MultimodalDVAE
from dynvae.models.mvae import MVAE
from dynvae.models.recursive import RecursiveDVAE
from dynvae.models.rvae import RVAE
from dynvae.models.srnn import SRNN
from dynvae.models.storn import STORN
from dynvae.models.vae import VAE
from dynvae.models.vqvae import VQVAE
from dynvae.models.vrnn import VRNN
from dynvae.models.vsc import VSC

ZOO: dict[str, type[DVAE]] = {
    "vae": VAE, "dkf": DKF, "kvae": KVAE, "storn": STORN, "vrnn": VRNN, "srnn": SRNN, "rvae": RVAE, "dsae": DSAE,
    "hit": HiTDVAE, "light": LigHTDVAE, "av-cvae": CVAE, "av-dkf": AVDKF,
    "min-vae": MINVAE,
    "vsc": VSC, "vq-vae": VQVAE, "mvae": MVAE, "mdvae": MDVAE,
}  # fmt: skip
"""The classes by name: the only ones that a configuration file can name."""

PRESETS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in ZOO},
    "rvae-causal": ("rvae", {"causal": True}),
    "sdm-vae": ("vae", {"latent": "sparse"}),
    "sdm-srnn": ("srnn", {"latent": "sparse"}),
    "v-vae": ("av-cvae", {"encoder": "v", "conditional_prior": False, "conditional_decoder": False}),
    "av-vae": ("av-cvae", {"conditional_prior": False}),
    "mmvae": ("mvae", {"experts": "mixture", "prior_expert": "never"}),
    "mopoe": ("mvae", {"experts": "mixture-of-products"}),
    "light-reported": ("light", {"projection": True}),
    "light-inv-s": ("light", {"ablation": "inv-s"}),
    "light-inv-s-nr": ("light", {"ablation": "inv-s-nr"}),
}
"""Named settings, as (class, arguments): the rows of the benchmark table."""


def build(name: str, **config: Any) -> DVAE:
    """Make a model by the name of its class or preset, with untrained weights.

    Args:
        name: a key of :data:`ZOO` or :data:`PRESETS`.
        config: arguments of the constructor; they win over the preset's.

    Raises:
        ConfigError: there is no such model, or it does not take such an argument.

    Example:
        >>> build("rvae-causal", x_dim=257).dependencies.causal
        True
    """
    if name not in PRESETS:
        near = get_close_matches(name, PRESETS, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(PRESETS)}"
        raise ConfigError(f"there is no model '{name}'; {hint}")
    kind, preset = PRESETS[name]
    try:
        return ZOO[kind](**{**preset, **config})
    except TypeError as error:
        raise ConfigError(f"{name}: {error}") from error
