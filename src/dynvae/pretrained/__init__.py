"""Models with their weights: saving, loading, and converting published ones."""

from __future__ import annotations

__all__ = ["Published", "bundled", "convert", "load", "push", "save"]

from dynvae.pretrained.hub import Published, push
from dynvae.pretrained.names import bundled, load
from dynvae.pretrained.published import convert
from dynvae.pretrained.storage import save
