"""Variational EM against what is known exactly, and at the edges of what it may meet."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mixture_toys import boxes, guess, smoothed, source

from dynvae.errors import ConfigError
from dynvae.mixtures import Estimate, GaussianAssignment, Mixture, Observations, SpectralAssignment, cascade
from dynvae.mixtures.dynamics import Dynamics, Given
from dynvae.mixtures.values import Evidence
from dynvae.recurrence import executor
from dynvae.testing import check_dependencies
from dynvae.testing.linear_gaussian import LinearGaussianDVAE


def test_with_known_assignments_the_means_are_the_kalman_smoothers() -> None:
    model = LinearGaussianDVAE().double()
    observed = torch.randn(2, 9, 1, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    given = Observations(observed, torch.ones(2, 9, 1, dtype=torch.bool), torch.full_like(observed, 0.2))
    solution = Mixture(model, GaussianAssignment(), iterations=120, every=20).run(
        given, guess(2, 1, 9, torch.float64, features=3)
    )
    torch.testing.assert_close(solution.mean[:, 0], smoothed(model, observed[:, :, 0], 0.2), rtol=1e-8, atol=1e-8)
    assert solution.objective.diff(dim=0).min() > -1e-9


@pytest.mark.parametrize("noise", ["fixed", "scale", "observation"])
@pytest.mark.parametrize(("clutter", "damping"), [(0.0, 0.0), (0.1, 0.0), (0.1, 0.5)])
def test_the_bound_never_falls_where_all_is_linear_and_gaussian(noise: Any, clutter: float, damping: float) -> None:
    """Two different sources, three observations a frame, some missing, whose assignments are to be found."""
    models = [LinearGaussianDVAE(seed=seed).double() for seed in (0, 3)]
    generator = torch.Generator().manual_seed(0)
    observed = 2 * torch.randn(2, 8, 3, 3, generator=generator, dtype=torch.float64)
    present = torch.rand(2, 8, 3, generator=generator) > 0.3
    assignment = GaussianAssignment(noise=noise, clutter=clutter, clutter_density=1e-2)
    solution = Mixture(models, assignment, iterations=40, every=1, unobserved="encoder", damping=damping).run(
        Observations(observed, present, torch.full_like(observed, 0.2)), guess(2, 2, 8, torch.float64, features=3)
    )
    assert solution.objective.diff(dim=0).min() > -1e-9
    assert (solution.objective[-1] > solution.objective[0] + 0.1).all()


def test_the_bound_is_below_the_exact_evidence() -> None:
    """One source that is always seen: p(o) is that of the same model with more noise."""
    model, noisier = LinearGaussianDVAE().double(), LinearGaussianDVAE(observation_std=(0.25 + 0.2) ** 0.5).double()
    observed = noisier.sample(3, 10, feedback="sample", generator=torch.Generator().manual_seed(0)).x
    given = Observations(
        observed.unsqueeze(2), torch.ones(3, 10, 1, dtype=torch.bool), observed.new_full((3, 10, 1, 3), 0.2)
    )
    solution = Mixture(model, GaussianAssignment(), iterations=100, every=100).run(
        given, guess(3, 1, 10, torch.float64, features=3)
    )
    gap = noisier.log_likelihood(observed) - solution.objective[-1]
    assert (gap > 0).all()
    assert (gap < 0.5 * 10).all()


MODELS = ["vae", "dkf", "kvae", "storn", "vrnn", "srnn", "rvae", "rvae-causal", "dsae", "hit", "light"]


@pytest.mark.parametrize("likelihood", ["gaussian", "fixed_gaussian"])
@pytest.mark.parametrize("name", MODELS)
def test_any_model_tracks(name: str, likelihood: str) -> None:
    model = source(name, likelihood)
    observed = boxes(2, 6, 3)
    observed.present[:, 2:4] = False
    solution = Mixture(model, GaussianAssignment(noise="scale"), iterations=3, every=1, keep="best").run(
        observed, guess(2, 2, 6)
    )
    assert solution.mean.shape == solution.variance.shape == (2, 2, 6, 4)
    assert all(part.isfinite().all() for part in (solution.mean, solution.variance, solution.objective))
    assert (solution.variance > 0).all()
    shares = solution.assignment.sum(1)
    torch.testing.assert_close(shares, observed.present.float(), rtol=1e-5, atol=1e-6)
    assert not solution.observed[:, :, 2:4].any()


@pytest.mark.parametrize("feedback", ["mean", "power"])
@pytest.mark.parametrize("name", MODELS)
def test_any_model_separates(name: str, feedback: Any) -> None:
    model = source(name, "complex_gaussian", x_dim=5)
    generator = torch.Generator().manual_seed(0)
    mixture = torch.randn(2, 6, 5, dtype=torch.complex64, generator=generator)
    first = Estimate(torch.randn(2, 3, 6, 5, dtype=torch.complex64, generator=generator), torch.zeros(2, 3, 6, 5))
    solution = Mixture(model, SpectralAssignment(), iterations=3, every=1, feedback=feedback).run(mixture, first)
    assert solution.mean.is_complex()
    assert torch.view_as_real(solution.mean).isfinite().all()
    assert solution.objective.isfinite().all()
    torch.testing.assert_close(solution.assignment.sum(1), torch.ones(2, 6, 5))


@pytest.mark.parametrize("transform", ["raw", "log", "root"])
@pytest.mark.parametrize("feedback", ["mean", "power", "gaussian", "legacy-uniform"])
def test_the_program_is_fed_with_the_estimates(transform: Any, feedback: Any) -> None:
    """Frame by frame through the contract's steps, in float64, the same laws come out."""
    model = source("srnn", "complex_gaussian", x_dim=5, input_transform=transform).double()
    dynamics = Dynamics(model, feedback)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 7, 5, dtype=torch.complex128, generator=generator)
    evidence = Evidence.of(torch.rand(3, 7, 5, dtype=torch.float64, generator=generator) + 0.1, x)
    with torch.no_grad():
        latents = dynamics.infer(x.abs().square()).latents
        noise = dynamics.draw(x.shape, generator)
        law, seen = dynamics.explain(latents, Given(evidence), noise)
        state, found = model.start(3), law.given(evidence)
        for t in range(7):
            likelihood, state = model.step_likelihood(state, latents.z[:, t])
            torch.testing.assert_close(likelihood.log_variance, law.log_variance[:, t])
            frame = Estimate(found.mean[:, t], found.variance[:, t])
            fed = dynamics.fed(frame, None if noise is None else noise[:, t])
            state = model.advance(state, latents.z[:, t], fed)
        if noise is None:
            again = dynamics.infer(dynamics.fed(found), seen=seen)
            torch.testing.assert_close(again.latents.z, dynamics.infer(dynamics.fed(found)).latents.z)


@pytest.mark.parametrize("name", ["srnn", "vrnn", "storn", "dkf"])
def test_gaps_by_program_and_by_steps(name: str) -> None:
    """The prior's means in gaps, the same by the compiled executor, the plain one, and frame by frame."""
    model = source(name)
    dynamics = Dynamics(model)
    generator = torch.Generator().manual_seed(0)
    target, observed = torch.randn(3, 9, 4, generator=generator), torch.rand(3, 9, generator=generator) > 0.4
    evidence = Evidence.of(observed.unsqueeze(-1) * torch.ones(4), target)
    given = Given(evidence, observed)
    with torch.no_grad():
        latents = dynamics.infer(target).latents
        law, _ = dynamics.explain(latents, given)
        with executor("plain"):
            plain, _ = dynamics.explain(latents, given)
        steps = dynamics._step(latents, given, evidence, None)
    for one in (plain, steps):
        torch.testing.assert_close(law.mean, one.mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(law.log_variance, one.log_variance, rtol=1e-4, atol=1e-5)


def test_sources_that_are_one_model_or_several_agree() -> None:
    first, second = source("srnn"), source("srnn")
    second.load_state_dict(first.state_dict())
    observed, start = boxes(2, 6, 3), guess(2, 3, 6)
    one = Mixture(first, GaussianAssignment(), iterations=4, every=4).run(observed, start)
    several = Mixture([first, second, first], GaussianAssignment(), iterations=4, every=4).run(observed, start)
    torch.testing.assert_close(one.mean, several.mean)
    torch.testing.assert_close(one.assignment, several.assignment)


def test_padding_and_absent_sources_change_nothing() -> None:
    model = source("srnn")
    observed, start = boxes(1, 5, 2), guess(1, 2, 5)
    alone = Mixture(model, GaussianAssignment(), iterations=3, every=3).run(observed, start)
    pad = torch.nn.functional.pad
    padded = Observations(
        pad(observed.values, (0, 0, 0, 1, 0, 3), value=torch.nan),
        pad(observed.present, (0, 1, 0, 3), value=False),
        pad(observed.variance, (0, 0, 0, 1, 0, 3), value=1.0),
    )
    wider = Estimate(*(pad(part, (0, 0, 0, 3, 0, 1), value=1.0) for part in start))
    found = Mixture(model, GaussianAssignment(), iterations=3, every=3).run(
        padded, wider, active=torch.tensor([[True, True, False]]), lengths=torch.tensor([5])
    )
    torch.testing.assert_close(found.mean[:, :2, :5], alone.mean, rtol=1e-4, atol=1e-5)
    assert not found.assignment[:, 2].any()
    assert found.mean.isfinite().all()


@pytest.mark.parametrize(
    ("time", "observations", "sources"), [(1, 1, 1), (1, 0, 2), (5, 0, 2), (4, 1, 5), (4, 7, 2), (4, 3, 1)]
)
def test_sizes(time: int, observations: int, sources: int) -> None:
    solution = Mixture(source(), GaussianAssignment(clutter=0.1), iterations=3, every=1).run(
        boxes(2, time, observations), guess(2, sources, time)
    )
    assert solution.mean.isfinite().all()
    assert solution.objective.isfinite().all()
    assert solution.assignment.shape == (2, sources, time, observations)


def test_nothing_is_ever_observed() -> None:
    """NaN where nothing is present is not looked at."""
    observed = boxes(2, 5, 3)
    observed.values.fill_(torch.nan)
    observed.present.fill_(False)
    solution = Mixture(source(), GaussianAssignment(noise="observation"), iterations=3, every=1).run(
        observed, guess(2, 2, 5)
    )
    assert solution.mean.isfinite().all()
    assert not solution.observed.any()
    assert (solution.objective < 1e-3).all()


def test_identical_sources_share() -> None:
    """What starts alike stays alike: each of them is as likely as the other."""
    start = Estimate(*(part[:, :1].expand(-1, 2, -1, -1) for part in guess(1, 1, 5)))
    solution = Mixture(source(), GaussianAssignment(), iterations=5).run(boxes(1, 5, 1), start)
    torch.testing.assert_close(solution.assignment, torch.full((1, 2, 5, 1), 0.5))


def test_digital_silence() -> None:
    model = source("srnn", "complex_gaussian", x_dim=5)
    for mixture in (torch.zeros(1, 4, 5), torch.zeros(1, 4, 5).index_fill(1, torch.tensor([2]), 1.0)):
        solution = Mixture(model, SpectralAssignment(), iterations=5, every=1).run(
            mixture.to(torch.complex64), Estimate(torch.zeros(1, 2, 4, 5) + 0j, torch.zeros(1, 2, 4, 5))
        )
        assert torch.view_as_real(solution.mean).isfinite().all()
        assert solution.objective.isfinite().all()


def test_ten_thousand_frames() -> None:
    observed = boxes(1, 10_000, 2)
    small = {"x_hidden": [8], "forward_rnn": 8, "hx_hidden": [8], "backward_rnn": 8, "decoder_hidden": [8]}
    solution = Mixture(source(**small), GaussianAssignment(), iterations=2, every=2).run(observed, guess(1, 2, 10_000))
    assert solution.mean.isfinite().all()
    assert solution.objective.isfinite().all()


def test_cascade_covers_any_length() -> None:
    mixture = Mixture(source(), GaussianAssignment(), iterations=2)
    first = Estimate(torch.zeros(2, 3, 4), torch.ones(2, 3, 4))
    assert cascade(mixture, boxes(2, 32, 3), first, length=10).mean.shape == (2, 3, 32, 4)


def test_it_stops_when_nothing_changes() -> None:
    solution = Mixture(
        LinearGaussianDVAE().double(), GaussianAssignment(), iterations=500, every=5, tolerance=1e-6
    ).run(
        Observations(torch.zeros(1, 4, 1, 3).double(), torch.ones(1, 4, 1, dtype=torch.bool), torch.ones(3).double()),
        guess(1, 1, 4, torch.float64, features=3),
    )
    assert solution.done < 500
    assert solution.iterations[-1] == solution.done


def test_tempering_rises_to_one() -> None:
    assignment = GaussianAssignment(temper=0.01, anneal=2)
    assert [round(assignment.temper_at(i), 6) for i in range(4)] == [0.01, 0.1, 1.0, 1.0]


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"iterations": 0}, "iteration"),
        ({"unobserved": "guess"}, "unobserved"),
        ({"tolerance": 1.0}, "every"),
        ({"damping": 1.0}, "damping"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        Mixture(source(), GaussianAssignment(), **settings)


def test_what_cannot_be_a_source_is_refused() -> None:
    with pytest.raises(ConfigError, match="Gaussian"):
        Mixture(source("srnn", "bernoulli"), GaussianAssignment())
    with pytest.raises(ConfigError, match="complex"):
        Mixture(source("srnn", "gaussian"), SpectralAssignment())
    with pytest.raises(ConfigError, match="3 sources"):
        Mixture([source(), source()], GaussianAssignment()).run(boxes(1, 2, 1), guess(1, 3, 2))
    observed = boxes(1, 2, 1)
    observed.values[0, 0] = torch.inf
    with pytest.raises(ValueError, match="finite"):
        Mixture(source(), GaussianAssignment()).run(observed, guess(1, 1, 2))


def test_an_srnn_without_backward_rnn_filters() -> None:
    report = check_dependencies(source("srnn", forward_rnn=4, hx_hidden=[], backward_rnn=0))
    assert not report.problems
