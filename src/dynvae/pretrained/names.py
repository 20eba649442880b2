"""Where a model comes from: its bundled name, a folder, or a repository of the hub."""

from __future__ import annotations

__all__ = ["bundled", "load", "locate"]

import os
from difflib import get_close_matches
from pathlib import Path

import torch

from dynvae.errors import CheckpointError, ConfigError
from dynvae.models import DVAE
from dynvae.pretrained.hub import address, fetch
from dynvae.pretrained.storage import CONFIG, WEIGHTS, read

_BUNDLED = Path(__file__).with_name("weights")


def bundled() -> list[str]:
    """The names of the models that come with the package."""
    return sorted(path.parent.name for path in _BUNDLED.glob(f"*/{CONFIG}"))


def load(
    name_or_path: str | os.PathLike[str],
    device: str | torch.device = "cpu",
    revision: str | None = None,
    *,
    local_files_only: bool = False,
    token: str | None = None,
) -> DVAE:
    """Load a model, in evaluation mode, its weights verified by their SHA-256.

    Args:
        name_or_path: a folder that `save` wrote, or the folder of a training run (its best weights); else the name of
            a bundled model; else the name of a repository of the hub, ``"organisation/name"``, or with a revision of
            it, ``"organisation/name@revision"``.
        device: where to put it.
        revision: branch, tag or commit, for the hub.
        local_files_only: do not ask the hub, but take what is in its cache.
        token: for private repositories; by default ``HF_TOKEN``, or that of ``hf auth login``.

    Raises:
        CheckpointError: there is no such model, or it is damaged, foreign or too new.
        ConfigError: two different revisions are asked for.
        MissingExtraError: the name is one of the hub, and ``huggingface_hub`` is not installed.
    """
    return read(locate(name_or_path, revision, local_files_only=local_files_only, token=token), device)


def locate(
    name_or_path: str | os.PathLike[str],
    revision: str | None = None,
    *,
    local_files_only: bool = False,
    token: str | None = None,
) -> Path:
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
    place = address(text) if isinstance(name_or_path, str) else None
    if place is not None:
        name, told = place
        if told is not None and revision not in (None, told):
            raise ConfigError(f"'{text}' says revision {told}, and revision={revision} another; give one of them")
        return fetch(name, told or revision, local_files_only=local_files_only, token=token)
    near = get_close_matches(text, bundled(), n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"bundled are: {', '.join(bundled()) or 'none'}"
    raise CheckpointError(f"there is no model or folder '{text}'; {hint}")
