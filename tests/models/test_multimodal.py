"""Experts against quadrature, missing modalities against models that never had them, and who sees which stream."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from model_toys import small
from torch import Tensor

from dynvae.distributions import draw, kl_per_dimension
from dynvae.errors import ConfigError
from dynvae.models import MDVAE, MVAE, VQVAE, Latents, Modalities, MultimodalDVAE, build
from dynvae.models.minvae import MixtureLaw
from dynvae.models.mvae import product_of_experts
from dynvae.pretrained import load, save
from dynvae.testing import check_dvae

MIXED: dict[str, Any] = {"likelihood": ["complex_gaussian", "gaussian"], "input_transform": ["log", "standardise"]}


def frames(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.1


def model_of(name: str, **changes: Any) -> Any:
    return small(name, **changes).double().eval()


# ---- experts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prior", [True, False])
@pytest.mark.parametrize("present", [(True, True, True), (True, False, True), (False, False, False)])
def test_products_are_those_of_quadrature(present: tuple[bool, ...], prior: bool) -> None:
    means = torch.tensor([[0.7], [-1.2], [2.0]], dtype=torch.float64)
    log_variances = torch.tensor([[-1.0], [0.5], [0.2]], dtype=torch.float64)
    there = torch.tensor(present)
    mean, log_variance = product_of_experts(means, log_variances, there, prior=prior)
    z = torch.linspace(-12, 12, 20001, dtype=torch.float64)
    log_density = -0.5 * ((z - means).square() / log_variances.exp())[there].sum(0)
    if prior or not any(present):
        log_density = log_density - 0.5 * z.square()
    weight = log_density.softmax(0)
    expected = (weight * z).sum()
    torch.testing.assert_close(mean[0], expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(log_variance.exp()[0], (weight * (z - expected).square()).sum(), rtol=1e-7, atol=0)


def test_a_very_sure_expert_does_not_overflow() -> None:
    mean, log_variance = product_of_experts(torch.ones(2, 1), torch.tensor([[-30.0], [30.0]]), torch.ones(2).bool())
    assert mean.item() == pytest.approx(1)
    assert log_variance.item() == pytest.approx(-30)


@pytest.mark.parametrize(("name", "count"), [("mmvae", 2), ("mopoe", 3)])
def test_the_kl_of_a_mixture_is_a_bound_and_its_density_a_density(name: str, count: int) -> None:
    model = model_of(name, z_dim=1)
    for parameter in model.encoders.parameters():
        parameter.data *= 2  # experts that do not agree
    law, prior = model.inferred(frames(1, 1)), model.prior(Latents(torch.zeros(1, 1, 1).double()), frames(1, 1))
    assert isinstance(law, MixtureLaw)
    assert law.loc.shape[-2] == count
    z = torch.linspace(-60, 60, 120001, dtype=torch.float64).view(-1, 1, 1)
    step = 120 / 120000
    log_q = law.log_prob(z)
    exact = (log_q.exp() * (log_q - prior.log_prob(z))).sum() * step
    assert (log_q.exp().sum() * step).item() == pytest.approx(1, abs=1e-9)
    bound = kl_per_dimension(law, prior).sum()
    assert 0 <= exact <= bound
    each = [kl_per_dimension(model_law, prior).sum() for model_law in _components(law)]
    torch.testing.assert_close(bound, torch.stack(each).mean())


def _components(law: MixtureLaw) -> list[MixtureLaw]:
    one = torch.zeros_like(law.log_weight[..., :1])
    return [
        MixtureLaw(law.loc[..., i : i + 1, :], law.log_variance[..., i : i + 1, :], one)
        for i in range(law.loc.shape[-2])
    ]


def test_the_prior_is_an_expert_as_asked() -> None:
    x = frames(2, 3)
    alone = model_of("mmvae").modalities.hidden(x, "video")
    precisions = {}
    for choice in ("always", "full", "never"):
        model = model_of("mopoe", prior_expert=choice)
        precisions[choice] = [(-law.log_variance).exp().squeeze(-2) for law in _components(model.inferred(x))]
    for subset, is_full in ((0, False), (1, False), (2, True)):
        extra = [precisions[choice][subset] - precisions["never"][subset] for choice in ("always", "full")]
        torch.testing.assert_close(extra[0], torch.ones_like(extra[0]))
        torch.testing.assert_close(extra[1], torch.full_like(extra[1], float(is_full)))
    weights = model.inferred(alone).log_weight.exp()
    torch.testing.assert_close(weights, torch.tensor([1.0, 0, 0]).double().expand(2, 3, 3))


def test_subsets_are_drawn_evenly_whatever_the_order() -> None:
    model = model_of("mopoe")
    for seed in range(3):
        noise = model.draw_noise(4, 6, torch.Generator().manual_seed(seed)).z[..., -1]
        counts = torch.bincount((torch.special.ndtr(noise) * 3).long().flatten(), minlength=3)
        assert counts.tolist() == [8, 8, 8]
    drawn = torch.stack([model.draw_noise(2, 2, torch.Generator().manual_seed(i)).z[..., -1] for i in range(2000)])
    assert drawn.mean(0).abs().max() < 5 / math.sqrt(2000)
    assert (drawn.square().mean(0) - 1).abs().max() < 5 * math.sqrt(2 / 2000)


# ---- missing modalities --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mvae", "mmvae", "mopoe", "mdvae"])
def test_missing_modalities_cost_nothing_and_leak_nothing(name: str) -> None:
    model = model_of(name, **MIXED)
    x, lengths = frames(3, 4), torch.tensor([4, 2, 3])
    gone = torch.tensor([[1, 0, 1, 0]] * 3).bool()
    holes = model.modalities.hidden(x, "video", gone).requires_grad_()
    noise = model.draw_noise(3, 4, torch.Generator().manual_seed(1))
    bound = model.elbo(holes, lengths, noise=noise)
    assert bound.total.isfinite().all()
    bound.total.sum().backward()
    assert holes.grad is not None
    assert (holes.grad[holes.isnan()] == 0).all()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    law = model.resynthesize(holes, lengths, noise=noise)
    assert law.mean.isfinite().all()
    parts = law.parts(x)
    torch.testing.assert_close(law.log_prob(holes), parts[..., 0] + parts[..., 1].masked_fill(gone, 0))
    empty = model.modalities.hidden(model.modalities.hidden(x, "audio"), "video")
    nothing = model.elbo(empty, noise=noise)
    assert nothing.log_likelihood.eq(0).all()
    assert nothing.kl.abs().max() < 1e-12  # the prior, on all that a frame could tell of


def test_single_nan_is_no_gap() -> None:
    x = frames(1, 2)
    x[0, 0, 4] = torch.nan
    assert model_of("mvae").elbo(x).total.isnan().all()


def test_without_a_modality_an_mvae_is_that_of_the_others() -> None:
    both = model_of("mvae")
    one = MVAE(3, 3, hidden=(6,), names=("audio",)).double().eval()
    one.load_state_dict({k: v for k, v in both.state_dict().items() if "video" not in k})
    x = frames(2, 3)
    alone = both.modalities.hidden(x, "video")
    noise = Latents(torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    torch.testing.assert_close(both.elbo(alone, noise=noise).total, one.elbo(x[..., :3], noise=noise).total)


def test_a_missing_modality_leaves_its_own_latents_to_their_prior() -> None:
    model = model_of("mdvae")
    x = model.modalities.hidden(frames(2, 4), "video", torch.tensor([[0, 1, 1, 0]] * 2).bool())
    kl = model.elbo(x).kl
    own = model.streams["video"]
    assert (kl[:, 1:3, own] == 0).all()
    assert (kl[:, [0, 3], own] > 0).all()
    assert (kl[..., model.streams["shared"]] > 0).all()


def test_hiding_is_for_training_and_leaves_something() -> None:
    model = model_of("mdvae", hide=0.9)
    x = frames(200, 2)
    assert model.seen(x).all()
    model.train()
    seen = model.seen(x)
    assert seen.any(-1).all()
    assert not seen.all()
    assert (seen[:, 0] == seen[:, 1]).all()  # whole sequences


def test_modalities_join_and_split() -> None:
    both = Modalities(("audio", "video"), (3, 2))
    x = frames(2, 4)
    assert torch.equal(both.join(both.split(x)), x)
    there = torch.tensor([[1, 0, 1, 1]] * 2).bool()
    holes = both.join(both.split(x), {"audio": there})
    assert torch.equal(both.present(holes), torch.stack([there, torch.ones_like(there)], -1))
    for wrong in ({"smell": x}, {}):
        with pytest.raises(ConfigError, match="the modalities are audio, video"):
            both.join(wrong)
    with pytest.raises(ConfigError, match="a frame of audio has 3"):
        both.join({"audio": x})


# ---- streams -------------------------------------------------------------------------------------------------------


def test_who_sees_which_stream() -> None:
    model = model_of("mdvae")
    x, z = frames(2, 3), torch.randn(2, 3, model.z_dim, dtype=torch.float64, requires_grad=True)
    path = Latents(z, torch.randn(2, 2, dtype=torch.float64))

    def sees(of: Tensor) -> dict[str, bool]:
        (slope,) = torch.autograd.grad(of.sum(), z, retain_graph=True)
        return {name: bool((slope[..., span] != 0).any()) for name, span in model.streams.items()}

    prior = model.prior(path, x)
    for name, span in model.streams.items():
        assert sees(prior.mean[..., span]) == {other: other == name for other in model.streams}
    for name, span in model.modalities.spans.items():
        expected = {other: other in ("shared", name) for other in model.streams}
        assert sees(model.likelihood(path, x).mean[..., span]) == expected
    posterior = model.posterior(x, latents=path).z.mean
    for name, span in model.streams.items():
        assert sees(posterior[..., span]) == {other: other in ("shared", name) for other in model.streams}


def test_swapping_takes_what_is_named() -> None:
    model = model_of("mdvae")
    one, other = (model.posterior(frames(2, 3, seed=seed)).latents for seed in (0, 1))
    mixed = model.latents_of(model.swapped(one, other, ["w", "video"]))
    for name, value in mixed.items():
        source = other if name in ("w", "video") else one
        assert torch.equal(value, model.latents_of(source)[name])
    with pytest.raises(ConfigError, match="the latents are w, shared, audio, video; not lips"):
        model.swapped(one, other, ["lips"])


def test_published_size() -> None:
    model = build(
        "mdvae", x_dim=(512, 2048), z_dim=16, w_dim=84, private_dim=(8, 4), likelihood="fixed_gaussian",
        x_hidden=[[], [1024, 512]], w_rnn=256, w_hidden=(256,), prior_rnn=128, prior_hidden=[[64], [32], [64]],
        encoder_hidden=[[256, 128], [128, 32], [256, 128]], decoder_hidden=[[128, 256], [512, 1024]],
    )  # fmt: skip
    assert sum(parameter.numel() for parameter in model.parameters()) == 8_484_568


@pytest.mark.parametrize("name", ["mdvae", "mopoe"])
def test_each_modality_with_its_own_likelihood(name: str) -> None:
    checks = ["check_shapes", "check_config", "check_save_load", "check_elbo_terms", "check_gradients_are_right",
              "check_extreme_inputs", "check_step_equals_parallel", "check_sample"]  # fmt: skip
    check_dvae(small(name, **MIXED), checks)


def test_three_modalities_and_one() -> None:
    three = MDVAE((2, 2, 1), 2, 2, private_dim=(1, 2, 1), x_hidden=(4,), w_rnn=3, prior_rnn=3, likelihood="gaussian")
    assert list(three.streams) == ["shared", "m1", "m2", "m3"]
    assert three.elbo(frames(2, 3).float()).total.isfinite().all()
    assert draw(three.resynthesize(frames(2, 3).float())).shape == (2, 3, 5)
    assert MDVAE(5, 2, 2).elbo(frames(2, 3).float()).total.isfinite().all()


@pytest.mark.parametrize(
    ("name", "changes", "problem"),
    [
        ("mdvae", {"private_dim": (1, 2, 3)}, "each of 2 modalities"),
        ("mdvae", {"names": ("shared", "b")}, "call none of them so"),
        ("mdvae", {"x_hidden": [[1], [2], [3]]}, "layers are for all or for each of 2"),
        ("mdvae", {"latent": "sparse"}, "no other structure"),
        ("mvae", {"experts": "sum"}, "experts are one of"),
        ("mvae", {"hide": 1.0}, "hide is a probability"),
        ("mvae", {"likelihood": ["gaussian"]}, "one for all or one for each of audio, video"),
        ("mvae", {"likelihood": "cauchy"}, "there is no likelihood 'cauchy'"),
        ("mvae", {"names": ("a", "a")}, "its own name"),
    ],
)
def test_bad_settings_are_told(name: str, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        small(name, **changes)


# ---- two stages ----------------------------------------------------------------------------------------------------


CODECS: dict[str, dict[str, Any]] = {
    "audio": {"x_dim": 17, "z_dim": 4, "hidden": 4, "residual_hidden": 3},
    "video": {"x_dim": 64, "z_dim": 3, "image": [1, 8, 8], "hidden": 4, "residual_hidden": 3},
}


def in_two_stages(name: str, **changes: Any) -> tuple[MultimodalDVAE, dict[str, VQVAE]]:
    """A small model on codecs' features, and other codecs of the same sizes, whose weights it has taken."""
    trained = {key: build("vq-vae", **options) for key, options in CODECS.items()}
    plain = {"likelihood": "fixed_gaussian", "input_transform": "raw"}
    codecs = {key: codec.config for key, codec in trained.items()}
    model = small(name, x_dim=[8, 3], codecs=codecs, **plain, **changes)
    assert isinstance(model, MultimodalDVAE)
    model.adopt(trained)  # type: ignore[arg-type]
    return model, trained  # type: ignore[return-value]


@pytest.mark.parametrize("name", ["mdvae", "mopoe"])
def test_a_model_in_two_stages_leaves_its_codecs_alone(name: str) -> None:
    model, codecs = in_two_stages(name)
    model.train()
    frames = model.observed.hidden(torch.rand(2, 4, 81), "video", torch.tensor([[0, 1, 0, 0]] * 2).bool())
    x = model.encode(frames)
    assert torch.equal(model.observed.present(frames), model.modalities.present(x))
    torch.testing.assert_close(x[..., :8], codecs["audio"].encode(frames[..., :17]))
    model.elbo(x).per_frame.backward()
    assert not any(codec.training for codec in model.codecs.values())
    assert all(p.grad is None and not p.requires_grad for p in model.codecs.parameters())
    assert all(p.grad is not None for p in model.decoders.parameters())
    made = model.resynthesize(x, latents="mean").mean
    codes = codecs["audio"].quantise(made[..., :8]).values
    expected = codecs["audio"].frame_likelihood(codes).mean
    torch.testing.assert_close(model.decode(made)[..., :17], expected)


def test_a_model_in_two_stages_keeps_the_contract_and_is_one_folder(tmp_path: Path) -> None:
    model, _ = in_two_stages("mdvae")
    check_dvae(model)
    save(model, tmp_path)
    again = load(tmp_path)
    assert isinstance(again, MultimodalDVAE)
    frames = torch.rand(1, 3, 81)
    torch.testing.assert_close(again.decode(again.encode(frames)), model.decode(model.encode(frames)))
    assert not any(p.requires_grad for p in again.codecs.parameters())


def test_without_codecs_frames_are_what_is_observed() -> None:
    model = small("mdvae")
    assert isinstance(model, MultimodalDVAE)
    frames = torch.rand(1, 3, 5)
    assert torch.equal(model.decode(model.encode(frames)), frames)
    assert model.observed == model.modalities


def test_codecs_that_do_not_fit_are_refused() -> None:
    for wrong in ({"audio": CODECS["audio"]}, {**CODECS, "video": {**CODECS["video"], "z_dim": 2}}):
        with pytest.raises(ConfigError, match="the codecs make"):
            small("mdvae", x_dim=[8, 3], codecs=wrong)
    model, codecs = in_two_stages("mdvae")
    with pytest.raises(ConfigError, match="not the codecs"):
        model.adopt({"audio": codecs["audio"]})
