"""Checks for models, one's own included: that they are what they say."""

from __future__ import annotations

__all__ = ["DependencyReport", "check_dependencies", "find_dependencies"]

from dynvae.testing.structure import DependencyReport, check_dependencies, find_dependencies
