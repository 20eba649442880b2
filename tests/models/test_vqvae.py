"""Quantisers, the VQ-VAE on spectra and pictures, and the published one."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from model_toys import small
from torch import Tensor

from dynvae.errors import CheckpointError, ConfigError
from dynvae.models import VQVAE
from dynvae.models.quantisers import FSQ, Codebook, perplexity
from dynvae.pretrained.published import read_published
from dynvae.testing import check_dvae


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def alone(tensor: Tensor) -> Tensor:
    return tensor


def clusters(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Vectors around four far places, and the places."""
    places = torch.tensor([[4.0, 0.0], [0.0, 4.0], [-4.0, 0.0], [0.0, -4.0]])
    which = torch.randint(4, (256,), generator=generator(seed))
    return places[which] + 0.1 * torch.randn(256, 2, generator=generator(seed + 1)), places


def test_a_codebook_learns_clusters_and_revives_its_dead() -> None:
    book = Codebook(8, 2, decay=0.8)
    for step in range(60):
        book.learn(clusters(step)[0], generator(step), alone)
    vectors, places = clusters(99)
    assert torch.cdist(places, book.vectors).amin(1).max() < 0.15
    assert perplexity(book(vectors).codes, 8) > 3.9
    lost = Codebook(8, 2, decay=0.8, revive=0.0)
    lost.vectors.fill_(100.0)
    lost.vectors[0] = 0.0
    for step in range(60):
        lost.learn(clusters(step)[0], generator(step), alone)
    assert perplexity(lost(vectors).codes, 8) < 2  # all in one code, and nothing brings the others back


def test_a_codebook_learns_by_gradient() -> None:
    torch.manual_seed(1)
    book = Codebook(8, 2, learning="gradient")
    optimizer = torch.optim.Adam(book.parameters(), lr=0.05)
    for step in range(100):
        optimizer.zero_grad()
        vectors, _ = clusters(step)
        book(vectors).penalty.mean().backward()
        optimizer.step()
        book.learn(vectors, generator(step), alone)
    vectors, places = clusters(99)
    assert torch.cdist(places, book.vectors).amin(1).max() < 1.0
    assert book(vectors).penalty.mean() < 0.1


def test_the_first_step_of_averages_is_the_mean_of_what_is_nearest() -> None:
    book = Codebook(3, 2, revive=0.0)
    book.vectors.copy_(torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]]))
    h = torch.tensor([[1.0, 1.0], [-1.0, 3.0], [9.0, 0.0]])
    book.learn(h, None, alone)
    assert torch.allclose(book.vectors[:2], torch.tensor([[0.0, 2.0], [9.0, 0.0]]), atol=1e-3)
    before = book.vectors.clone()
    book.learn(h[2:], None, alone)
    expected = (0.99 * 9 * 1 + 0.01 * 9) / (0.99 * 1 + 0.01)
    assert float(book.vectors[1, 0]) == pytest.approx(expected, rel=1e-3)
    assert torch.allclose(book.vectors[0], before[0], rtol=1e-3)


def test_processes_that_share_a_batch_learn_what_one_would() -> None:
    h = clusters()[0]
    whole, half = Codebook(4, 2, revive=0.0), Codebook(4, 2, revive=0.0)
    half.load_state_dict(whole.state_dict())
    whole.learn(h, None, alone)
    other = Codebook(4, 2, revive=0.0)
    other.load_state_dict(half.state_dict())
    parts: list[Tensor] = []
    other.learn(h[128:], None, lambda tensor: parts.append(tensor.clone()) or tensor)  # type: ignore[func-returns-value]
    sums = iter(parts)
    half.learn(h[:128], None, lambda tensor: tensor + next(sums))
    assert torch.allclose(half.vectors, whole.vectors, atol=1e-5)


def test_gradients_go_straight_through() -> None:
    for quantiser in (Codebook(5, 3), FSQ((5, 4, 3))):
        h = torch.randn(7, 3, requires_grad=True)
        found = quantiser(h)
        assert torch.equal(found.values.detach(), quantiser.lookup(found.codes))
        slope = torch.autograd.grad(found.values.sum(), h)[0]
        assert (slope != 0).all()
        if isinstance(quantiser, Codebook):
            assert torch.equal(slope, torch.ones_like(h))


def test_scalars_have_all_their_levels() -> None:
    fsq = FSQ((8, 5, 2))
    assert fsq.count == 80
    every = fsq.lookup(torch.arange(80))
    assert len(every.unique(dim=0)) == 80
    assert every.amin() == -1
    assert every.amax() == 1
    again = fsq(torch.atanh(every * 0.999))
    assert torch.equal(again.codes, torch.arange(80))


def test_bound_of_codes() -> None:
    model = small("vq-vae", codes=6)
    assert isinstance(model, VQVAE)
    x = torch.rand(2, 3, 5)
    elbo = model.elbo(x)
    likelihood = model.likelihood(model.posterior(x).latents, x)
    assert torch.allclose(elbo.total, likelihood.log_prob(x).sum(1) - 3 * model.positions * math.log(6))
    assert elbo.penalty is not None
    h = model.encode(x)
    expected = 0.25 * (h - model.quantise(h).values).square().sum(-1)
    assert torch.allclose(elbo.penalty, expected, atol=1e-6)
    assert torch.allclose(model.from_codes(model.codes(x)), model.posterior(x).latents.z)
    assert 1 <= float(model.perplexity(x, torch.tensor([3, 1]))) <= 6


@pytest.mark.parametrize("options", [
    {"x_dim": 20, "z_dim": 2, "likelihood": "gaussian"},
    {"x_dim": 64, "image": (1, 8, 8), "z_dim": 2, "likelihood": "fixed_gaussian"},
    {"quantiser": "fsq", "levels": (3, 4)},
])  # fmt: skip
def test_other_frames_and_quantisers_keep_the_contract(options: dict[str, object]) -> None:
    check_dvae(small("vq-vae", **options))


def test_training_steps_make_it_better() -> None:
    torch.manual_seed(0)
    model = VQVAE(33, 4, hidden=16, codes=16, decay=0.9)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    shapes = (3 * torch.randn(6, 33, generator=generator())).exp()
    first = last = 0.0
    for step in range(60):
        x = shapes[torch.randint(6, (8, 5), generator=generator(step))]
        elbo = model.elbo(x)
        loss = -elbo.per_frame + elbo.penalty.sum(1).mean() / 5
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.after_step(x, generator=generator(step))
        first, last = first or float(loss.detach()), float(loss.detach())
    assert last < first - 20
    assert float(model.perplexity(x)) > 4


def test_it_begins_at_the_mean() -> None:
    for options in ({"x_dim": 20, "likelihood": "gaussian"}, {"x_dim": 192, "image": (3, 8, 8)}, {}):
        model = small("vq-vae", **options)
        before = model.likelihood(model.draw_noise(1, 1), torch.ones(1, 1, model.x_dim)).mean
        model.begin_at(torch.full((model.x_dim,), 30.0), torch.ones(model.x_dim))
        after = model.likelihood(model.draw_noise(1, 1), torch.ones(1, 1, model.x_dim)).mean
        assert (after - 30).abs().mean() < (before - 30).abs().mean()


def test_wrong_pictures_are_refused() -> None:
    with pytest.raises(ConfigError, match="multiples of 8"):
        VQVAE(75, image=(3, 5, 5))
    with pytest.raises(ConfigError, match="learns by"):
        VQVAE(9, quantiser="kmeans")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="levels"):
        FSQ((1, 4))


def chirp() -> Tensor:
    """Power spectra of harmonics that rise, ``(31, 513)``, as the published code makes them of sound."""
    time = torch.arange(16000, dtype=torch.float64) / 16000
    sound = sum(torch.sin(2 * math.pi * (120 * k * time + 30 * k * time**2)) / k for k in range(1, 20))
    assert isinstance(sound, Tensor)
    window = torch.hann_window(1024, dtype=torch.float64)
    spectrum = torch.stft(sound / sound.abs().max(), 1024, 533, window=window, return_complex=True)
    return spectrum.abs().square().T.float()


def test_published_codec_of_speech_gives_what_its_own_code_gives(shared: Path) -> None:
    """The numbers are what the published code (github.com/samsad35/code-mdvae) made of the chirp."""
    model, card = read_published(shared / "checkpoints" / "mdvae" / "vqvae_speech.pt")
    assert isinstance(model, VQVAE)
    assert card["license"] == "cc-by-4.0"
    assert sum(p.numel() for p in model.parameters()) + 64 * 8 * 2 == 17689
    model.requires_grad_(False)
    x = chirp().unsqueeze(0)
    codes = model.codes(x)[0]
    assert codes.shape == (31, 64)
    assert codes[5, :12].tolist() == [45, 12, 12, 12, 12, 12, 12, 12, 22, 22, 22, 30]
    assert codes[20, 20:32].tolist() == [45, 21, 35, 32, 57, 14, 49, 31, 2, 2, 2, 2]
    assert int(codes.sum()) == pytest.approx(28239, abs=20)
    assert float(model.perplexity(x)) == pytest.approx(8.4993, abs=0.02)
    assert float(model.encode(x).abs().max()) == pytest.approx(22.3790, abs=1e-3)
    likelihood = model.likelihood(model.posterior(x).latents, x)
    assert float(likelihood.log_variance.mean()) == pytest.approx(-7.5817, abs=2e-3)  # type: ignore[attr-defined]


def test_other_codecs_are_told_apart(tmp_path: Path) -> None:
    source = VQVAE(513, 8)
    state = {"_encoder._conv_1.weight": source.encoder[0].weight, "_vq_vae._embedding.weight": torch.zeros(4, 8)}
    torch.save({"model": {**state, "_encoder._conv_3.weight": torch.zeros(32, 32, 3), "_lstm.weight": torch.ones(1)}},
               tmp_path / "foreign.pt")  # fmt: skip
    with pytest.raises(CheckpointError, match="_lstm"):
        read_published(tmp_path / "foreign.pt")
