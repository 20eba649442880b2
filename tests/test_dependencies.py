"""Declarations: their notation, what is refused, and what follows from them, against oracles of another kind."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynvae.dependencies import Dependencies, Parents, Span
from dynvae.dependencies.separation import boundary
from dynvae.errors import ConfigError
from dynvae.models import PRESETS, build

SEVEN = ("vae", "dkf", "storn", "vrnn", "srnn", "rvae", "dsae")
PUBLISHED = {
    "autoregressive": {"storn", "vrnn", "srnn"},
    "true_posterior": {"dkf", "srnn", "rvae"},
    "dynamical_latent": {"dkf", "vrnn", "srnn", "dsae"},
}
"""The ticks of the published comparison (Bie et al., 2021)."""


def declared(name: str) -> Dependencies:
    return build(name, x_dim=3, z_dim=2).dependencies


# ---- ticks and exact posteriors ----------------------------------------------------------------------------------


@pytest.mark.parametrize("tick", PUBLISHED)
def test_derived_ticks_are_the_published_ones(tick: str) -> None:
    ticked = {name for name in SEVEN if getattr(declared(name), tick)}
    # The published table leaves the static VAE blank; its encoder has the exact structure.
    assert ticked == PUBLISHED[tick] | ({"vae"} if tick == "true_posterior" else set())


def test_causal_rvae_has_the_ticks_of_the_noncausal_one() -> None:
    one, other = declared("rvae"), declared("rvae-causal")
    for tick in PUBLISHED:
        assert getattr(one, tick) == getattr(other, tick)
    assert other.causal
    assert not one.causal


def test_kvae_is_dynamical_and_its_frame_wise_encoder_misses_the_rest() -> None:
    kvae = declared("kvae")
    assert (kvae.autoregressive, kvae.true_posterior, kvae.dynamical_latent) == (False, False, True)
    assert str(kvae.missing()) == "a[1:t-1], x[t+1:T]"


@pytest.mark.parametrize(
    ("name", "exact"),
    [
        ("vae", "x[t]"),
        ("dkf", "z[t-1], x[t:T]"),
        ("kvae", "a[1:t-1], x[t:T]"),
        ("storn", "z[1:t-1], x[1:T]"),
        ("vrnn", "z[1:t-1], x[1:T]"),
        ("srnn", "z[t-1], x[1:T]"),
        ("rvae", "z[1:t-1], x[1:T]"),
        ("rvae-causal", "z[1:t-1], x[t:T]"),
        ("dsae", "z[1:t-1], x[t:T], v"),
    ],
)
def test_exact_posterior_of(name: str, exact: str) -> None:
    assert str(declared(name).exact_posterior().parents) == exact


def test_missing_and_superfluous_tell_why_there_is_no_tick() -> None:
    assert str(declared("vrnn").missing()) == "x[t+1:T]"
    assert str(declared("storn").missing()) == "z[1:t-1], x[t+1:T]"
    assert str(declared("dsae").missing()) == "z[1:t-1]"
    assert str(declared("dsae").superfluous()) == "x[1:t-1]"
    assert not declared("dsae").missing("sequence_posterior")


@pytest.mark.parametrize("name", ["vae", "dkf", "srnn", "rvae", "rvae-causal"])
def test_encoders_of_the_zoo_that_miss_nothing_see_nothing_superfluous(name: str) -> None:
    assert not declared(name).superfluous()


def test_seeing_more_than_the_exact_posterior_keeps_the_tick() -> None:
    dkf = build("dkf", x_dim=3, z_dim=2, bidirectional=True).dependencies
    assert dkf.true_posterior
    assert str(dkf.superfluous()) == "x[1:t-1]"


def test_tick_needs_the_sequence_level_posterior_too() -> None:
    right = Dependencies("z[1:t-1]", "z[t], v", "z[1:t-1], x[t:T], v", sequence_latent="v", sequence_posterior="x[1:T]")
    assert right.true_posterior
    given_a_class = Dependencies("", "z[t], v", "x[t], v", sequence_latent="v", sequence_posterior="c")
    assert not given_a_class.true_posterior
    assert str(given_a_class.missing("sequence_posterior")) == "x[1:T]"


def test_longer_memory_and_inputs() -> None:
    model = Dependencies("z[t-3:t-1], u[t]", "z[t-1:t], c", "z[t-3:t-1], x[t:T], u[t:T], c")
    assert str(model.inputs) == "u[1:T], c"
    assert str(model.exact_posterior().parents) == "z[t-3:t-1], x[t:T], u[t:T], c"
    assert model.true_posterior
    assert "p(x₁:T, z₁:T | u₁:T, c)" in model.equations()


def test_dependence_that_skips_frames_has_a_verdict_but_no_notation() -> None:
    every_second = Dependencies("z[t-2]", "z[t]", "z[t-2], x[t:T]")
    assert every_second.true_posterior
    with pytest.raises(ConfigError, match="no short notation"):
        every_second.exact_posterior()


# ---- d-separation against random linear-Gaussian networks --------------------------------------------------------


def partial_correlations(dependencies: Dependencies, T: int, seed: int) -> dict:
    """For each latent, which known variables its exact posterior depends on, in a network with random weights.

    In a linear-Gaussian network with generic weights, two variables are independent given others exactly where the
    entry of the precision matrix of all of them vanishes.
    """
    random = np.random.default_rng(seed)
    graph = dependencies.graph(T)
    nodes = list(graph)
    index = {node: i for i, node in enumerate(nodes)}
    weights = np.zeros((len(nodes), len(nodes)))
    for parent, child in graph.edges:
        weights[index[child], index[parent]] = random.uniform(0.4, 1.0) * random.choice([-1, 1])
    mixing = np.linalg.inv(np.eye(len(nodes)) - weights)
    covariance = mixing @ np.diag(random.uniform(0.5, 1.5, len(nodes))) @ mixing.T

    def dependent(target: tuple, known: list) -> set:
        rows = [index[node] for node in (target, *known)]
        precision = np.linalg.inv(covariance[np.ix_(rows, rows)])
        scale = np.sqrt(np.diag(precision))
        partial = np.abs(precision / np.outer(scale, scale))[0, 1:]
        return {node for node, value in zip(known, partial, strict=True) if value > 1e-10}

    known = [node for node, kind in graph.nodes(data="kind") if kind != "latent"]
    result = {}
    if dependencies.sequence_latent is not None:
        v = (dependencies.sequence_latent, None)
        result[v] = dependent(v, known)
        known.append(v)
    for t in range(1, T + 1):
        past = [(dependencies.latent, s) for s in range(1, t)]
        result[dependencies.latent, t] = dependent((dependencies.latent, t), known + past)
    return result


PRIORS = (
    "",
    "z[t-1]",
    "z[1:t-1]",
    "x[t-1]",
    "x[1:t-1]",
    "z[t-1], x[1:t-1]",
    "z[1:t-1], x[1:t-1]",
    "z[t-2:t-1]",
    "u[t]",
)
LIKELIHOODS = (
    "z[t]", "z[1:t]", "z[t-1:t]", "z[t], x[t-1]", "z[t], x[1:t-1]", "z[1:t], x[1:t-1]", "z[t], u[1:t]", "x[1:t-1]"
)  # fmt: skip
declarations = st.builds(
    lambda prior, likelihood, v: Dependencies(
        prior=", ".join(filter(None, [prior, v[0]])),
        likelihood=", ".join(filter(None, [likelihood, v[1]])),
        posterior="x[1:T]",
        sequence_latent="v" if any(v) else None,
        sequence_posterior="x[1:T]" if any(v) else "",
    ),
    st.sampled_from(PRIORS),
    st.sampled_from(LIKELIHOODS),
    st.sampled_from([("", ""), ("", ""), ("v", ""), ("", "v"), ("v", "v")]),
)


@settings(max_examples=40, deadline=None)
@given(declarations, st.integers(0, 2**31))
def test_boundaries_are_the_nonzero_partial_correlations(dependencies: Dependencies, seed: int) -> None:
    T = 5
    graph = dependencies.graph(T)
    known = {node for node, kind in graph.nodes(data="kind") if kind != "latent"}
    expected = partial_correlations(dependencies, T, seed)
    if dependencies.sequence_latent is not None:
        v = (dependencies.sequence_latent, None)
        assert boundary(graph, v, known) == expected[v]
        known.add(v)
    for t in range(1, T + 1):
        past = {("z", s) for s in range(1, t)}
        assert boundary(graph, ("z", t), known | past) == expected["z", t]


@pytest.mark.parametrize("name", PRESETS)
def test_exact_posterior_of_the_zoo_holds_at_every_frame_of_a_linear_gaussian_network(name: str) -> None:
    dependencies, T = declared(name), 6
    expected = partial_correlations(dependencies, T, seed=1)
    exact = dependencies.exact_posterior()
    for t in range(1, T + 1):
        assert exact.parents.nodes(t, T) == expected[dependencies.latent, t]
    if exact.sequence_latent is not None:
        assert exact.sequence_parents.nodes(1, T) == expected[exact.sequence_latent, None]


# ---- graph and equations -----------------------------------------------------------------------------------------


def test_graph_of_srnn() -> None:
    graph = declared("srnn").graph(3)
    assert set(graph.predecessors(("z", 3))) == {("z", 2), ("x", 1), ("x", 2)}
    assert set(graph.predecessors(("x", 3))) == {("z", 3), ("x", 1), ("x", 2)}
    assert not list(graph.predecessors(("z", 1)))
    assert graph.nodes["x", 2]["kind"] == "observation"


def test_equations_of_dsae() -> None:
    dsae = declared("dsae")
    assert dsae.equations() == (
        "p(x₁:T, z₁:T, v) = p(v) ∏ₜ p(xₜ | zₜ, v) p(zₜ | z₁:ₜ₋₁)\nq(z₁:T, v | x₁:T) = q(v | x₁:T) ∏ₜ q(zₜ | v, x₁:T)"
    )
    assert str(dsae.exact_posterior()) == "p(z₁:T, v | x₁:T) = p(v | x₁:T) ∏ₜ p(zₜ | z₁:ₜ₋₁, xₜ:T, v)"


def test_equations_of_an_iid_prior_have_no_bar() -> None:
    assert "p(zₜ)" in declared("storn").equations()


def test_latex_of_dkf() -> None:
    assert declared("dkf").latex() == (
        "\\begin{aligned}\n"
        r"p(\mathbf{x}_{1:T}, \mathbf{z}_{1:T}) &= "
        r"\prod_{t=1}^{T} p(\mathbf{x}_{t} \mid \mathbf{z}_{t})\, p(\mathbf{z}_{t} \mid \mathbf{z}_{t-1}) \\"
        "\n"
        r"q(\mathbf{z}_{1:T} \mid \mathbf{x}_{1:T}) &= "
        r"\prod_{t=1}^{T} q(\mathbf{z}_{t} \mid \mathbf{z}_{t-1}, \mathbf{x}_{t:T})"
        "\n\\end{aligned}"
    )


@pytest.mark.parametrize("name", PRESETS)
def test_latex_is_balanced(name: str) -> None:
    for formula in (declared(name).latex(), declared(name).exact_posterior().latex()):
        for opening, closing in ("{}", "()"):
            assert formula.count(opening) == formula.count(closing)


def test_declarations_are_values() -> None:
    one, other = declared("srnn"), dataclasses.replace(declared("srnn"))
    assert one == other
    assert hash(one) == hash(other)
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.prior = ""  # type: ignore[misc]


# ---- notation ----------------------------------------------------------------------------------------------------


def test_spans_are_read_and_written_back() -> None:
    for text in ("z[t]", "z[t-1]", "z[1:t]", "z[1:t-1]", "x[t:T]", "x[1:T]", "z[t-3:t-1]", "x[t:t+2]", "u[t+1]", "v"):
        assert str(Span.parse(text)) == text
    assert str(Parents.parse(" z[ 1 : t - 1 ] ,x[1:T]")) == "z[1:t-1], x[1:T]"
    assert str(Parents.parse("")) == ""


def test_spans_end_where_the_sequence_does() -> None:
    assert Span.parse("z[t-2:t+2]").nodes(t=1, T=2) == [("z", 1), ("z", 2)]
    assert Span.parse("z[t-1]").nodes(t=1, T=2) == []
    assert Span.parse("x[1:t-1]").nodes(t=1, T=2) == []


@pytest.mark.parametrize(
    "text", ["z[", "z[0:t]", "z[2]", "z[T:t]", "z[t:1]", "z[t:t-1]", "z t", "t", "T[1:t]", "z[s]", "z,,x"]
)
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no span") as error:
        Parents.parse(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"prior": "z[t]"}, r"prior: 'z\[t\]' is not allowed"),
        ({"prior": "z[1:t]"}, "sees only earlier z"),
        ({"prior": "x[t]"}, "drawn before x"),
        ({"likelihood": "z[t], x[t]"}, r"likelihood: 'x\[t\]' is not allowed"),
        ({"likelihood": "z[t], x[t:T]"}, "no density"),
        ({"likelihood": "z[t], x[t+1]"}, "no density"),
        ({"posterior": "z[1:T], x[t]"}, "forward in time"),
        ({"prior": "x[1:t-1]", "likelihood": "z[1:T]"}, "a circle"),
        ({"prior": "z"}, "has no frames"),
        ({"posterior": "x"}, "has no frames"),
        ({"likelihood": "z[t], v", "sequence_latent": "v"}, "needs a sequence_posterior"),
        ({"sequence_posterior": "x[1:T]"}, "no sequence_latent"),
        ({"sequence_latent": "v", "sequence_posterior": "x[1:T]"}, "neither prior nor likelihood"),
        ({"likelihood": "z[t], v[t]", "sequence_latent": "v", "sequence_posterior": "x[1:T]"}, "whole sequence"),
        ({"likelihood": "z[t], v", "sequence_latent": "v", "sequence_posterior": "x[1:t]"}, "whole sequences"),
        ({"likelihood": "z[t], v", "sequence_latent": "v", "sequence_posterior": "z[1:T]"}, "whole sequences"),
        ({"latent": "x"}, "coincide"),
        ({"latent": "z[t]"}, "a symbol is a name"),
    ],
)
def test_what_is_no_model_is_refused(arguments: dict, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as error:
        Dependencies(**{"prior": "", "likelihood": "z[t]", "posterior": "x[t]", **arguments})
    assert "\n" not in str(error.value)


def test_a_decoder_may_look_ahead_on_the_latents() -> None:
    assert not Dependencies("z[t-1]", "z[1:T], x[1:t-1]", "z[1:t-1], x[1:T]").causal
