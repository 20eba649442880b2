"""Models with their weights: saving, loading, and converting published ones."""

from __future__ import annotations

__all__ = ["bundled", "convert", "load", "save"]

from dynvae.pretrained.names import bundled, load
from dynvae.pretrained.published import convert
from dynvae.pretrained.storage import save
