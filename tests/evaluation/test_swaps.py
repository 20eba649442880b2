"""Made-up pairs hold what they promise; probes and swap tables tell what is there, on models that are known."""

from __future__ import annotations

import pytest
import torch

from dynvae.data.two_modalities import FACTORS, SIZES, draw_pairs
from dynvae.errors import ConfigError
from dynvae.evaluation.swaps import Probe, latent_probes, swap_table
from dynvae.models import MDVAE
from dynvae.pretrained import load
from dynvae.training import TrainConfig, train_multimodal


def test_pairs_are_the_same_every_time_and_the_mixing_never_changes() -> None:
    one, again, other = draw_pairs(5, 6, seed=1), draw_pairs(5, 6, seed=1), draw_pairs(5, 6, seed=2)
    assert torch.equal(one.x, again.x)
    assert not torch.equal(one.x, other.x)
    assert one.x.shape == (5, 6, sum(SIZES.values()))
    assert tuple(one.factors) == FACTORS


@pytest.mark.parametrize("modality", ["audio", "video"])
def test_a_modality_has_its_own_factors_and_not_the_others(modality: str) -> None:
    train, test = draw_pairs(300, seed=1), draw_pairs(200, seed=2)
    for name in ("shared", "audio", "video"):
        rows = [(getattr(p, modality).flatten(0, 1), p.factors[name].flatten(0, 1)) for p in (train, test)]
        told = Probe.fit(*rows[0]).score(*rows[1])
        assert told > 0.95 if name in ("shared", modality) else abs(told) < 0.05
    means = [(getattr(p, modality).mean(1), p.factors["static"]) for p in (train, test)]
    assert Probe.fit(*means[0]).score(*means[1]) > 0.7  # of six; six points in space are not apart by lines alone


def test_probes_tell_classes_and_numbers() -> None:
    features = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    assert Probe.fit(features, (features[:, 0] > 0).long()).score(features, (features[:, 0] > 0).long()) > 0.9
    line = features @ torch.tensor([[1.0], [2.0], [0.0]]) + 3
    assert Probe.fit(features, line).score(features, line) > 0.999
    noise = torch.randn(200, 1, generator=torch.Generator().manual_seed(1))
    assert Probe.fit(features, line).score(features, noise) < 0
    with pytest.raises(ConfigError, match="as many features as targets"):
        Probe.fit(features, line[:3])


def test_training_separates_the_factors(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Some seconds of training: what is swapped moves its factor more than any other does."""
    sizes = {"z_dim": 4, "w_dim": 6, "private_dim": 4, "x_hidden": (32,), "w_rnn": 16, "prior_rnn": 16,
             "prior_hidden": (16,), "encoder_hidden": (32,), "decoder_hidden": (32,)}  # fmt: skip
    config = TrainConfig(frames=30, batch_size=50, max_steps=150, lr=5e-3, validate_every=10.0, patience=0)
    outcome = train_multimodal(
        "mdvae", data="two-modalities", out=tmp_path / "run", count=300, model=sizes, train=config
    )
    model = load(outcome.folder / "model")
    assert isinstance(model, MDVAE)
    train, test = ((p.x, p.factors) for p in (draw_pairs(200, 30, seed=11), draw_pairs(100, 30, seed=12)))
    swaps = swap_table(model, train, test)
    assert swaps.probes["static"] > 0.95
    assert min(swaps.probes.values()) > 0.9
    assert swaps.resynthesized["static"] > 0.75
    assert swaps.moved["w"]["static"] > 0.35 > max(row["static"] for name, row in swaps.moved.items() if name != "w")
    for factor in ("shared", "audio", "video"):
        assert abs(swaps.moved["w"][factor]) < 0.1
        assert swaps.kept["w"][factor] > 0.3
    assert abs(swaps.moved["audio"]["video"]) < 0.1 > abs(swaps.moved["video"]["audio"])
    scores = latent_probes(model, train, test)
    assert scores["w"]["static"] > 0.7
    assert scores["w"]["audio"] < 0.5
