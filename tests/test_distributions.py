"""The distributions: every constant by integration, moments by sampling, divergences by other roads."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Bernoulli, Independent, MultivariateNormal, Normal, kl_divergence

from dynvae.distributions import (
    LATENT_LOG_VARIANCE_LIMIT,
    LIKELIHOODS,
    POWER_FLOOR,
    ComplexGaussian,
    FixedGaussianLikelihood,
    RadialLaplace,
    bound_log_variance,
    diagonal_normal,
    draw,
    gaussian,
    kl_per_dimension,
    reparameterize,
    standard_normal,
)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ---- complex Gaussian ------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=20)
@given(st.floats(-3, 3))
def test_complex_gaussian_integrates_to_one_over_the_complex_plane(log_variance: float) -> None:
    reach, n = 8 * math.exp(log_variance / 2), 201
    axis = torch.linspace(-reach, reach, n, dtype=torch.float64)
    power = (axis[:, None] ** 2 + axis[None, :] ** 2).flatten().unsqueeze(-1)
    law = ComplexGaussian(torch.full((1,), log_variance, dtype=torch.float64))
    area = float(axis[1] - axis[0]) ** 2
    assert float(law.log_prob(power).exp().sum() * area) == pytest.approx(1, abs=1e-9)
    # The second moment over the plane is the mean power.
    mean = float((law.log_prob(power).exp() * power.squeeze(-1)).sum() * area)
    assert mean == pytest.approx(float(law.mean), rel=1e-7)


def test_complex_gaussian_is_two_real_gaussians_of_half_the_variance() -> None:
    log_variance, real, imaginary = randn(4), randn(3, 4, seed=1), randn(3, 4, seed=2)
    law = ComplexGaussian(log_variance)
    parts = Normal(torch.zeros(4, dtype=torch.float64), (law.mean / 2).sqrt())
    expected = (parts.log_prob(real) + parts.log_prob(imaginary)).sum(-1)
    torch.testing.assert_close(law.log_prob(real**2 + imaginary**2), expected, rtol=1e-12, atol=1e-12)


def test_complex_gaussian_and_itakura_saito_differ_by_what_depends_on_the_data_alone() -> None:
    power, bins = randn(5, 7).square() + 1e-3, 7
    law = ComplexGaussian(randn(5, 7, seed=3))
    expected = -law.itakura_saito(power) - power.log().sum(-1) - bins * (1 + math.log(math.pi))
    torch.testing.assert_close(law.log_prob(power), expected, rtol=1e-12, atol=1e-12)
    assert (law.itakura_saito(power) > 0).all()
    torch.testing.assert_close(law.itakura_saito(law.mean), torch.zeros(5, dtype=torch.float64))


def test_complex_gaussian_samples_have_its_moments() -> None:
    law = ComplexGaussian(torch.tensor([-2.0, 0.0, 3.0], dtype=torch.float64))
    n = 200_000
    power = law.sample((n,), generator=seeded())
    assert (power >= 0).all()
    standard_error = (law.variance / n).sqrt()
    assert ((power.mean(0) - law.mean).abs() < 5 * standard_error).all()
    torch.testing.assert_close(power.var(0), law.variance, rtol=0.05, atol=0)
    ratio = (power / law.mean).sort(0).values  # exponential: compare the whole distribution (Kolmogorov-Smirnov)
    empirical = torch.arange(1, n + 1, dtype=torch.float64).unsqueeze(-1) / n
    assert (empirical - (1 - (-ratio).exp())).abs().max() < 2.2 / math.sqrt(n)


def test_complex_gaussian_gradients() -> None:
    log_variance, power = randn(2, 3).requires_grad_(), randn(2, 3, seed=1).square().requires_grad_()
    torch.autograd.gradcheck(lambda v, p: ComplexGaussian(v).log_prob(p), (log_variance, power))
    torch.autograd.gradgradcheck(lambda v, p: ComplexGaussian(v).log_prob(p), (log_variance, power))


@pytest.mark.parametrize("log_variance", [-200.0, -45.0, 0.0, 45.0])
@pytest.mark.parametrize("power", [0.0, 1e-30, 1.0, 1e8])
def test_complex_gaussian_is_finite_in_float32(log_variance: float, power: float) -> None:
    value = torch.full((4,), log_variance, requires_grad=True)
    law = ComplexGaussian(value)
    log_prob = law.log_prob(torch.full((4,), power))
    log_prob.backward()
    assert log_prob.isfinite()
    assert value.grad is not None
    assert value.grad.isfinite().all()
    assert law.itakura_saito(torch.full((4,), power)).isfinite()
    assert (law.mean >= POWER_FLOOR).all()


def test_complex_gaussian_shapes_and_seeds() -> None:
    law = ComplexGaussian(randn(2, 3, 4))
    assert (law.batch_shape, law.event_shape) == ((2, 3), (4,))
    assert law.sample((5,)).shape == (5, 2, 3, 4)
    assert law.expand((6, 2, 3)).log_prob(torch.ones(6, 2, 3, 4)).shape == (6, 2, 3)
    assert torch.equal(law.sample(generator=seeded(1)), law.sample(generator=seeded(1)))
    assert not law.sample().requires_grad


# ---- joints ----------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=10)
@given(st.floats(0.2, 3))
def test_the_law_of_a_joint_integrates_to_one_over_space(std: float) -> None:
    law = RadialLaplace(torch.zeros(3, dtype=torch.float64), std)
    radius = torch.linspace(0, 30 * std, 200_001, dtype=torch.float64)
    places = torch.stack([radius, torch.zeros_like(radius), torch.zeros_like(radius)], -1)
    shells = law.log_prob(places).exp() * 4 * math.pi * radius**2
    assert float(torch.trapezoid(shells, radius)) == pytest.approx(1, abs=1e-7)
    second = float(torch.trapezoid(shells * radius**2, radius)) / 3  # of each coordinate, by symmetry
    assert second == pytest.approx(float(law.variance[0]), rel=1e-6)
    assert float(law.variance[0]) == pytest.approx(std**2)


def test_the_law_of_joints_is_their_mean_error_up_to_constants() -> None:
    mean, value = randn(4, 12), randn(4, 12, seed=1)
    errors = (value - mean).unflatten(-1, (-1, 3)).square().sum(-1).sqrt()
    law = RadialLaplace(mean, 0.5)
    difference = law.log_prob(mean) - law.log_prob(value)
    torch.testing.assert_close(difference, 4 * errors.mean(-1) / 0.25)
    assert law.expand((2, 4)).log_prob(value).shape == (2, 4)


def test_joints_are_drawn_from_their_law() -> None:
    mean = torch.tensor([1.0, -2.0, 0.5, 3.0, 0.0, 0.0], dtype=torch.float64)
    drawn = RadialLaplace(mean.expand(200_000, 6), 0.8)
    x = draw(drawn, seeded())
    torch.testing.assert_close(x.mean(0), mean, atol=0.01, rtol=0)
    torch.testing.assert_close(x.var(0), torch.full_like(mean, 0.64), atol=0.01, rtol=0)
    radius = (x - mean).unflatten(-1, (-1, 3)).norm(dim=-1).flatten()
    gamma = torch.special.gammainc(torch.tensor(3.0, dtype=torch.float64), radius.sort().values / 0.4)
    steps = torch.arange(1, len(gamma) + 1, dtype=torch.float64) / len(gamma)
    assert (gamma - steps).abs().max() < 1.9 / math.sqrt(len(gamma))  # Kolmogorov-Smirnov at 0.1 %


# ---- Gaussians ---------------------------------------------------------------------------------------------------


def test_the_bound_changes_nothing_inside_and_passes_gradients_outside() -> None:
    value = torch.tensor([-1e6, -30.1, -3.0, 0.0, 29.9, 1e6], dtype=torch.float64, requires_grad=True)
    bounded = bound_log_variance(value)
    assert bounded.abs().max() <= LATENT_LOG_VARIANCE_LIMIT
    assert torch.equal(bounded[2:5], value[2:5])
    bounded.sum().backward()
    assert value.grad is not None
    assert torch.equal(value.grad, torch.ones(6, dtype=torch.float64))
    inside = torch.tensor([-2.0, 5.0], dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(bound_log_variance, (inside,))


def test_a_unit_that_ran_away_comes_back() -> None:
    log_variance = torch.tensor([80.0], requires_grad=True)
    law = diagonal_normal(torch.zeros(1), bound_log_variance(log_variance))
    (-law.log_prob(torch.ones(1))).backward()
    assert log_variance.grad is not None
    assert log_variance.grad > 0.1


def test_gaussian_and_reparameterize_speak_of_the_same_law() -> None:
    packed, noise = randn(2, 3, 8), randn(2, 3, 4, seed=1)
    law = gaussian(packed)
    torch.testing.assert_close(reparameterize(*packed.chunk(2, -1), noise), law.mean + law.stddev * noise)
    torch.testing.assert_close(law.mean, packed[..., :4])
    torch.testing.assert_close(law.variance, packed[..., 4:].exp())
    torch.testing.assert_close(
        law.log_prob(noise), Normal(packed[..., :4], (packed[..., 4:] / 2).exp()).log_prob(noise).sum(-1)
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stops_at_the_networks(dtype: torch.dtype) -> None:
    packed = torch.randn(3, 8).to(dtype)
    noise = torch.randn(3, 4)
    assert gaussian(packed).mean.dtype == torch.float32
    assert diagonal_normal(packed, packed).stddev.dtype == torch.float32
    sample = reparameterize(*packed.chunk(2, -1), noise)
    assert sample.dtype == torch.float32
    law = gaussian(packed)
    torch.testing.assert_close((sample - law.mean) / law.stddev, noise)
    for name, kind in LIKELIHOODS.items():
        assert kind()(torch.randn(3, 4 * kind.outputs).to(dtype)).mean.dtype == torch.float32, name


# ---- divergences -------------------------------------------------------------------------------------------------


def full(size: int, seed: int, batch: tuple[int, ...] = (2, 3)) -> MultivariateNormal:
    root = randn(*batch, size, size, seed=seed)
    covariance = 0.3 * root @ root.mT + 0.5 * torch.eye(size, dtype=torch.float64)
    return MultivariateNormal(randn(*batch, size, seed=seed + 1), covariance)


def diagonal(size: int, seed: int, batch: tuple[int, ...] = (2, 3)) -> Independent:
    return diagonal_normal(randn(*batch, size, seed=seed), randn(*batch, size, seed=seed + 1))


def as_full(law: Independent) -> MultivariateNormal:
    return MultivariateNormal(law.mean, scale_tril=torch.diag_embed(law.stddev))


def test_kl_of_diagonal_gaussians_is_that_of_torch_per_dimension() -> None:
    q, p = diagonal(4, 0), diagonal(4, 10)
    kl = kl_per_dimension(q, p)
    assert kl.shape == (2, 3, 4)
    assert (kl >= 0).all()
    torch.testing.assert_close(kl.sum(-1), kl_divergence(q, p), rtol=1e-12, atol=1e-12)
    assert (kl_per_dimension(q, q) == 0).all()


@pytest.mark.parametrize("kinds", [(diagonal, full), (full, full), (full, diagonal)])
def test_kl_with_full_covariances_is_that_of_torch(kinds: tuple) -> None:
    q, p = kinds[0](3, 0), kinds[1](3, 10)
    expected = kl_divergence(*(law if isinstance(law, MultivariateNormal) else as_full(law) for law in (q, p)))
    kl = kl_per_dimension(q, p)
    assert kl.shape == (2, 3, 1)
    torch.testing.assert_close(kl.squeeze(-1), expected, rtol=1e-10, atol=1e-10)


def test_full_and_diagonal_roads_agree() -> None:
    q, p = diagonal(3, 0), diagonal(3, 10)
    whole = kl_per_dimension(as_full(q), as_full(p)).squeeze(-1)
    torch.testing.assert_close(whole, kl_per_dimension(q, p).sum(-1), rtol=1e-11, atol=1e-11)
    assert kl_per_dimension(as_full(q), as_full(q)).abs().max() < 1e-12


@pytest.mark.parametrize("kinds", [(diagonal, diagonal), (diagonal, full), (full, full)])
def test_kl_is_the_mean_log_ratio(kinds: tuple) -> None:
    q, p = kinds[0](3, 0, ()), kinds[1](3, 10, ())
    n = 100_000
    value = draw(q.expand((n,)), seeded())
    ratio = q.log_prob(value) - p.log_prob(value)
    kl = kl_per_dimension(q, p).sum()
    assert abs(ratio.mean() - kl) < 5 * ratio.std() / math.sqrt(n)


@settings(deadline=None, max_examples=50)
@given(*[st.floats(-20, 20) for _ in range(4)])
def test_kl_is_never_negative(q_mean: float, q_log: float, p_mean: float, p_log: float) -> None:
    q, p = (
        diagonal_normal(torch.tensor([m], dtype=torch.float64), torch.tensor([v], dtype=torch.float64))
        for m, v in ((q_mean, q_log), (p_mean, p_log))
    )
    diagonal_kl, full_kl = kl_per_dimension(q, p), kl_per_dimension(q, as_full(p))
    assert diagonal_kl >= -1e-12
    torch.testing.assert_close(full_kl, diagonal_kl, rtol=1e-9, atol=1e-9)


def test_kl_gradients() -> None:
    q_mean, q_log, p_mean = (randn(2, 3, seed=seed).requires_grad_() for seed in range(3))
    triangle = (randn(2, 3, 3, seed=4).tril() + 2 * torch.eye(3, dtype=torch.float64)).requires_grad_()

    def function(q_mean: Tensor, q_log: Tensor, p_mean: Tensor, triangle: Tensor) -> tuple[Tensor, Tensor]:
        q = diagonal_normal(q_mean, q_log)
        p = MultivariateNormal(p_mean, scale_tril=triangle.tril(), validate_args=False)
        return kl_per_dimension(q, p), kl_per_dimension(q, diagonal_normal(p_mean, q_mean))

    torch.autograd.gradcheck(function, (q_mean, q_log, p_mean, triangle))


def test_kl_of_other_laws_is_refused() -> None:
    bernoulli = Independent(Bernoulli(logits=torch.zeros(3)), 1)
    for pair in ((bernoulli, standard_normal(torch.zeros(3))), (standard_normal(torch.zeros(3)), bernoulli)):
        with pytest.raises(TypeError, match="no closed form"):
            kl_per_dimension(*pair)


# ---- drawing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "law",
    [
        diagonal_normal(torch.tensor([1.0, -2.0]), torch.tensor([0.5, -1.0])),
        MultivariateNormal(torch.tensor([1.0, -2.0]), torch.tensor([[2.0, 0.7], [0.7, 0.5]])),
        Independent(Bernoulli(logits=torch.tensor([0.5, -1.0])), 1),
        ComplexGaussian(torch.tensor([0.5, -1.0])),
    ],
    ids=lambda law: type(law).__name__,
)
def test_draws_have_the_moments_of_their_law(law) -> None:
    n = 50_000
    many = law.expand((n,))
    value = draw(many, seeded())
    assert torch.equal(value, draw(many, seeded()))
    assert not torch.equal(value, draw(many, seeded(1)))
    assert ((value.mean(0) - law.mean).abs() < 5 * (law.variance / n).sqrt()).all()
    torch.testing.assert_close(value.var(0), law.variance, rtol=0.08, atol=0)
    if isinstance(law, MultivariateNormal):
        torch.testing.assert_close(value.T.cov(), law.covariance_matrix, rtol=0.08, atol=0.02)


def test_draws_leave_the_global_generator_alone() -> None:
    state = torch.get_rng_state()
    draw(standard_normal(torch.zeros(3)), seeded())
    draw(ComplexGaussian(torch.zeros(3)), seeded())
    assert torch.equal(state, torch.get_rng_state())


def test_drawing_from_the_unknown_is_refused() -> None:
    with pytest.raises(TypeError, match="Gumbel"):
        draw(torch.distributions.Gumbel(0.0, 1.0))


# ---- likelihoods -------------------------------------------------------------------------------------------------


def test_likelihoods_of_a_decoder() -> None:
    mean, log_variance = randn(2, 3, 6), randn(2, 3, 6, seed=1)
    laws = {
        "complex_gaussian": (ComplexGaussian(log_variance), log_variance),
        "gaussian": (diagonal_normal(mean, log_variance), torch.cat([mean, log_variance], -1)),
        "fixed_gaussian": (Independent(Normal(mean, torch.ones_like(mean)), 1), mean),
        "joint_l2": (RadialLaplace(mean), mean),
        "bernoulli": (Independent(Bernoulli(logits=mean), 1), mean),
    }
    assert laws.keys() == LIKELIHOODS.keys()
    for name, (expected, packed) in laws.items():
        likelihood = LIKELIHOODS[name]()
        assert packed.shape[-1] == 6 * likelihood.outputs
        x = (randn(2, 3, 6, seed=2).square() > 0.5).double()
        torch.testing.assert_close(likelihood(packed).log_prob(x), expected.log_prob(x), msg=name)
        assert likelihood(packed).batch_shape == (2, 3)


def test_fixed_standard_deviation() -> None:
    law = FixedGaussianLikelihood(0.3)(torch.zeros(2, 3, dtype=torch.float64))
    torch.testing.assert_close(law.stddev, torch.full((2, 3), 0.3, dtype=torch.float64))
