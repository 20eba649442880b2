"""Separation of sounds that were mixed, by a model of each source that has never heard a mixture."""

from __future__ import annotations

__all__ = ["FileSeparator", "Parted", "SeparationJob", "Separator", "separate_in_chunks"]

from dynvae.separation.files import FileSeparator, SeparationJob
from dynvae.separation.long import separate_in_chunks
from dynvae.separation.separator import Parted, Separator
