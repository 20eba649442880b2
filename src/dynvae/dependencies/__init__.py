"""What each factor of a model sees: the declaration, and all that follows from it."""

from __future__ import annotations

__all__ = ["Dependencies", "ExactPosterior", "Parents", "Span"]

from dynvae.dependencies.declaration import Dependencies
from dynvae.dependencies.notation import Parents, Span
from dynvae.dependencies.separation import ExactPosterior
