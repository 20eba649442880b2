"""Where a model comes from: its bundled name, a folder, or a repository of the hub."""

from __future__ import annotations

__all__ = ["bundled", "load", "locate"]

import os
import re
from difflib import get_close_matches
from pathlib import Path

import torch

from dynvae.errors import CheckpointError, MissingExtraError, require
from dynvae.models import DVAE
from dynvae.pretrained.storage import CONFIG, WEIGHTS, read

_BUNDLED = Path(__file__).with_name("weights")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


def bundled() -> list[str]:
    """The names of the models that come with the package."""
    return sorted(path.parent.name for path in _BUNDLED.glob(f"*/{CONFIG}"))


def load(name_or_path: str | os.PathLike[str], device: str | torch.device = "cpu", revision: str | None = None) -> DVAE:
    """Load a model, in evaluation mode, its weights verified by their SHA-256.

    Args:
        name_or_path: a folder that `save` wrote, or the folder of a training run (its best weights); else the name of
            a bundled model; else the name of a repository of the hub, ``"organisation/name"``.
        device: where to put it.
        revision: branch, tag or commit, for the hub.

    Raises:
        CheckpointError: there is no such model, or it is damaged, foreign or too new.
        MissingExtraError: the name is one of the hub, and ``huggingface_hub`` is not installed.
    """
    return read(locate(name_or_path, revision), device)


def locate(name_or_path: str | os.PathLike[str], revision: str | None = None) -> Path:
    """The folder of a model, fetched from the hub where it is one of the hub; see `load`."""
    path, text = Path(name_or_path), os.fspath(name_or_path)
    try:
        for folder in (path, path / "model"):
            if (folder / CONFIG).is_file():
                return folder
        exists = path.exists()
    except (OSError, ValueError) as error:  # too long a name, a NUL in it, no permission
        raise CheckpointError(f"{text[:200]!r} cannot be a model's folder: {error}") from error
    if text in bundled():
        return _BUNDLED / text
    if exists:
        raise CheckpointError(f"{path} is no saved model: a folder with {CONFIG} and {WEIGHTS} is wanted" + (
            "; dynvae convert turns published weights into one" if path.is_file() else ""
        ))  # fmt: skip
    if isinstance(name_or_path, str) and _HUB_ID.fullmatch(text) and ".." not in text:
        return _from_hub(text, revision)
    near = get_close_matches(text, bundled(), n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"bundled are: {', '.join(bundled()) or 'none'}"
    raise CheckpointError(f"there is no model or folder '{text}'; {hint}")


def _from_hub(name: str, revision: str | None) -> Path:
    try:
        hub = require("huggingface_hub", extra="hub")
    except MissingExtraError as error:
        raise MissingExtraError(f"there is no folder '{name}'; if it is a name on the hub: {error}") from error
    try:
        return Path(hub.snapshot_download(name, revision=revision, allow_patterns=[CONFIG, WEIGHTS, "README.md"]))
    except Exception as error:  # the hub's, the network's and the disk's
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise CheckpointError(
            f"'{name}' is no folder here and could not be fetched from the hub ({reason}); check the name, or give the "
            "path of a folder that holds the model"
        ) from error
