"""Models with their weights: saving, loading, and converting published ones."""

from __future__ import annotations

__all__ = ["bundled", "load", "save"]

from dynvae.pretrained.names import bundled, load
from dynvae.pretrained.storage import save
