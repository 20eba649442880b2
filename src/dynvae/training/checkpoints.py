"""Checkpoints that are whole or absent, and the search for the newest one that is whole."""

from __future__ import annotations

__all__ = ["Checkpoints"]

import io
import logging
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from dynvae.errors import CheckpointError
from dynvae.files import atomic_write

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1


class Checkpoints:
    """The states of a run in a folder: ``step-00001234.ckpt``, the newest and the one before.

    Args:
        folder: made when the first one is written.
        keep: how many to keep.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder, self.keep = folder, keep

    def paths(self) -> list[Path]:
        """The checkpoints, newest first."""
        found = [path for path in self.folder.glob("step-*.ckpt") if re.fullmatch(r"step-\d+\.ckpt", path.name)]
        return sorted(found, key=lambda path: int(path.stem.partition("-")[2]), reverse=True)

    def save(self, state: dict[str, Any]) -> Path:
        """Write the state of step ``state["step"]``, then remove those that are too old.

        Raises:
            CheckpointError: it could not be written (no space, no permission); older ones are untouched.
        """
        path = self.folder / f"step-{state['step']:08d}.ckpt"
        try:
            # By way of memory: torch's own writer of files may end the process when the disk is full.
            buffer = io.BytesIO()
            torch.save({"format_version": FORMAT_VERSION, **state}, buffer)
            with atomic_write(path) as temp:
                temp.write_bytes(buffer.getbuffer())
        except OSError as error:
            raise CheckpointError(
                f"{path} could not be written ({error.strerror}); make room, then go on with --resume"
            ) from error
        for old in self.paths()[self.keep :]:
            old.unlink(missing_ok=True)
        return path

    def load(self) -> dict[str, Any] | None:
        """The newest state that is whole; None if there is no checkpoint at all.

        Raises:
            CheckpointError: there are checkpoints, and all of them are damaged.
        """
        paths = self.paths()
        for path in paths:
            try:
                return read(path)
            except CheckpointError as error:
                logger.warning("%s; going back to the one before", error)
        if paths:
            raise CheckpointError(f"no checkpoint in {self.folder} is whole; start anew in another folder")
        return None

    def clean(self) -> None:
        """Remove what writers that were killed have left."""
        for path in self.folder.glob(".tmp-*"):
            path.unlink(missing_ok=True)


def read(path: Path) -> dict[str, Any]:
    """Read one checkpoint, its checksums verified, with nothing but tensors and plain values in it.

    Raises:
        CheckpointError: it is damaged, foreign or too new.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load does not look at the checksums that torch.save writes
            damaged = archive.testzip()
        if damaged is not None:
            raise CheckpointError(f"{path} is damaged (at {damaged})")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # torch, zipfile and the unpickler each have their own
        raise CheckpointError(f"{path} is damaged or no checkpoint ({type(error).__name__})") from error
    version = state.get("format_version") if isinstance(state, dict) else None
    if version != FORMAT_VERSION:
        raise CheckpointError(f"{path} has format {version}, this dynvae reads format {FORMAT_VERSION}")
    return dict(state)
