"""The differentiating check finds what the code of each factor depends on, in honest models and in others."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from dynvae.dependencies import Dependencies
from dynvae.distributions import LIKELIHOODS
from dynvae.models import PRESETS, Latents, Posterior, build
from dynvae.nn import shift
from dynvae.testing import check_dependencies, find_dependencies

SIZES = {"x_dim": 4, "z_dim": 2}


@pytest.mark.parametrize("name", PRESETS)
def test_model_depends_on_exactly_what_it_declares(name: str) -> None:
    report = check_dependencies(build(name, **SIZES))
    assert not report.problems
    assert "as declared" in str(report)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_every_likelihood_is_seen_through(likelihood: str) -> None:
    check_dependencies(build("srnn", **{**SIZES, "x_dim": 6}, likelihood=likelihood))


@pytest.mark.parametrize("transform", ["raw", "log"])
def test_bidirectional_dkf(transform: str) -> None:
    check_dependencies(build("dkf", **SIZES, bidirectional=True, input_transform=transform), time=4)


def test_wrong_declaration_of_a_real_model_is_found() -> None:
    model = build("vrnn", **SIZES)
    model.dependencies = build("srnn", **SIZES).dependencies
    with pytest.raises(AssertionError) as error:
        check_dependencies(model)
    lines = str(error.value).splitlines()
    assert lines[0].startswith("VRNN: the prior disagrees with its declaration (declared: 'z[t-1], x[1:t-1]')")
    assert "z[3] depends on z[1]" in lines[0]
    assert any("the likelihood" in line and "x[2] depends on z[1]" in line for line in lines)
    assert any("the posterior" in line and "z[1] does not depend on x[2]" in line for line in lines)


def test_model_is_left_as_it_was() -> None:
    model = build("vae", **SIZES).train()
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    check_dependencies(model)
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert model.weight.dtype == torch.float32
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(state, torch.get_rng_state())


class Toy(nn.Module):
    """The smallest model of the contract: a linear state space model whose factors can be made to cheat."""

    dependencies = Dependencies(prior="z[t-1]", likelihood="z[t]", posterior="z[t-1], x[t:T]")
    x_dim, z_dim, w_dim = 2, 2, 0

    def __init__(self, cheat: str = "", full: bool = False) -> None:
        super().__init__()
        self.cheat, self.full = cheat, full
        self.rate = nn.Parameter(torch.tensor(0.7))

    def _normal(self, mean: Tensor) -> Distribution:
        if self.full:
            return MultivariateNormal(mean, scale_tril=self.rate * torch.eye(2, dtype=mean.dtype))
        return Independent(Normal(mean, self.rate.expand_as(mean)), 1)

    def prior(self, latents: Any, x: Tensor, lengths: Tensor | None = None) -> Distribution:
        mean = self.rate * shift(latents.z)
        return self._normal(mean + 1e-6 * x if self.cheat == "prior sees x[t]" else mean)

    def likelihood(self, latents: Any, x: Tensor, lengths: Tensor | None = None) -> Distribution:
        return self._normal(latents.z.tanh() + (shift(latents.z) if self.cheat == "likelihood sees z[t-1]" else 0))

    def posterior(
        self, x: Tensor, lengths: Tensor | None = None, *, noise: Any = None, generator: Any = None, latents: Any = None
    ) -> Posterior:
        future = x if self.cheat == "posterior misses the future" else x.flip(1).cumsum(1).flip(1)
        if latents is None:
            z, zs = torch.zeros_like(x[:, 0]), []
            for seen, eps in zip(future.unbind(1), noise.z.unbind(1), strict=True):
                z = self.rate * (z + seen) + self.rate * eps
                zs.append(z)
            latents = Latents(torch.stack(zs, 1))
            if self.cheat == "another path":
                return Posterior(latents, self._normal(self.rate * future))
        return Posterior(latents, self._normal(self.rate * (shift(latents.z) + future)))


@pytest.mark.parametrize("full", [False, True])
def test_honest_toy(full: bool) -> None:
    check_dependencies(Toy(full=full))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cheat", "complaint"),
    [
        ("prior sees x[t]", r"the prior .*z\[1\] depends on x\[1\]; z\[2\] depends on x\[2\]"),
        ("likelihood sees z[t-1]", r"the likelihood .*x\[2\] depends on z\[1\]"),
        ("posterior misses the future", r"the posterior .*z\[1\] does not depend on x\[2\]"),
        ("another path", "along a sampled path"),
    ],
)
def test_cheating_toy(cheat: str, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        check_dependencies(Toy(cheat))  # type: ignore[arg-type]


def test_report_draws_what_differs() -> None:
    report = find_dependencies(Toy("likelihood sees z[t-1]"), time=3)  # type: ignore[arg-type]
    assert str(report).splitlines() == [
        "Toy: NOT as declared",
        "prior: z[t-1]",
        "  z       x",
        "  · · ·   · · ·",
        "  ■ · ·   · · ·",
        "  · ■ ·   · · ·",
        "likelihood: z[t]",
        "  z       x",
        "  ■ · ·   · · ·",
        "  + ■ ·   · · ·",
        "  · + ■   · · ·",
        "posterior: z[t-1], x[t:T]",
        "  z       x",
        "  · · ·   ■ ■ ■",
        "  ■ · ·   · ■ ■",
        "  · ■ ·   · · ■",
    ]


def test_undeclared_sequence_level_latent_is_found() -> None:
    model = Toy()
    model.w_dim = 3
    with pytest.raises(AssertionError, match="w_dim is 3"):
        check_dependencies(model)  # type: ignore[arg-type]


def test_law_of_unknown_make_is_seen_through_its_moments() -> None:
    toy = Toy()

    def likelihood(latents: Any, x: Tensor, lengths: Any = None) -> Any:
        return SimpleNamespace(arg_constraints={}, mean=latents.z, variance=torch.ones_like(latents.z))

    toy.likelihood = likelihood  # type: ignore[method-assign]
    check_dependencies(toy)  # type: ignore[arg-type]
