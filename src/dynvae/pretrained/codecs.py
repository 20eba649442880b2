"""The published VQ-VAEs of Sadok et al. (2024): how they name their layers, and where these go in ours."""

from __future__ import annotations

__all__ = ["is_codec", "translate_codec"]

from typing import Any

from torch import Tensor

from dynvae.errors import CheckpointError

_SPEECH = {
    "_encoder._conv_1": "encoder.0", "_encoder._conv_2": "encoder.2", "_encoder._conv_3": "encoder.4",
    "_decoder._conv_1": "decoder.0",
}  # fmt: skip
_PICTURES = {
    "_encoder._conv_1": "encoder.0", "_encoder._conv_2": "encoder.2", "_encoder._conv_2_add": "encoder.4",
    "_encoder._conv_3": "encoder.6", "_decoder._conv_1": "decoder.0",
}  # fmt: skip
_BLOCK = "_residual_stack._layers."
_CODEBOOK = {"_embedding.weight": "vectors", "_ema_w": "sums", "_ema_cluster_size": "counts"}
_PUBLISHED: dict[int, dict[str, Any]] = {3: {"x_dim": 513}, 4: {"x_dim": 3 * 64 * 64, "image": [3, 64, 64]}}
"""What no weight tells, by the number of axes of a convolution: the size of a frame."""


def is_codec(published: dict[str, Tensor]) -> bool:
    """Whether these are weights of such a model."""
    return "_vq_vae._embedding.weight" in published and "_encoder._conv_1.weight" in published


def translate_codec(published: dict[str, Tensor]) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """The model of a published state dict: see :func:`dynvae.pretrained.translation.translate`.

    Raises:
        CheckpointError: weights are missing, or there are more than the model has.
    """
    pictures = published["_encoder._conv_1.weight"].dim() == 4
    blocks = {key.split(_BLOCK)[1].partition(".")[0] for key in published if key.startswith("_encoder." + _BLOCK)}
    names = dict(_PICTURES if pictures else _SPEECH)
    after = len(blocks)
    first = 7 if pictures else 5
    for block in range(after):
        for side, start in (("encoder", first), ("decoder", 1)):
            for number, name in ((1, "first"), (3, "second")):
                names[f"_{side}.{_BLOCK}{block}._block.{number}"] = f"{side}.{start + block}.{name}"
    names["_pre_vq_conv"] = f"encoder.{first + after + 1}"
    middle = "_conv_trans_2_add" if pictures else "_conv_trans_2_bis"
    for place, name in zip((2, 4, 6), ("_conv_trans_1", middle, "_conv_trans_2"), strict=True):
        names[f"_decoder.{name}"] = f"decoder.{place + after}"
    state: dict[str, Tensor] = {}
    for key, value in published.items():
        module, _, part = key.rpartition(".")
        if module in names:
            state[f"{names[module]}.{part}"] = value
        elif key.startswith("_vq_vae.") and key.removeprefix("_vq_vae.") in _CODEBOOK:
            state[f"quantiser.{_CODEBOOK[key.removeprefix('_vq_vae.')]}"] = value
        else:
            raise CheckpointError(f"its '{key[:80]}' has no place in a vq-vae; this variant has no equivalent here")
    codes, width = published["_vq_vae._embedding.weight"].shape
    if "quantiser.sums" not in state:  # learned by gradient: how often codes are used is not known
        state["quantiser.counts"] = published["_vq_vae._embedding.weight"].new_ones(codes)
    arguments = {
        **_PUBLISHED[4 if pictures else 3],
        "z_dim": width,
        "codes": codes,
        "hidden": len(published["_encoder._conv_3.weight"]),
        "residual_layers": after,
        "residual_hidden": len(published[f"_encoder.{_BLOCK}0._block.1.weight"]) if after else 1,
        "quantiser": "ema" if "quantiser.sums" in state else "gradient",
        "activation": "relu" if pictures else "tanh",
        "likelihood": "fixed_gaussian" if pictures else "complex_gaussian",
    }
    return "vq-vae", arguments, state
