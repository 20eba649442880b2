"""The Transformer members: sizes, causality, and caches that change nothing but the cost."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from model_toys import X_DIM, Z_DIM, small
from torch import Tensor

from dynvae.errors import ConfigError
from dynvae.models import DVAE, HiTDVAE, Latents, LigHTDVAE, build
from dynvae.models.transformer import Attention, Grown, positional_encoding, rotated
from dynvae.testing import check_dependencies, check_dvae

VARIANTS = [(name, ablation) for name in ("hit", "light") for ablation in ("none", "inv-s", "inv-s-nr")]
OPTIONS: list[dict[str, Any]] = [
    {"pre_norm": True},
    {"memory_positions": True},
    {"heads": 1, "projection": True},
    {"w_cell": "lstm", "w_direction": "forward", "rnn_layers": 2},
    {"w_cell": "rnn", "w_direction": "backward"},
    {"activation": "gelu"},
    {"positions": "relative", "memory_positions": True},
    {"positions": "relative", "span": 3, "layers": 4},
    {"span": 4, "layers": 4},
]
ABOUT_NETWORKS = [
    "check_config",
    "check_batch_equals_loop",
    "check_gradients_reach_parameters",
    "check_gradients_are_right",
    "check_declared_dependencies",
    "check_step_equals_parallel",
]
variants = pytest.mark.parametrize(("name", "ablation"), VARIANTS)


def deep(name: str, ablation: str = "none", **changes: Any) -> DVAE:
    """Two layers, in double precision."""
    return small(name, ablation=ablation, layers=2, **changes).double()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def path(time: int, batch: int = 2) -> tuple[Latents, Tensor]:
    options: dict[str, Any] = {"dtype": torch.float64, "generator": seeded()}
    latents = Latents(torch.randn(batch, time, Z_DIM, **options), torch.randn(batch, 1, **options))
    return latents, 0.1 + torch.rand(batch, time, X_DIM, **options)


# ---- sizes -------------------------------------------------------------------------------------------------------


def size(name: str, **config: Any) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build(name, **config).parameters())


def test_parameters_as_reported() -> None:
    assert size("hit") == 21_749_633  # 21.75 M
    assert size("light-reported") == 17_457_537  # 17.46 M
    assert size("light") == size("light-reported") - 256 * 257
    assert size("light", ablation="inv-s") == size("light", ablation="inv-s-nr") == size("light")


def test_sizes_that_do_not_fit_are_refused() -> None:
    for wrong in (
        {"model_dim": 5}, {"model_dim": 6, "heads": 4}, {"heads": 0}, {"layers": 0}, {"feed_forward": 0},
        {"w_dim": 0}, {"ablation": "inv"}, {"input_transform": "ln"}, {"dropout": 2.0}, {"activation": "sin"},
    ):  # fmt: skip
        with pytest.raises(ConfigError):
            small("light", **wrong)


# ---- who sees what -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ablation", ["inv-s", "inv-s-nr"])
def test_contract(ablation: str) -> None:
    check_dvae(small("hit", ablation=ablation), ABOUT_NETWORKS)  # the others are presets, and checked in full


@variants
def test_every_factor_sees_what_it_declares_through_two_layers(name: str, ablation: str) -> None:
    for options in ({}, {"memory_positions": True, "pre_norm": True}):
        report = check_dependencies(deep(name, ablation, **options), time=6)
        assert not report.problems
        likelihood = report.found["likelihood", "x"]
        assert torch.equal(likelihood, torch.ones(6, 6).tril(-1).bool())


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_options(options: dict[str, Any]) -> None:
    check_dvae(small("light", **options), ABOUT_NETWORKS)


def test_frames_of_the_memory_have_an_order_only_if_asked_for() -> None:
    (latents, x), order = path(6), [3, 0, 2, 1, 4, 5]
    for positions in (False, True):
        model = small("light", memory_positions=positions).double()
        one, other = (model.likelihood(latents, past).mean[:, -1] for past in (x, x[:, order]))
        assert torch.allclose(one, other, rtol=1e-12) is not positions


def test_the_past_is_silenced_in_training_alone() -> None:
    model = deep("light", past_dropout=0.5)
    latents, x = path(6)
    law = model.eval().likelihood(latents, x).mean
    assert torch.equal(law, model.likelihood(latents, x).mean)
    torch.manual_seed(0)
    one, other = model.train().likelihood(latents, x).mean, model.likelihood(latents, x).mean
    assert torch.equal(one[:, 0], law[:, 0])  # there is no past
    assert not torch.equal(one, other)
    with pytest.raises(ConfigError):
        deep("light", past_dropout=1.0)


def test_positions() -> None:
    code = positional_encoding(0, 50, torch.zeros(50, 8, dtype=torch.float64))
    expected = torch.cat([torch.sin(code.new_tensor([7 / 10_000 ** (i / 4) for i in range(4)])),
                          torch.cos(code.new_tensor([7 / 10_000 ** (i / 4) for i in range(4)]))])  # fmt: skip
    torch.testing.assert_close(code[7], expected)
    assert torch.equal(positional_encoding(20, 5, code), code[20:25])


def test_relative_positions_know_distances_alone() -> None:
    torch.manual_seed(0)
    attention = Attention(8, 2, rotary=True).double()
    x = torch.randn(1, 5, 8, dtype=torch.float64)
    here, there = (attention(x, attention.memory(x, start), start) for start in (0, 70))
    torch.testing.assert_close(here, there)
    assert not torch.allclose(here, attention(x, attention.memory(x, 1), 0))
    torch.testing.assert_close(rotated(x.unsqueeze(2), 3).norm(dim=-1), x.unsqueeze(2).norm(dim=-1))


@pytest.mark.parametrize("name", ["hit", "light"])
def test_a_span_bounds_what_a_frame_sees(name: str) -> None:
    options = {"positions": "relative", "memory_positions": True, "span": 3}
    model = deep(name, **options)
    latents, x = path(12)
    latents = latents._replace(z=latents.z.requires_grad_())
    (gradient,) = torch.autograd.grad(model.likelihood(latents, x).mean[:, -1].sum(), latents.z)
    reach = gradient.abs().amax((0, 2)) > 0
    assert reach.tolist() == [False] * 7 + [True] * 5  # two layers, each two frames further back
    # Long after the first frames, it does not matter how long: what comes of the last frames is the same.
    early = Latents(latents.z.detach()[:, 4:], latents.w)
    late, alone = model.likelihood(latents, x).mean[:, -1], model.likelihood(early, x[:, 4:]).mean[:, -1]
    torch.testing.assert_close(late, alone, rtol=1e-12, atol=1e-12)


def test_the_encoder_of_a_padded_batch_sees_its_span_alone() -> None:
    model = deep("light", positions="relative", span=3)
    _, x = path(12)
    lengths = torch.tensor([12, 4])
    w = torch.zeros(2, 1, dtype=x.dtype)
    whole = model.encoder(torch.cat([x, w.unsqueeze(1).expand(-1, 12, -1)], -1), lengths)
    short = model.encoder(torch.cat([x[1:, :4], w[1:].unsqueeze(1).expand(-1, 4, -1)], -1))
    torch.testing.assert_close(whole[1:, :4], short, rtol=1e-12, atol=1e-12)
    assert whole.isfinite().all()


def test_attention_is_that_of_torch() -> None:
    torch.manual_seed(0)
    ours, theirs = Attention(6, 3).double(), torch.nn.MultiheadAttention(6, 3, batch_first=True).double()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.remember.weight]))
        theirs.in_proj_bias.normal_()
        ours.query.bias.copy_(theirs.in_proj_bias[:6])
        ours.remember.bias.copy_(theirs.in_proj_bias[6:])
        theirs.out_proj.load_state_dict(ours.out.state_dict())
    x, memory = torch.randn(2, 4, 6).double(), torch.randn(2, 4, 6).double()
    future = torch.ones(4, 4).triu(1).bool()
    expected, _ = theirs(x, memory, memory, attn_mask=future)
    torch.testing.assert_close(ours(x, ours.remember(memory), is_causal=True), expected)


# ---- generation with caches --------------------------------------------------------------------------------------


@torch.no_grad()
def recomputed(model: DVAE, n: int, length: int, feedback: str, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Ancestral sampling by the laws of whole sequences: frame t from all frames so far, computed anew."""
    w = torch.randn(n, model.w_dim, dtype=torch.float64, generator=generator)
    x, mean, z = (torch.zeros(n, length, size, dtype=torch.float64) for size in (X_DIM, X_DIM, Z_DIM))
    for t in range(length):
        so_far = slice(0, t + 1)
        prior = model.prior(Latents(z[:, so_far], w), x[:, so_far])
        z[:, t] = prior.mean[:, t] + prior.stddev[:, t] * torch.randn(
            n, Z_DIM, dtype=torch.float64, generator=generator
        )
        mean[:, t] = model.likelihood(Latents(z[:, so_far], w), x[:, so_far]).mean[:, t]
        x[:, t] = mean[:, t]
        if feedback == "sample":
            x[:, t] *= -torch.log1p(-torch.rand(n, X_DIM, dtype=torch.float64, generator=generator))
    return x, z


@variants
@pytest.mark.parametrize(
    ("feedback", "options"),
    [
        ("mean", {}),
        ("sample", {"pre_norm": True, "memory_positions": True}),
        ("mean", {"positions": "relative", "memory_positions": True, "span": 5}),
    ],
    ids=["mean", "sample", "span"],
)
def test_cached_generation_is_that_of_whole_sequences(
    name: str, ablation: str, feedback: str, options: dict[str, Any]
) -> None:
    model = deep(name, ablation, input_transform="log", **options)
    drawn = model.sample(2, 40, feedback=feedback, generator=seeded(1))  # the caches are enlarged on the way
    x, z = recomputed(model, 2, 40, feedback, seeded(1))
    torch.testing.assert_close(drawn.latents.z, z, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(drawn.x, x, rtol=1e-10, atol=1e-10)


@variants
def test_a_frame_costs_one_frame(name: str, ablation: str) -> None:
    model, seen = deep(name, ablation), []
    for part in model.modules():
        if isinstance(part, torch.nn.Linear):
            part.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].flatten(0, -2).shape[0]))
    model.sample(2, 1)
    first = len(seen)
    model.sample(2, 8)
    assert set(seen) == {2}  # sequences of one frame
    assert len(seen) - first <= 8 * first


def test_the_prior_is_left_out_where_nobody_asks_for_it() -> None:
    for name, _ in VARIANTS:
        model, (_, x), calls = deep(name), path(5), []
        model.prior_net.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        model.resynthesize(x, mode="generation", generator=seeded())
        assert not calls


@variants
@pytest.mark.parametrize("gradient", [False, True])
def test_branches_from_one_state_do_not_disturb_each_other(name: str, ablation: str, gradient: bool) -> None:
    model, (latents, x) = deep(name, ablation), path(12)
    with torch.set_grad_enabled(gradient):
        prior, likelihood = model.generative(latents, x)
        state = model.observe(model.start(2, latents.w), latents.z[:, :5], x[:, :5])
        branches = []
        for scale in (1.0, 2.0, 1.0):
            branch, found = state, []
            for t in range(5, 12):
                frame, branch = model.step(branch, z=scale * latents.z[:, t], x=x[:, t])
                model.step(branch, generator=seeded())  # goes on from there, and is thrown away
                found.append(torch.cat([frame.prior.mean, frame.likelihood.mean], -1))
            branches.append(torch.stack(found, 1))
        assert torch.equal(branches[0], branches[2])
        assert not torch.allclose(branches[0], branches[1])
        expected = torch.cat([prior.mean, likelihood.mean], -1)[:, 5:]
        torch.testing.assert_close(branches[0], expected, rtol=1e-10, atol=1e-10)


@torch.no_grad()
@variants
def test_a_frame_whose_likelihood_nobody_asks_for(name: str, ablation: str) -> None:
    model, (latents, x) = deep(name, ablation), path(5)
    state = model.start(2, latents.w)
    for t in range(4):
        state = model.advance(state, latents.z[:, t], x[:, t])
    likelihood, _ = model.step_likelihood(state, latents.z[:, 4])
    expected = model.likelihood(latents, x).mean[:, 4]
    torch.testing.assert_close(likelihood.mean, expected, rtol=1e-10, atol=1e-10)


@variants
def test_gradients_through_steps(name: str, ablation: str) -> None:
    model, (latents, x) = deep(name, ablation), path(4)
    prior, likelihood = model.generative(latents, x)
    state, terms = model.start(2, latents.w), []
    for t in range(4):
        frame, state = model.step(state, z=latents.z[:, t], x=x[:, t])
        terms.append(frame.prior.log_prob(latents.z[:, t]) + frame.likelihood.log_prob(x[:, t]))
    parallel = (prior.log_prob(latents.z) + likelihood.log_prob(x)).sum()
    for loss in (parallel, torch.stack(terms).sum()):
        loss.backward()
        gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
        model.zero_grad()
        if loss is parallel:
            expected = gradients
    for one, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


def test_a_grown_sequence_moves_seldom() -> None:
    grown, stores, frames = Grown.of(torch.zeros(1, 1, 2)), set(), [torch.zeros(1, 1, 2)]
    for t in range(1, 1000):
        new = torch.full((1, 1, 2), float(t))
        grown = grown.continued(t, new)
        frames.append(new)
        stores.add(grown.store.data_ptr())
    assert torch.equal(grown.frames, torch.cat(frames, 1))
    assert len(stores) < 12


def test_states_are_refused_without_w() -> None:
    with pytest.raises(ValueError, match="sequence-level latent"):
        small("light").start(2)


def test_classes_share_all_but_their_decoders() -> None:
    hit, light = small("hit"), small("light")
    assert isinstance(hit, HiTDVAE)
    assert isinstance(light, LigHTDVAE)
    assert hit.dependencies == light.dependencies
    assert (len(hit.decoders), len(light.decoders)) == (2, 1)
