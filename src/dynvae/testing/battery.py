"""The contract battery: every promise of :class:`~dynvae.models.DVAE`, checked on a model of anybody's."""

from __future__ import annotations

__all__ = ["CHECKS", "Report", "check_dvae", "parametrize_checks", "run_check"]

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch

from dynvae.errors import ConfigError, require
from dynvae.models import DVAE
from dynvae.testing import bounds, conditions, generation, interface, sequences
from dynvae.testing.cases import RELATIVE, Check

CHECKS: tuple[Check, ...] = (
    *interface.CHECKS, *sequences.CHECKS, *bounds.CHECKS, *generation.CHECKS, *conditions.CHECKS,
)  # fmt: skip
"""All checks: functions ``check_something(model, generator)`` that raise if what their docstring says is not so."""


@dataclass(frozen=True)
class Report:
    """What came out of the battery: names of checks, and for those that failed what is wrong.

    Attributes:
        model: name of the model's class.
        passed: checks that passed.
        failed: what is wrong, by check.
        not_applicable: checks that make no sense for this model.
    """

    model: str
    passed: tuple[str, ...]
    failed: Mapping[str, str]
    not_applicable: tuple[str, ...]

    def __bool__(self) -> bool:
        """Whether nothing failed."""
        return not self.failed

    def __str__(self) -> str:
        """One line, and one more for each failure."""
        total = len(self.passed) + len(self.failed)
        lines = [f"{self.model}: {len(self.passed)} of {total} checks passed"]
        return "\n".join(lines + [f"  {name}: {message}" for name, message in self.failed.items()])


def check_dvae(
    model: DVAE,
    checks: Iterable[Check | str] | None = None,
    *,
    dtype: torch.dtype = torch.float64,
    all_failures: bool = False,
    seed: int = 0,
) -> Report:
    """Check that a model keeps the contract of :class:`~dynvae.models.DVAE`.

    The model is not changed: each check works on a copy of its own, on the CPU, in eval mode. Use a small model (a few
    dimensions and units): the promises are those of the class, and the battery then takes a few seconds.

    In float64 the comparisons are strict and the plain executor runs the model's recursions. In float32 it is the
    compiled one where there is a compiler, comparisons leave room for rounding, and checks that need more digits, such
    as finite differences, do not apply.

    Args:
        model: of any class that derives from :class:`~dynvae.models.DVAE`.
        checks: functions of :data:`CHECKS`, or their names; all by default.
        dtype: precision of weights, observations and noise: ``torch.float64`` or ``torch.float32``.
        all_failures: go on after a failure, and report all, instead of raising at the first.
        seed: of the observations and of all noise.

    Returns:
        What passed, what failed and what does not apply.

    Raises:
        AssertionError: a promise is broken; the text names the check and tells what is wrong.
        ConfigError: there is no such check.

    Example:
        >>> from dynvae.models import VAE
        >>> print(check_dvae(VAE(x_dim=4, z_dim=2, hidden=(8,)), ["check_shapes", "check_kl_of_equal_laws"]))
        VAE: 2 of 2 checks passed
    """
    passed, failed, not_applicable = [], {}, []
    for check in _select(checks):
        name = check.__name__
        if not _applies(check, model, dtype):
            not_applicable.append(name)
            continue
        try:
            run_check(model, check, dtype=dtype, seed=seed)
        except AssertionError as error:
            if not all_failures:
                raise
            failed[name] = str(error)
        else:
            passed.append(name)
    return Report(type(model).__name__, tuple(passed), failed, tuple(not_applicable))


def run_check(model: DVAE, check: Check, *, dtype: torch.dtype = torch.float64, seed: int = 0) -> None:
    """Run one check on a copy of the model, as :func:`check_dvae` does.

    Raises:
        AssertionError: the promise is broken, or the model raised an error.
        ConfigError: the precision is neither float64 nor float32.
    """
    if dtype not in RELATIVE:
        raise ConfigError(f"the contract is checked in float64 or float32, not in {dtype}")
    name = f"{type(model).__name__} fails {check.__name__}"
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        try:
            subject = copy.deepcopy(model).to("cpu", dtype).eval()
            subject.zero_grad(set_to_none=True)
            check(subject, torch.Generator().manual_seed(seed))
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error
        except Exception as error:
            raise AssertionError(f"{name}: {type(error).__name__}: {error}") from error


def parametrize_checks(
    models: Mapping[str, DVAE] | Sequence[DVAE],
    checks: Iterable[Check | str] | None = None,
    *,
    dtype: torch.dtype = torch.float64,
) -> Any:
    """Make one pytest case of each check of each model; the test takes both and calls ``check(model)``.

    Args:
        models: with names for the test report, or without.
        checks: functions of :data:`CHECKS`, or their names; all by default.
        dtype: precision of weights, observations and noise.

    Example:
        >>> from dynvae.models import VAE
        >>> @parametrize_checks({"small": VAE(x_dim=4, z_dim=2, hidden=(8,))})
        ... def test_contract(model, check):
        ...     check(model)
    """
    pytest = require("pytest", "dev")
    named = models if isinstance(models, Mapping) else {f"{type(m).__name__}{i}": m for i, m in enumerate(models)}
    cases = [
        pytest.param(model, _bound(check, dtype), id=f"{name}-{check.__name__.removeprefix('check_')}")
        for name, model in named.items()
        for check in _select(checks)
        if _applies(check, model, dtype)
    ]
    return pytest.mark.parametrize(("model", "check"), cases)


def _bound(check: Check, dtype: torch.dtype) -> Callable[[DVAE], None]:
    return lambda model: run_check(model, check, dtype=dtype)


def _applies(check: Check, model: DVAE, dtype: torch.dtype) -> bool:
    condition: Callable[[DVAE, torch.dtype], bool] = getattr(check, "applies", lambda *_: True)
    return condition(model, dtype)


def _select(checks: Iterable[Check | str] | None) -> Sequence[Check]:
    by_name = {check.__name__: check for check in CHECKS}
    selected = []
    for check in CHECKS if checks is None else checks:
        if isinstance(check, str):
            if check not in by_name:
                near = get_close_matches(check, by_name, n=1)
                hint = f"did you mean '{near[0]}'?" if near else "see dynvae.testing.CHECKS"
                raise ConfigError(f"there is no check '{check}'; {hint}")
            check = by_name[check]
        selected.append(check)
    return selected
