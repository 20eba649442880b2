"""For who writes models: the contract battery, and a member of the family whose likelihood is known exactly."""

from __future__ import annotations

__all__ = [
    "CHECKS",
    "DependencyReport",
    "LinearGaussianDVAE",
    "Report",
    "check_dependencies",
    "check_dvae",
    "expected_elbo",
    "find_dependencies",
    "parametrize_checks",
    "run_check",
]

from dynvae.testing.battery import CHECKS, Report, check_dvae, parametrize_checks, run_check
from dynvae.testing.linear_gaussian import LinearGaussianDVAE, expected_elbo
from dynvae.testing.structure import DependencyReport, check_dependencies, find_dependencies
