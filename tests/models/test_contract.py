"""Every model keeps the contract, with every likelihood and option; and the battery notices those that do not."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from broken_models import BROKEN
from model_toys import bare, small

from dynvae.errors import ConfigError
from dynvae.models import DVAE, PRESETS, SRNN
from dynvae.recurrence import choice, compiled
from dynvae.testing import CHECKS, LinearGaussianDVAE, check_dvae, parametrize_checks, run_check

STATIC = ("vae", "sdm-vae", "vsc", "vq-vae", "v-vae", "av-vae", "av-cvae", "min-vae", "mvae", "mmvae", "mopoe")
"""Models without a recursion."""
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


LIKELIHOODS: dict[str, dict[str, Any]] = {
    "gaussian": {},
    "fixed_gaussian": {},
    "joint_l2": {"x_dim": 6, "observation_std": 0.7},
    "bernoulli": {},
}


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("name", PRESETS)
def test_likelihoods(name: str, likelihood: str) -> None:
    check_dvae(small(name, likelihood=likelihood, **LIKELIHOODS[likelihood]), ABOUT_OBSERVATIONS)


@pytest.mark.parametrize("name", PRESETS)
def test_log_input(name: str) -> None:
    check_dvae(small(name, input_transform="log"), ABOUT_OBSERVATIONS)


RECURRENT = ["dkf", "storn", "vrnn", "srnn", "rvae", "rvae-causal", "dsae"]


@pytest.mark.parametrize("name", RECURRENT)
def test_two_layers(name: str) -> None:
    check_dvae(small(name, rnn_layers=2))


@pytest.mark.parametrize("name", PRESETS)
def test_without_hidden_layers(name: str) -> None:
    check_dvae(small(name, **bare(name)))


@pytest.mark.parametrize("name", PRESETS)
def test_dropout(name: str) -> None:
    layers = {} if name in (*STATIC, "kvae", "mdvae") else {"rnn_layers": 2}
    checks = ["check_dropout", "check_no_state_is_kept", "check_step_equals_parallel", "check_posterior_along_a_path"]
    check_dvae(small(name, dropout=0.4, **layers), checks)


@pytest.mark.parametrize("name", PRESETS)
def test_one_dimension(name: str) -> None:
    check_dvae(small(name, x_dim=1, z_dim=1), ["check_shapes", "check_batch_equals_loop", "check_gradients_are_right"])


def test_dkf_with_a_bidirectional_encoder() -> None:
    check_dvae(small("dkf", bidirectional=True))


def test_dkf_whose_transition_proposes_through_a_sigmoid() -> None:
    check_dvae(small("dkf", bounded_proposal=True))


def test_a_model_from_outside_the_zoo() -> None:
    report = check_dvae(LinearGaussianDVAE(looseness=1.2))
    assert report
    about_conditions = {"check_condition_in_batches", "check_bound_given_the_condition", "check_condition_step_by_step",
                        "check_gaps_are_ignored", "check_no_condition_is_one_gap"}  # fmt: skip
    about_itself = {"check_save_load", "check_dropout", "check_parts_are_inferred_in_order"}
    assert set(report.not_applicable) == about_itself | about_conditions


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


# ---- on the compiled executor ------------------------------------------------------------------------------------

IN_FLOAT32 = [name for name in NAMES if name != "check_gradients_are_right"]

ON_COMPILED = {
    **{name: (name, {}, IN_FLOAT32) for name in PRESETS},
    **{f"{name}-two_layers": (name, {"rnn_layers": 2}, IN_FLOAT32) for name in RECURRENT},
    "dkf-bidirectional": ("dkf", {"bidirectional": True}, IN_FLOAT32),
    **{f"{name}-gaussian": (name, {"likelihood": "gaussian"}, ABOUT_OBSERVATIONS) for name in PRESETS},
    **{
        f"{name}-joint_l2": (name, {"likelihood": "joint_l2", **LIKELIHOODS["joint_l2"]}, ABOUT_OBSERVATIONS)
        for name in ("dkf", "srnn")
    },
    **{f"{name}-log": (name, {"input_transform": "log"}, ABOUT_OBSERVATIONS) for name in PRESETS},
    **{f"{name}-dropout": (name, {"dropout": 0.4}, ["check_dropout", "check_no_state_is_kept"]) for name in PRESETS},
}


@pytest.mark.parametrize("case", ON_COMPILED)
def test_the_compiled_executor(compiled_runs: Counter[str], case: str) -> None:
    name, changes, checks = ON_COMPILED[case]
    check_dvae(small(name, **changes), checks, dtype=torch.float32)
    recursive = name not in STATIC
    assert (compiled_runs["program_forward"] > 0) is recursive
    assert (compiled_runs["program_backward"] > 0) is recursive


def _forgets_lengths(loop: Any, inputs: Any, parameters: Any, initial: Any, lengths: Any) -> Any:
    return compiled.run_loop(loop, inputs, parameters, initial, None)


def _is_off(*arguments: Any) -> Any:
    return {name: value + 1e-3 for name, value in compiled.run_loop(*arguments).items()}


def _lets_states_leak(loop: Any, inputs: Any, parameters: Any, initial: Any, lengths: Any) -> Any:
    initial = {name: value + 1e-3 for name, value in initial.items()}
    return compiled.run_loop(loop, inputs, parameters, initial, lengths)


def _leaks_gradients(*arguments: Any) -> Any:
    values = compiled.run_loop(*arguments)
    return {name: value + 1e-6 * (value - value.detach()).sum(1, keepdim=True) for name, value in values.items()}


def _has_steep_gradients(*arguments: Any) -> Any:
    values = compiled.run_loop(*arguments)
    return {name: value + 0.01 * (value - value.detach()) for name, value in values.items()}


@pytest.mark.parametrize(
    ("defect", "name", "noticed_by"),
    [
        (_forgets_lengths, "srnn", "check_batch_equals_loop"),
        (_forgets_lengths, "rvae", "check_batch_equals_loop"),
        (_is_off, "vrnn", "check_noise_makes_the_sample"),
        (_is_off, "dkf", "check_posterior_along_a_path"),
        (_is_off, "storn", "check_step_equals_parallel"),
        (_lets_states_leak, "vrnn", "check_step_equals_parallel"),
        (_has_steep_gradients, "dsae", "check_single_precision"),
        (_leaks_gradients, "rvae-causal", "check_declared_dependencies"),
        (_leaks_gradients, "vrnn", "check_nothing_sees_what_it_predicts"),
    ],
)
def test_defects_of_the_compiled_executor_are_noticed(
    compiled_runs: Counter[str], monkeypatch: pytest.MonkeyPatch, defect: Any, name: str, noticed_by: str
) -> None:
    check_dvae(small(name), [noticed_by], dtype=torch.float32)
    monkeypatch.setattr(choice, "COMPILED", replace(choice.COMPILED, run_loop=defect))
    with pytest.raises(AssertionError, match=f"fails {noticed_by}: "):
        check_dvae(small(name), [noticed_by], dtype=torch.float32)


# ---- the battery itself --------------------------------------------------------------------------------------------


def test_every_check_has_a_model_that_fails_it() -> None:
    assert set(BROKEN) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_broken_models_are_noticed(name: str) -> None:
    with pytest.raises(AssertionError, match=f"fails {name}: "):
        check_dvae(BROKEN[name](), [name])


@pytest.mark.parametrize("name", IN_FLOAT32)
def test_broken_models_are_noticed_in_float32(name: str) -> None:
    with pytest.raises(AssertionError, match=f"fails {name}: "):
        check_dvae(BROKEN[name](), [name], dtype=torch.float32)


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


def test_checks_that_need_many_digits_are_in_float64_only() -> None:
    everywhere = {*check_dvae(small("vae")).passed}
    report = check_dvae(small("vae"), dtype=torch.float32)
    assert {*report.passed} == everywhere & {*IN_FLOAT32}
    assert everywhere - {*IN_FLOAT32} <= {*report.not_applicable}
    with pytest.raises(ConfigError, match="float64 or float32, not in"):
        check_dvae(small("vae"), dtype=torch.float16)


def test_unknown_checks_are_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean 'check_shapes'"):
        check_dvae(small("vae"), ["check_shape"])


def test_errors_of_a_model_are_failures_with_the_name_of_the_check() -> None:
    model = small("vae")
    model.decoder.layers[1] = torch.nn.Linear(2, 7)
    with pytest.raises(AssertionError, match="VAE fails check_shapes: RuntimeError: mat1 and mat2"):
        check_dvae(model)


def test_joints_come_in_threes() -> None:
    with pytest.raises(ConfigError, match="3 features together; 5 is no multiple"):
        small("vae", likelihood="joint_l2")
