"""Differentiate a model to prove that each of its factors sees exactly what is declared."""

from __future__ import annotations

__all__ = ["DependencyReport", "check_dependencies", "find_dependencies"]

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal

from dynvae.condition import Condition
from dynvae.dependencies import Dependencies
from dynvae.distributions import PriorLaw
from dynvae.models.base import DVAE, Latents
from dynvae.testing.cases import RELATIVE, rounding

Table = dict[tuple[str, str], Tensor]
"""For each (factor, variable): a Boolean ``(frames of the factor, frames of the variable)``.

A factor or a variable of the whole sequence has one row or column.
"""

_NOISE = 1e-14
"""A gradient this small relative to the largest of its factor is rounding, not dependence.

What is not connected has a gradient of exactly zero; the memory of a recurrent network over a few frames is many
orders of magnitude above this.
"""


@dataclass(frozen=True)
class DependencyReport:
    """What each factor depends on, found by differentiation, beside what is declared.

    Attributes:
        model: the name of the class.
        dependencies: the declaration.
        found: the blocks of the Jacobian that are not zero.
        declared: the blocks that should not be.
    """

    model: str
    dependencies: Dependencies
    found: Table
    declared: Table

    @property
    def problems(self) -> list[str]:
        """One line for each factor and variable where code and declaration disagree; empty if they agree."""
        lines = []
        for (factor, variable), found in self.found.items():
            declared = self.declared[factor, variable]
            undeclared, absent = _pairs(found & ~declared), _pairs(declared & ~found)
            says = f"(declared: '{getattr(self.dependencies, factor)}')"
            head = {"likelihood": "x", "sequence_posterior": self.dependencies.sequence_latent}
            child = head.get(factor, self.dependencies.latent)
            for pairs, verb in ((undeclared, "depends on"), (absent, "does not depend on")):
                if pairs:
                    where = "; ".join(
                        f"{_at(child, t, found.shape[0])} {verb} {_at(variable, s, found.shape[1])}" for t, s in pairs
                    )
                    lines.append(f"{self.model}: the {factor} disagrees with its declaration {says}: {where}")
        return lines

    def __str__(self) -> str:
        """A map a factor: rows are the frames of the factor, columns those of what it may see.

        ``■`` declared and found, ``·`` neither, ``+`` found but not declared, ``-`` declared but not found.
        """
        factors = dict.fromkeys(factor for factor, _ in self.found)
        blocks = [f"{self.model}: {'as declared' if not self.problems else 'NOT as declared'}"]
        for factor in factors:
            variables = [variable for name, variable in self.found if name == factor]
            maps = [_map(self.found[factor, variable], self.declared[factor, variable]) for variable in variables]
            widths = [len(rows[0]) for rows in maps]
            titles = "   ".join(f"{variable:<{width}}" for variable, width in zip(variables, widths, strict=True))
            blocks.append(f"{factor}: {getattr(self.dependencies, factor) or '(nothing)'}\n  {titles.rstrip()}")
            blocks.extend("  " + "   ".join(row) for row in zip(*maps, strict=True))
        return "\n".join(blocks)


def check_dependencies(
    model: DVAE, *, time: int = 5, batch: int = 4, seed: int = 0, dtype: torch.dtype = torch.float64
) -> DependencyReport:
    """Check that prior, likelihood and posterior depend on exactly what the model declares.

    See :func:`find_dependencies` for how. It also checks that the posterior's parameters along a sampled path are
    those that the path was sampled with, for it is the former that are differentiated.

    Args:
        model: any model that keeps the contract of :class:`~dynvae.models.DVAE`; it is not changed.
        time: number of frames. Five tell all spans of reach one apart.
        batch: number of random points at which derivatives are taken, lest a unit be dead at one of them.
        seed: of the random points.
        dtype: precision; in ``torch.float32`` the compiled executor runs where it can.

    Returns:
        The report, which prints as a map a factor.

    Raises:
        AssertionError: a factor depends on something else than declared; the text names factor, variable and frames.
    """
    report = find_dependencies(model, time=time, batch=batch, seed=seed, dtype=dtype)
    if report.problems:
        raise AssertionError("\n".join(report.problems))
    return report


def find_dependencies(
    model: DVAE, *, time: int = 5, batch: int = 4, seed: int = 0, dtype: torch.dtype = torch.float64
) -> DependencyReport:
    """Find which frames each factor of a model depends on.

    A copy of the model in evaluation mode gives the parameters of p(z_t | .), p(x_t | .),
    q(z_t | .) along given latents, and q(w | .). A random combination of the parameters of each frame is
    differentiated with respect to every frame of z and x and to w: it depends on what its gradient does not vanish for.
    So it is with the condition, of a model that sees one; other inputs from outside are not looked at.

    Args:
        model: any model that keeps the contract.
        time: number of frames.
        batch: number of random points.
        seed: of the random points.
        dtype: precision of the copy and the points.

    Raises:
        AssertionError: the posterior along a sampled path differs from the one it was sampled with.
    """
    model = copy.deepcopy(model).to("cpu", dtype).eval()
    dependencies = model.dependencies
    assert bool(model.w_dim) == (dependencies.sequence_latent is not None), (
        f"{type(model).__name__}: w_dim is {model.w_dim}, but the declared sequence_latent is "
        f"{dependencies.sequence_latent!r}"
    )
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype)

    # Between 0.1 and 1: powers, intensities and real vectors alike.
    x = 0.1 + 0.9 * torch.rand(batch, time, model.x_dim, generator=generator, dtype=dtype)
    path = Latents(noise(batch, time, model.z_dim), noise(batch, model.w_dim) if model.w_dim else None)
    variables = {dependencies.latent: path.z, "x": x}
    given: dict[str, Any] = {}
    if getattr(model, "condition_dim", 0):
        (condition,) = dependencies.inputs
        variables[condition.symbol] = noise(batch, time, model.condition_dim)
        given["condition"] = Condition.of(variables[condition.symbol])
    sizes = getattr(model, "noise_dim", model.z_dim), model.w_dim
    _check_path(model, x, Latents(noise(batch, time, sizes[0]), noise(batch, sizes[1]) if sizes[1] else None), **given)
    if path.w is not None and dependencies.sequence_latent is not None:
        variables[dependencies.sequence_latent] = path.w
    for value in variables.values():
        value.requires_grad_()

    def sequence_posterior() -> Distribution:
        w = model.posterior(x, latents=path, **given).w
        assert w is not None, f"{type(model).__name__}: the posterior has no w, but a sequence-level latent is declared"
        return w

    factors: dict[str, Callable[[], Distribution]] = {
        "prior": lambda: model.prior(path, x, **given),
        "likelihood": lambda: model.likelihood(path, x, **given),
        "posterior": lambda: model.posterior(x, latents=path, **given).z,
    }
    if dependencies.sequence_latent is not None:
        factors["sequence_posterior"] = sequence_posterior
    found: Table = {}
    for factor, law in factors.items():
        frames = 1 if factor == "sequence_posterior" else time
        blocks = _blocks(_parameters(law()), list(variables.values()), frames, noise)
        found |= {(factor, variable): block for variable, block in zip(variables, blocks, strict=True)}
    declared = {key: _declared(dependencies, *key, block) for key, block in found.items()}
    return DependencyReport(type(model).__name__, dependencies, found, declared)


def _check_path(model: DVAE, x: Tensor, noise: Latents, **given: Any) -> None:
    sampled = model.posterior(x, noise=noise, **given)
    again = model.posterior(x, latents=sampled.latents, **given)
    for name, one, other in (("z", sampled.z, again.z), ("w", sampled.w, again.w)):
        if one is None or other is None:
            continue
        for a, b in zip(_parameters(one), _parameters(other), strict=True):
            assert torch.allclose(a, b, rtol=max(1e-8, RELATIVE[a.dtype]), atol=rounding(a, b)), (
                f"{type(model).__name__}: the posterior of {name} along a sampled path differs from the one it was "
                f"sampled with, by up to {float((a - b).abs().max().detach()):.2g}"
            )


def _parameters(law: Distribution) -> list[Tensor]:
    """The tensors that a law is made of; of a law of unknown make, its mean and variance."""
    match law:
        case Independent():
            return _parameters(law.base_dist)
        case MultivariateNormal():
            return [law.loc, law.scale_tril]
        case PriorLaw():
            return [law.parameters]
    given = [getattr(law, name) for name in law.arg_constraints if name in vars(law)]
    return given or [law.mean, law.variance]


def _blocks(
    parameters: list[Tensor], variables: list[Tensor], frames: int, noise: Callable[..., Tensor]
) -> list[Tensor]:
    """Which frames of the variables the parameters of each frame depend on."""
    batch = variables[0].shape[0]
    flat = torch.cat([parameter.reshape(batch, frames, -1) for parameter in parameters], -1)
    shapes = [variable.shape[1] if variable.dim() == 3 else 1 for variable in variables]
    sizes = [torch.zeros(frames, columns, dtype=torch.float64) for columns in shapes]
    if flat.requires_grad:
        # A combination with random weights has a zero derivative only where all the parameters have.
        combined = (flat * noise(*flat.shape)).sum((0, 2))
        for t in range(frames):
            gradients = torch.autograd.grad(combined[t], variables, retain_graph=True, allow_unused=True)
            for size, gradient, columns in zip(sizes, gradients, shapes, strict=True):
                if gradient is not None:
                    size[t] = gradient.reshape(batch, columns, -1).abs().amax((0, 2))
    largest = max(float(size.max()) for size in sizes)
    return [size > _NOISE * largest for size in sizes]


def _declared(dependencies: Dependencies, factor: str, variable: str, like: Tensor) -> Tensor:
    rows, columns = like.shape
    declared = torch.zeros_like(like)
    whole = variable == dependencies.sequence_latent
    for t in range(rows):
        for symbol, frame in dependencies.parents(factor).nodes(t + 1, max(rows, columns)):
            if symbol == variable:
                declared[t, 0 if whole or frame is None else frame - 1] = True
    if dependencies.in_order and factor == "posterior" and variable == dependencies.latent:
        declared.fill_diagonal_(True)
    return declared


def _map(found: Tensor, declared: Tensor) -> list[str]:
    signs = {(True, True): "■", (False, False): "·", (True, False): "+", (False, True): "-"}
    return [
        " ".join(signs[bool(f), bool(d)] for f, d in zip(frames, truths, strict=True))
        for frames, truths in zip(found.tolist(), declared.tolist(), strict=True)
    ]


def _pairs(table: Tensor) -> list[tuple[int, int]]:
    return [(int(t), int(s)) for t, s in table.nonzero()]


def _at(symbol: str | None, frame: int, frames: int) -> str:
    return f"{symbol}" if frames == 1 else f"{symbol}[{frame + 1}]"
