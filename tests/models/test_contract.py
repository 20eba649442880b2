"""Every model keeps the contract, with every likelihood and option; and the battery notices those that do not."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from broken_models import BROKEN
from model_toys import bare, small

from dynvae.errors import ConfigError
from dynvae.models import DVAE, PRESETS, SRNN
from dynvae.testing import CHECKS, LinearGaussianDVAE, check_dvae, parametrize_checks, run_check

NAMES = [check.__name__ for check in CHECKS]

# What another likelihood or another view of the input can break: the networks and their recursions stay the same.
ABOUT_OBSERVATIONS = [
    "check_shapes",
    "check_single_frame",
    "check_config",
    "check_single_precision",
    "check_observations_of_other_types",
    "check_device",
    "check_autocast",
    "check_seeds",
    "check_padding_gets_no_gradient",
    "check_elbo_terms",
    "check_elbo_is_expected_log_weight",
    "check_gradients_reach_parameters",
    "check_gradients_are_right",
    "check_extreme_inputs",
    "check_step_equals_parallel",
    "check_generation_mode",
    "check_sample",
    "check_sample_follows_the_model",
]


@parametrize_checks({name: small(name) for name in PRESETS})
def test_presets(model: DVAE, check: Any) -> None:
    check(model)


@pytest.mark.parametrize("likelihood", ["gaussian", "fixed_gaussian", "bernoulli"])
@pytest.mark.parametrize("name", PRESETS)
def test_likelihoods(name: str, likelihood: str) -> None:
    check_dvae(small(name, likelihood=likelihood), ABOUT_OBSERVATIONS)


@pytest.mark.parametrize("name", PRESETS)
def test_log_input(name: str) -> None:
    check_dvae(small(name, input_transform="log"), ABOUT_OBSERVATIONS)


@pytest.mark.parametrize("name", ["dkf", "storn", "vrnn", "srnn", "rvae", "rvae-causal", "dsae"])
def test_two_layers(name: str) -> None:
    check_dvae(small(name, rnn_layers=2))


@pytest.mark.parametrize("name", PRESETS)
def test_without_hidden_layers(name: str) -> None:
    check_dvae(small(name, **bare(name)))


@pytest.mark.parametrize("name", PRESETS)
def test_dropout(name: str) -> None:
    layers = {} if name in ("vae", "kvae") else {"rnn_layers": 2}
    checks = ["check_dropout", "check_no_state_is_kept", "check_step_equals_parallel", "check_posterior_along_a_path"]
    check_dvae(small(name, dropout=0.4, **layers), checks)


@pytest.mark.parametrize("name", PRESETS)
def test_one_dimension(name: str) -> None:
    check_dvae(small(name, x_dim=1, z_dim=1), ["check_shapes", "check_batch_equals_loop", "check_gradients_are_right"])


def test_dkf_with_a_bidirectional_encoder() -> None:
    check_dvae(small("dkf", bidirectional=True))


def test_a_model_from_outside_the_zoo() -> None:
    report = check_dvae(LinearGaussianDVAE(looseness=1.2))
    assert report
    assert set(report.not_applicable) == {"check_save_load", "check_dropout"}


def test_subclasses_record_their_config() -> None:
    class Renamed(SRNN):
        """Nothing of its own."""

    class Narrow(SRNN):
        def __init__(self, x_dim: int, *, width: int = 6) -> None:
            super().__init__(x_dim, 2, forward_rnn=width, backward_rnn=width)

    assert Renamed(4, 2).config == SRNN(4, 2).config
    assert Narrow(4).config == {"x_dim": 4, "width": 6}
    check_dvae(Renamed(4, 2), ["check_config", "check_state_dict"])
    check_dvae(Narrow(4), ["check_config", "check_state_dict"])


# ---- the battery itself --------------------------------------------------------------------------------------------


def test_every_check_has_a_model_that_fails_it() -> None:
    assert set(BROKEN) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_broken_models_are_noticed(name: str) -> None:
    with pytest.raises(AssertionError, match=f"fails {name}: "):
        check_dvae(BROKEN[name](), [name])


def test_all_failures_are_reported() -> None:
    model = BROKEN["check_kl_of_equal_laws"]()
    report = check_dvae(model, all_failures=True)
    assert not report
    assert {"check_kl_of_equal_laws", "check_elbo_terms", "check_elbo_is_expected_log_weight"} <= set(report.failed)
    assert {"check_shapes", "check_seeds"} <= set(report.passed)
    assert {*report.failed, *report.passed, *report.not_applicable} == set(NAMES)
    assert f"{len(report.passed)} of {len(NAMES) - len(report.not_applicable)} checks passed" in str(report)
    assert "KL(q ‖ q) is 0.5" in str(report)


def test_the_model_and_the_global_generator_are_left_alone() -> None:
    model = small("vrnn").train()
    model.elbo(torch.rand(2, 3, 5)).per_frame.backward()
    before, state = copy.deepcopy(model), torch.get_rng_state()
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    check_dvae(model, ["check_no_state_is_kept", "check_gradients_reach_parameters", "check_seeds", "check_dropout"])
    assert model.training
    assert vars(model).keys() == vars(before).keys()
    for (name, tensor), (_, old) in zip(model.state_dict().items(), before.state_dict().items(), strict=True):
        assert tensor.dtype == old.dtype, name
        assert torch.equal(tensor, old), name
    assert all(torch.equal(p.grad, old) for p, old in zip(model.parameters(), gradients, strict=True))
    assert torch.equal(state, torch.get_rng_state())


def test_checks_by_function_and_under_no_grad() -> None:
    by_name = {check.__name__: check for check in CHECKS}
    with torch.no_grad():
        run_check(small("vae"), by_name["check_gradients_are_right"])
        assert check_dvae(small("vae"), [by_name["check_shapes"]]).passed == ("check_shapes",)


def test_unknown_checks_are_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean 'check_shapes'"):
        check_dvae(small("vae"), ["check_shape"])


def test_errors_of_a_model_are_failures_with_the_name_of_the_check() -> None:
    model = small("vae")
    model.decoder.layers[1] = torch.nn.Linear(2, 7)
    with pytest.raises(AssertionError, match="VAE fails check_shapes: RuntimeError: mat1 and mat2"):
        check_dvae(model)
