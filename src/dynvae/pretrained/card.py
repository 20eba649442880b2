"""The model card: a README with the metadata that model hubs read, made from a dictionary."""

from __future__ import annotations

__all__ = ["model_card"]

from collections.abc import Mapping
from typing import Any

import yaml

from dynvae.audio import FrontEnd
from dynvae.baselines.mask import MaskNetwork
from dynvae.models import DVAE
from dynvae.motion import BoxView
from dynvae.video.talking import TalkingView

_HEADER = ("license", "license_name", "license_link", "language", "pipeline_tag", "tags", "datasets", "metrics")
_ELSEWHERE = ("title", "description", "repository", "model_index")
"""What of a card stands neither in the front matter under its own name nor as a section."""


def model_card(model: DVAE | MaskNetwork, name: str, card: Mapping[str, Any], digest: str) -> str:
    """The text of a model card: YAML front matter for machines, then Markdown for people.

    Args:
        model: the model described.
        name: its name in the registry.
        card: ``license``, ``license_name``, ``license_link``, ``language``, ``tags``, ``datasets`` and the names in
            ``metrics`` go into the front matter, and so do ``pipeline_tag`` and ``model_index``, measured results in
            the form of the hub; ``title`` and ``description`` stand first in the text; ``repository`` is the name that
            it will be loaded by; every other entry becomes a section: a dictionary as a table, a list as a list,
            anything else as a paragraph.
        digest: SHA-256 of the weights.
    """
    header: dict[str, Any] = {"library_name": "dynvae"}
    header |= {key: card[key] for key in _HEADER if card.get(key)}
    header["tags"] = list(dict.fromkeys(["dynamical-variational-autoencoder", name, *card.get("tags", ())]))
    if "metrics" in header:
        header["metrics"] = list(card["metrics"])
    if isinstance(model.front_end, FrontEnd):
        header.setdefault("pipeline_tag", "audio-to-audio")
    if card.get("model_index"):
        header["model-index"] = [{"name": card.get("repository") or name, "results": card["model_index"]}]
    count = sum(parameter.numel() for parameter in model.parameters())
    title = str(card.get("title") or model.title)
    parts = ["---\n" + yaml.safe_dump(header, sort_keys=False, allow_unicode=True) + "---", f"# {title}"]
    if card.get("description"):
        parts.append(str(card["description"]))
    sizes = f"{model.z_dim} latent dimensions a frame, {model.x_dim} observed ones" if model.z_dim else (
        f"{model.x_dim} bins a frame"
    )  # fmt: skip
    parts.append(f"{model.title} ({model.paper}), {count:,} parameters, {sizes}.")
    front_end = model.front_end
    if isinstance(front_end, FrontEnd):
        parts.append(
            f"It works on power spectra at {front_end.sample_rate} Hz: sine window of {front_end.window_length} "
            f"samples, hop of {front_end.hop_length}."
        )
    elif isinstance(front_end, BoxView):
        parts.append(
            "It works on boxes in pictures: left, top, right, and top less height, "
            + (
                "in shares of the picture."
                if front_end.seen == "picture"
                else "seen from one of a track, in its sizes."
            )
        )
    elif isinstance(front_end, TalkingView):
        parts.append(
            f"It works on sound at {front_end.sample_rate} Hz and pictures of {front_end.side} × {front_end.side} "
            f"pixels, {front_end.rate:g} frames a second of both."
        )
    elif front_end is not None:
        parts.append(
            f"It works on {len(front_end.observed)} of {front_end.joints} joints of a body, seen from its root, at "
            f"{front_end.frame_rate:g} frames a second; 1 in a frame is {front_end.scale:.4g} m."
        )
    loading = "from dynvae.baselines import load_mask\n\nnetwork = load_mask" if name == "mask" else (
        "import dynvae\n\nmodel = dynvae.load"
    )  # fmt: skip
    place = card.get("repository") or "path/to/this/folder"
    parts.append(f'```python\n{loading}("{place}")\n```')
    for key, value in card.items():
        if key in _ELSEWHERE or (key in _HEADER and key not in ("license", "metrics", "datasets")):
            continue
        parts.append(f"## {key.replace('_', ' ').capitalize()}\n\n{_section(value)}")
    parts.append(f"SHA-256 of `model.safetensors`: `{digest}`")
    return "\n\n".join(parts) + "\n"


def _section(value: Any) -> str:
    if isinstance(value, Mapping):
        rows = [f"| {key} | {_plain(item)} |" for key, item in value.items() if item is not None]
        return "\n".join(["| | |", "|---|---|", *rows])
    if isinstance(value, (list, tuple)):
        return "\n".join(f"- {item}" for item in value)
    return str(value)


def _plain(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
