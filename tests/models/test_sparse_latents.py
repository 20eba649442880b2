"""Dictionaries, sparse laws and spikes with slabs, against quadrature, sampling and the published objective."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from model_toys import small
from torch import Tensor
from torch.distributions import Independent, Normal, StudentT

from dynvae.distributions import diagonal_normal, draw, kl_per_dimension
from dynvae.errors import ConfigError
from dynvae.metrics import active_units, hoyer
from dynvae.models import DVAE, Latents
from dynvae.models.structures import Dictionary, SparseLaw, dct_atoms, relevance
from dynvae.models.vsc import SpikeSlab
from dynvae.testing import check_dvae


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


MEAN, VARIANCE = double(-1.5, 0.0, 0.3, 4.0), double(0.2, 1.0, 1e-3, 2.0)
QUICK = ["check_shapes", "check_state_dict", "check_save_load", "check_elbo_is_expected_log_weight", "check_device",
         "check_gradients_are_right", "check_gradients_reach_parameters", "check_step_equals_parallel", "check_sample",
         "check_sample_follows_the_prior", "check_noise_makes_the_sample", "check_declared_dependencies"]  # fmt: skip


def grid(mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """Places around each mean, and the weight of a Gaussian there: the trapezoidal rule is exact to all digits."""
    steps = torch.linspace(-12, 12, 4001, dtype=torch.float64)
    weight = (-0.5 * steps.square()).exp()
    return mean + std * steps.unsqueeze(1), (weight / weight.sum()).unsqueeze(1)


def test_variance_in_closed_form_is_the_most_likely_one() -> None:
    q = Normal(MEAN, VARIANCE.sqrt())
    gamma = relevance(MEAN.square() + VARIANCE)
    divergences = [
        torch.distributions.kl_divergence(q, Normal(0.0, (factor * gamma).sqrt())) for factor in (0.9, 1.0, 1.1)
    ]
    assert (divergences[1] < divergences[0]).all()
    assert (divergences[1] < divergences[2]).all()
    law = SparseLaw(torch.zeros(4).double(), torch.ones(4).double(), degrees=0.0)
    assert torch.allclose(kl_per_dimension(Independent(q, 1), law), divergences[1])


def test_objective_of_one_line_has_the_gradient_of_the_two_steps() -> None:
    mean, log_variance = MEAN.clone().requires_grad_(), VARIANCE.log().requires_grad_()
    zero = torch.zeros_like(mean)

    def slope(law: SparseLaw) -> tuple[Tensor, ...]:
        return torch.autograd.grad(
            kl_per_dimension(diagonal_normal(mean, log_variance), law).sum(), (mean, log_variance)
        )

    one, nearly = slope(SparseLaw(zero, zero + 1, 0.0)), slope(SparseLaw(zero, zero + 1e-6, 1e-9))
    gamma = relevance((mean.square() + log_variance.exp()).detach())  # first γ, then all else
    step = 0.5 * (gamma.log() - log_variance + (mean.square() + log_variance.exp()) / gamma - 1)
    two = torch.autograd.grad(step.sum(), (mean, log_variance))
    for a, b, c in zip(one, two, nearly, strict=True):
        assert torch.allclose(a, b)
        assert torch.allclose(a, c, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("degrees", [0.2, 1.0, 5.0])
def test_sparse_law_is_a_student_t_and_its_divergence_a_bound(degrees: float) -> None:
    loc, scale = double(0.5, 0.0, 0.0, -1.0), double(1.0, 0.5, 2.0, 0.1)
    law, known = SparseLaw(loc, scale, degrees), StudentT(torch.tensor(degrees).double(), loc, scale)
    x, weight = grid(MEAN, VARIANCE.sqrt())
    assert torch.allclose(law.log_prob(x), known.log_prob(x).sum(-1))
    q = Normal(MEAN, VARIANCE.sqrt())
    exact = (weight * (q.log_prob(x) - known.log_prob(x))).sum(0)
    bound = kl_per_dimension(Independent(q, 1), law)
    assert (bound >= exact - 1e-9).all()
    # The bound with q(γ), by quadrature over ln γ: E_q ln q(a) + KL(q(γ) ‖ p(γ)) - E ln N(a; m, γ).
    shape, rate = degrees / 2, degrees * scale.square() / 2
    second = (MEAN - loc).square() + VARIANCE
    new_shape, new_rate = shape + 0.5, rate + second / 2
    assert torch.allclose(new_rate / new_shape, relevance(second, scale, degrees))
    log_gamma = torch.linspace(-40, 400, 200_001, dtype=torch.float64).unsqueeze(1)
    step = float(log_gamma[1] - log_gamma[0])

    def log_inverse_gamma(a: float, b: Tensor) -> Tensor:
        return a * b.log() - math.lgamma(a) - a * log_gamma - b / log_gamma.exp()  # a density of ln γ

    mine, prior = log_inverse_gamma(new_shape, new_rate), log_inverse_gamma(shape, rate)
    likely = -0.5 * (math.log(2 * math.pi) + log_gamma + second / log_gamma.exp())
    by_quadrature = (mine.exp() * (mine - prior - likely)).sum(0) * step - q.entropy()
    assert torch.allclose(bound, by_quadrature, rtol=1e-6)


def test_draws_of_the_sparse_law_have_its_quantiles() -> None:
    law = SparseLaw(torch.full((200_000, 1), 2.0), torch.full((200_000, 1), 3.0), degrees=1.0)  # Cauchy
    drawn = draw(law, torch.Generator().manual_seed(0)).flatten()
    quantiles = torch.quantile(drawn, torch.tensor([0.25, 0.5, 0.75, 0.9]))
    expected = 2 + 3 * torch.tan(math.pi * (torch.tensor([0.25, 0.5, 0.75, 0.9]) - 0.5))
    assert torch.allclose(quantiles, expected, rtol=0.02, atol=0.05)


def test_without_a_law_nothing_is_drawn() -> None:
    model = small("vae", latent="sparse", degrees=0.0)
    x = torch.rand(2, 3, 5)
    assert model.elbo(x).total.isfinite().all()
    assert model.resynthesize(x).mean.isfinite().all()
    for call in (lambda: model.sample(1, 2), lambda: model.iwae(x, samples=2)):
        with pytest.raises(ConfigError, match="degrees"):
            call()


def test_divergence_of_spikes_and_slabs_by_sampling_and_by_quadrature() -> None:
    logit = double(-2.0, 0.0, 1.0, 3.0)
    q = SpikeSlab(MEAN, VARIANCE.log(), logit)
    p = SpikeSlab(double(0.5, 0.0, 0.0, 1.0), double(0.0, 1.0, -1.0, 0.5), double(-1.0, 2.0, 0.0, 0.0))
    found = kl_per_dimension(q, p)
    x, weight = grid(MEAN, VARIANCE.sqrt())
    slabs = [Normal(law.loc, (0.5 * law.log_variance).exp()) for law in (q, p)]
    on = q.active * (q.active.log() - p.active.log() + (weight * (slabs[0].log_prob(x) - slabs[1].log_prob(x))).sum(0))
    off = (1 - q.active) * ((1 - q.active) / (1 - p.active)).log()
    assert torch.allclose(found, on + off)
    many = SpikeSlab(*(part.expand(400_000, 4) for part in (q.loc, q.log_variance, q.logit)))
    z = draw(many, torch.Generator().manual_seed(0))
    difference = many.log_prob(z) - p.log_prob(z)
    assert abs(difference.mean() - found.sum()) < 5 * difference.std() / 400_000**0.5
    assert torch.allclose((z != 0).double().mean(0), q.active, atol=0.005)
    assert torch.allclose(z.mean(0), q.mean, atol=0.02)
    assert torch.allclose(z.var(0), q.variance, rtol=0.03, atol=0.01)


def test_slab_warms_up() -> None:
    model = small("vsc")
    x, noise = torch.rand(2, 3, 5), model.draw_noise(2, 3, torch.Generator().manual_seed(0))
    cold, warm = model.elbo(x, noise=noise, slab=0.0), model.elbo(x, noise=noise, slab=1.0)
    assert torch.equal(warm.total, model.elbo(x, noise=noise).total)
    active = model.posterior(x, noise=noise).z.active
    binary = active * (active / 0.5).log() + (1 - active) * ((1 - active) / 0.5).log()
    assert torch.allclose(cold.kl, binary, atol=1e-6)
    assert not torch.equal(cold.total, warm.total)


def test_gradient_reaches_the_spikes_in_training() -> None:
    model = small("vsc", active=0.5).train()
    elbo = model.elbo(torch.rand(64, 3, 5), generator=torch.Generator().manual_seed(0))
    elbo.log_likelihood.sum().backward()
    weight = model.encoder.layers[-1].bias.grad
    assert (weight[-3:] != 0).all()


def priors(name: str, model: DVAE) -> tuple[Tensor, Tensor]:
    """Values of a one-dimensional z that stand for the prior, and their weights."""
    middle = (torch.arange(40_000, dtype=torch.float64) + 0.5) / 40_000
    if name == "sdm-vae":  # the quantiles of a Cauchy law
        return torch.tan(math.pi * (middle - 0.5)), torch.full_like(middle, 1 / 40_000)
    if name == "vsc":
        slab = torch.full_like(middle, 0.5 / 40_000)
        return torch.cat([torch.zeros(1).double(), torch.special.ndtri(middle)]), torch.cat([double(0.5), slab])
    codes = torch.arange(6).view(-1, 1)
    return model.from_codes(codes.unsqueeze(0)).flatten(), torch.full((6,), 1 / 6).double()


@torch.no_grad()
@pytest.mark.parametrize("name", ["sdm-vae", "vsc", "vq-vae"])
def test_bounds_of_static_models_against_the_sum_over_all_latents(name: str) -> None:
    model = small(name, x_dim=2, z_dim=1).double().eval()
    x = torch.rand(1, 1, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z, weight = priors(name, model)
    likely = model.likelihood(Latents(z.view(-1, 1, 1)), x.expand(len(z), -1, -1)).log_prob(x.expand(len(z), -1, -1))
    exact = (likely.squeeze(1) + weight.log()).logsumexp(0)
    many = x.expand(40_000, -1, -1)
    generator = torch.Generator().manual_seed(1)
    elbo = model.elbo(many, generator=generator).total.mean()
    assert elbo < exact
    assert elbo - 1e-6 < model.iwae(many[:500], samples=20, generator=generator).mean() < exact + 0.02
    if name == "vsc":  # a q of one code leaves out the others; under the tails of a Cauchy law weights have no variance
        weights = (model.iwae(many, samples=1, generator=generator) - exact).exp()
        assert abs(weights.mean() - 1) < 5 * weights.std() / 200 + 1e-4


DCT = {"dictionary": "dct", "atoms": 5}
LEARNED = {"dictionary": "learned", "atoms": 2}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vae", {**DCT, "latent": "sparse", "degrees": 0.3}),
        ("vae", LEARNED),
        ("dkf", {**DCT, "latent": "sparse"}),
        ("vrnn", {**LEARNED, "latent": "sparse", "degrees": 3.0}),
        ("storn", {**LEARNED, "latent": "sparse"}),
        ("rvae-causal", {**DCT, "latent": "sparse"}),
        ("dsae", {**DCT, "latent": "sparse"}),
        ("light", {**LEARNED, "latent": "sparse"}),
    ],
)
def test_every_member_takes_a_structure(name: str, options: dict[str, Any]) -> None:
    check_dvae(small(name, **options), QUICK)


def test_sparse_srnn_passes_everything() -> None:
    check_dvae(small("srnn", latent="sparse", **DCT))
    in_float32 = [name for name in QUICK if name != "check_gradients_are_right"]
    check_dvae(small("srnn", latent="sparse", **LEARNED), in_float32, dtype=torch.float32)


def test_dictionaries() -> None:
    for kind in ("dct", "learned"):
        for atoms in (1, 3, 8, 20):
            weight = Dictionary(kind, 8, atoms).weight
            assert weight.shape == (8, atoms)
            assert torch.allclose(weight.norm(dim=0), torch.ones(atoms), atol=1e-6)
    assert torch.allclose(dct_atoms(8, 8) @ dct_atoms(8, 8).T, torch.eye(8), atol=1e-6)
    dictionary = Dictionary("dct", 4, 6)
    assert torch.allclose(dictionary(torch.eye(6)), dictionary.weight.T)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vae", {"dictionary": "wavelet"}), ("vae", {"atoms": 7}), ("vae", {"latent": "spike"}),
        ("vae", {"latent": "sparse", "degrees": -1.0}), ("vsc", {"active": 1.0}), ("vsc", {"latent": "sparse"}),
        ("kvae", {"latent": "sparse"}), ("vq-vae", {"latent": "sparse"}),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        small(name, **options)


def test_sparsity_is_measured() -> None:
    z = torch.randn(100, 16, generator=torch.Generator().manual_seed(0))
    assert 0 < hoyer(z).mean() < 0.4
    assert torch.allclose(hoyer(3 * z), hoyer(z))
    assert hoyer(z * (torch.arange(16) < 2)).mean() > 0.6
    assert hoyer(torch.zeros(1, 4)).isnan()
    assert hoyer(torch.ones(1, 1)).isnan()
    assert active_units(z * (torch.arange(16) < 5)) == 5
