"""What every model can do with its weights: be saved, come back, and be published."""

from __future__ import annotations

__all__ = ["Pretrained"]

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import torch

from dynvae.errors import CheckpointError

if TYPE_CHECKING:
    from dynvae.models.base import DVAE
    from dynvae.pretrained import Published


class Pretrained:
    """Saving and loading in the layout of the Hugging Face hub; :mod:`dynvae.pretrained` does the work."""

    def save_pretrained(self, directory: str | os.PathLike[str], card: Mapping[str, Any] | None = None) -> Path:
        """Write ``config.json``, ``model.safetensors`` and a model card: see :func:`dynvae.save`.

        Args:
            directory: made where it is missing.
            card: what people should know, such as ``license``, ``datasets``, ``metrics`` and ``description``.

        Raises:
            CheckpointError: the folder cannot be written.
            ConfigError: the class is not one of the zoo, or the card does not fit into JSON.

        Example:
            >>> import tempfile
            >>> from dynvae.models import VAE
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     _ = VAE(x_dim=5, z_dim=2).save_pretrained(folder, card={"license": "mit"})
            ...     VAE.from_pretrained(folder).z_dim
            2
        """
        from dynvae.pretrained import save

        return save(cast("DVAE", self), directory, dict(card or {}))

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str],
        revision: str | None = None,
        *,
        local_files_only: bool = False,
        device: str | torch.device = "cpu",
        token: str | None = None,
    ) -> Self:
        """Load a model, in evaluation mode, its weights verified: see :func:`dynvae.load`.

        Args:
            name_or_path: a folder, a bundled name, or a repository of the hub, ``"organisation/name"``, perhaps with
                ``"@revision"``.
            revision: branch, tag or commit, for the hub.
            local_files_only: do not ask the hub, but take what is in its cache.
            device: where to put it.
            token: for private repositories; by default ``HF_TOKEN``, or that of ``hf auth login``.

        Raises:
            CheckpointError: there is no such model, it is damaged, or it is of another class.
        """
        from dynvae.pretrained import load

        model: Any = load(name_or_path, device, revision, local_files_only=local_files_only, token=token)
        if not isinstance(model, cls):
            raise CheckpointError(
                f"'{os.fspath(name_or_path)}' is a {type(model).__name__} and no {cls.__name__}; load it with "
                f"{type(model).__name__}.from_pretrained, or DVAE.from_pretrained, which takes any"
            )
        return model

    def push_to_hub(
        self,
        name: str,
        *,
        card: Mapping[str, Any] | None = None,
        private: bool | None = None,
        revision: str | None = None,
        message: str | None = None,
        token: str | None = None,
    ) -> Published:
        """Publish on the hub: configuration, weights and model card in one commit.

        Args:
            name: ``"organisation/name"``; the repository is made where it is missing.
            card: what people should know; see :meth:`save_pretrained`.
            private: whether a repository that is made is for those only who may see it.
            revision: the branch; made where it is missing. The main one by default.
            message: of the commit.
            token: one that may write; by default ``HF_TOKEN``, or that of ``hf auth login``.

        Raises:
            CheckpointError: the hub has refused; the text says why.
            ConfigError: that is no name for a repository.
            MissingExtraError: ``huggingface_hub`` is not installed.
        """
        from dynvae.pretrained import push

        model = cast("DVAE", self)
        return push(model, name, card=card, private=private, revision=revision, message=message, token=token)
