"""Training with a condition: what is decoded from the prior counts, and sound can be frozen."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from training_toys import BINS, FRAMES, Crops, Item

from dynvae.errors import ConfigError
from dynvae.models import DVAE, Condition, build
from dynvae.pretrained import save
from dynvae.training import TrainConfig, TrainingData, elbo_loss, fit
from dynvae.training.speech import start_from

SIZES: dict[str, dict[str, Any]] = {
    "av-cvae": {"hidden": (8,), "v_hidden": (6,), "prior_hidden": ()},
    "av-dkf": {"x_hidden": (8,), "rnn": 8, "z_hidden": (8,), "encoder_hidden": (8,), "decoder_hidden": (8,),
               "v_hidden": (6,)},
    "min-vae": {"hidden": (8,), "v_hidden": (6,)},
}  # fmt: skip


class Seen(NamedTuple):
    x: Tensor
    lengths: Tensor
    names: list[str]
    condition: Condition


def seen(items: list[Item]) -> Seen:
    """Lips that tell the loudness of the frame, with gaps."""
    x, lengths = torch.stack([item.power for item in items]), torch.tensor([item.length for item in items])
    features = x.mean(2, keepdim=True).expand(-1, -1, 3).contiguous()
    return Seen(
        x, lengths, [item.name for item in items], Condition.of(features, torch.arange(FRAMES) % 4 > x[:, :, 0])
    )


def model(name: str) -> DVAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build(name, x_dim=BINS, z_dim=2, v_dim=3, **SIZES[name])


def train(network: DVAE, folder: Path, **settings: Any) -> dict[str, Any]:
    data = TrainingData(Crops(8), Crops(3, seed=1), [FRAMES] * 3, seen)  # type: ignore[arg-type]
    config = TrainConfig(frames=FRAMES, batch_size=4, epochs=2, warmup_steps=0, lr=0.01, **settings)
    return fit(network, data, folder, config).best


def test_alpha_is_the_part_of_what_the_prior_decodes() -> None:
    network = model("av-cvae")
    batch = seen([Crops(4, short=True)[i] for i in range(4)])
    noise, of_prior = network.draw_noise(4, FRAMES), torch.randn(4, FRAMES, 2)
    elbo = network.elbo(batch.x, batch.lengths, condition=batch.condition, noise=noise, prior_noise=of_prior)
    posterior = network.posterior(batch.x, batch.lengths, noise=noise, condition=batch.condition)
    prior, _ = network.generative(posterior.latents, batch.x, condition=batch.condition)
    drawn = posterior.latents._replace(z=prior.mean + prior.stddev * of_prior)
    valid = torch.arange(FRAMES) < batch.lengths[:, None]
    expected = network.likelihood(drawn, batch.x, condition=batch.condition).log_prob(batch.x).where(valid, 0)
    assert elbo.prior_log_likelihood is not None
    torch.testing.assert_close(elbo.prior_log_likelihood, expected)
    value = elbo_loss(elbo, alpha=0.3).value
    torch.testing.assert_close(value, -(0.7 * elbo.total.sum() + 0.3 * expected.sum()) / batch.lengths.sum())


@pytest.mark.parametrize("name", SIZES)
def test_a_run_with_lips(name: str, tmp_path: Path) -> None:
    network = model(name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    best = train(network, tmp_path, **({} if name == "min-vae" else {"alpha": 0.1}))
    assert all(not torch.equal(value, before[key]) for key, value in network.state_dict().items())
    if name == "min-vae":
        assert best["from_prior"] is None
    else:
        mixed = 0.9 * (best["log_likelihood"] - best["kl"]) + 0.1 * best["from_prior"]
        assert best["objective"] == pytest.approx(mixed, rel=1e-6)


@pytest.mark.parametrize("name", ["av-cvae", "av-dkf"])
def test_frozen_sound_learns_nothing(name: str, tmp_path: Path) -> None:
    network = model(name)
    frozen = [(weight, columns, weight.detach()[..., columns].clone()) for weight, columns in network.sound_path()]
    lips = network.views.state_dict()["shared.net.layers.0.weight"].clone()  # type: ignore[union-attr, operator]
    train(network, tmp_path, freeze_sound=1.0)
    assert all(torch.equal(weight[..., columns], before) for weight, columns, before in frozen)
    assert not torch.equal(network.views.state_dict()["shared.net.layers.0.weight"], lips)  # type: ignore[union-attr, operator]


def test_a_model_with_lips_starts_from_one_of_sound(tmp_path: Path) -> None:
    """Without lips it then decodes as that one, and encodes as that one."""
    sound, network = build("vae", x_dim=BINS, z_dim=2, hidden=(8,)), model("av-cvae")
    save(sound, tmp_path / "vae")
    start_from(network, str(tmp_path / "vae"))
    x = torch.rand(2, FRAMES, BINS)
    noise = network.draw_noise(2, FRAMES)
    for one, other in zip(network.posterior(x, noise=noise)[:2], sound.posterior(x, noise=noise)[:2], strict=True):
        mine, theirs = (part.z if hasattr(part, "z") else part.mean for part in (one, other))  # type: ignore[union-attr]
        torch.testing.assert_close(mine, theirs)
    save(build("dkf", x_dim=BINS, z_dim=5, decoder_hidden=(3,), x_hidden=(4,), encoder_hidden=(3,)), tmp_path / "dkf")
    with pytest.raises(ConfigError, match="little in common"):
        start_from(network, str(tmp_path / "dkf"))
