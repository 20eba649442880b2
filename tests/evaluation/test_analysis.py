"""Analysis-resynthesis: what goes in comes back where the model is perfect, and nothing leaks between files."""

from __future__ import annotations

import math

import pytest
import torch
from evaluation_toys import FRONT_END, small_model, speech_like
from torch.distributions import Independent, Normal

from dynvae.audio import prepare
from dynvae.distributions import ComplexGaussian
from dynvae.errors import ConfigError
from dynvae.evaluation import analysis_resynthesis, evaluating, file_noise, generate, speech_front_end
from dynvae.metrics import si_sdr
from dynvae.models import PRESETS, VAE


class Copy(VAE):
    """A model that knows every frame: its expected power is the true one."""

    def likelihood(self, latents, x, lengths=None, seen=None):
        return ComplexGaussian((x + 1e-12).log(), floor=0.0)


def prepared(*seconds: float) -> list[torch.Tensor]:
    return [torch.from_numpy(prepare(speech_like(each, i), FRONT_END)) for i, each in enumerate(seconds)]


def test_a_perfect_model_gives_the_waveform_back() -> None:
    model = Copy(x_dim=FRONT_END.bins, z_dim=2)
    model.front_end = FRONT_END
    for waveform, result in zip(
        prepared(1.0, 0.4), analysis_resynthesis(model, prepared(1.0, 0.4), ["a", "b"]), strict=True
    ):
        assert result.waveform.shape == waveform.shape
        assert si_sdr(waveform, result.waveform) > 90
        assert result.terms["itakura_saito"] == pytest.approx(0, abs=0.2)


@pytest.mark.parametrize("name", list(PRESETS))
@pytest.mark.parametrize("mode", ["teacher-forced", "generation"])
def test_a_file_s_result_does_not_depend_on_its_batch(name: str, mode: str) -> None:
    model = small_model(name).double()
    sounds = [waveform.double() for waveform in prepared(0.5, 0.3, 0.4)]
    together = analysis_resynthesis(model, sounds, ["a", "b", "c"], mode=mode, seed=3)
    alone = analysis_resynthesis(model, sounds[1:2], ["b"], mode=mode, seed=3)[0]
    assert torch.allclose(together[1].waveform, alone.waveform, atol=1e-9)
    assert together[1].power.shape == alone.power.shape
    assert together[1].terms == pytest.approx(alone.terms, rel=1e-9)
    assert all(math.isfinite(value) for value in alone.terms.values())


def test_noise_is_decided_by_seed_and_name() -> None:
    model = small_model()
    assert torch.equal(file_noise(model, "a", 7, 0).z, file_noise(model, "a", 7, 0).z)
    assert not torch.equal(file_noise(model, "a", 7, 0).z, file_noise(model, "b", 7, 0).z)
    assert not torch.equal(file_noise(model, "a", 7, 0).z, file_noise(model, "a", 7, 1).z)


def test_means_need_no_seed_and_samples_do() -> None:
    model, sound = small_model(), prepared(0.4)
    means = [analysis_resynthesis(model, sound, ["a"], latents="mean", seed=seed)[0] for seed in (0, 1)]
    samples = [analysis_resynthesis(model, sound, ["a"], seed=seed)[0] for seed in (0, 1)]
    assert torch.equal(means[0].power, means[1].power)
    assert not torch.equal(samples[0].power, samples[1].power)
    # The bound is that of a sample all the same: at the mean there is none.
    assert means[0].terms["elbo"] == samples[0].terms["elbo"]


def test_terms_are_those_of_the_model_in_nats_per_frame() -> None:
    model, sound = small_model().eval(), prepared(0.6)
    result = analysis_resynthesis(model, sound, ["a"], seed=5)[0]
    x = FRONT_END.power(sound[0])[None]
    with torch.no_grad():
        noise = file_noise(model, "a", x.shape[1], 5)
        elbo = model.elbo(x, noise=noise)
        law = model.resynthesize(x, noise=noise)
    for name, value in elbo.terms().items():
        assert result.terms[name] == pytest.approx(value.item(), rel=1e-5, abs=1e-4)  # sums of float32
    assert result.terms["elbo"] == pytest.approx(result.terms["log_likelihood"] - result.terms["kl"], rel=1e-5)
    assert result.terms["itakura_saito"] == pytest.approx(law.itakura_saito(x).mean().item(), rel=1e-4)


def test_modes_differ_only_where_the_past_is_seen() -> None:
    sound = prepared(0.4)
    for name, autoregressive in [("srnn", True), ("rvae", False)]:
        model = small_model(name)
        powers = [
            analysis_resynthesis(model, sound, ["a"], mode=mode)[0].power for mode in ("teacher-forced", "generation")
        ]
        assert torch.equal(*powers) is not autoregressive


def test_the_model_is_left_as_it_was() -> None:
    model = small_model().train()
    model.requires_grad_(True)
    inner = next(iter(model.children()))
    inner.eval()
    modes = [module.training for module in model.modules()]
    with evaluating(model):
        assert not any(module.training for module in model.modules())
        assert not torch.is_grad_enabled()
    assert [module.training for module in model.modules()] == modes
    assert torch.is_grad_enabled()


def test_another_likelihood_s_negative_mean_counts_as_no_power() -> None:
    class Negative(VAE):
        def likelihood(self, latents, x, lengths=None, seen=None):
            return Independent(Normal(-torch.ones_like(x), torch.ones_like(x)), 1)

    model = Negative(x_dim=FRONT_END.bins, z_dim=2)
    model.front_end = FRONT_END
    result = analysis_resynthesis(model, prepared(0.3), ["a"])[0]
    assert not result.waveform.any()


def test_a_model_without_a_fitting_front_end_is_refused() -> None:
    model = small_model()
    model.front_end = None
    with pytest.raises(ConfigError, match="carries no front end"):
        speech_front_end(model)
    model.front_end = FRONT_END
    model.x_dim = 7
    with pytest.raises(ConfigError, match="129 bins, the model takes 7"):
        analysis_resynthesis(model, prepared(0.3), ["a"])


@pytest.mark.parametrize("feedback", ["mean", "sample"])
def test_generation_repeats_and_peaks_where_it_says(feedback: str) -> None:
    model = small_model("srnn")
    waveforms, powers = generate(model, 2, 0.3, seed=4, feedback=feedback, iterations=5)
    assert waveforms.shape == (2, 4800)
    assert powers.shape == (2, FRONT_END.frames(4800), FRONT_END.bins)
    assert waveforms.abs().amax(-1).tolist() == pytest.approx([0.9, 0.9])
    assert torch.equal(generate(model, 2, 0.3, seed=4, feedback=feedback, iterations=5)[0], waveforms)
    assert not torch.equal(generate(model, 2, 0.3, seed=5, feedback=feedback, iterations=5)[0], waveforms)


@pytest.mark.parametrize(("n", "seconds", "iterations"), [(0, 1.0, 1), (1, 0.0, 1), (1, 1.0, -1)])
def test_generation_refuses_nonsense(n: int, seconds: float, iterations: int) -> None:
    with pytest.raises(ConfigError, match="must be positive"):
        generate(small_model(), n, seconds, iterations=iterations)
