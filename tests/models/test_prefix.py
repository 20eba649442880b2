"""Going on from a given beginning: the same as stepping through it, for every model that can."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import pytest
import torch
from model_toys import X_DIM, small
from torch import Tensor

from dynvae.errors import ConfigError
from dynvae.models import DVAE, PRESETS, Latents
from dynvae.models.states import expand_state

CAUSAL = [name for name in PRESETS if name != "rvae"]
PREFIX, HORIZON, SAMPLES = 4, 3, 2


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model_and_prefix(name: str, time: int = PREFIX) -> tuple[DVAE, Tensor]:
    model = small(name, input_transform="log").double()
    return model, 0.1 + torch.rand(3, time, X_DIM, dtype=torch.float64, generator=seeded())


@pytest.mark.parametrize("name", CAUSAL)
@pytest.mark.parametrize("feedback", ["mean", "sample"])
def test_generation_goes_on_from_the_prefix(name: str, feedback: str) -> None:
    model, prefix = model_and_prefix(name)
    kind = "mean" if feedback == "mean" else "sample"
    found = model.generate(prefix, HORIZON, samples=SAMPLES, latents=kind, feedback=feedback, generator=seeded(1))
    assert found.x.shape == found.mean.shape == (3, SAMPLES, HORIZON, X_DIM)
    assert found.z.shape == (3, SAMPLES, HORIZON, model.z_dim)
    assert torch.equal(found.x, found.mean) is (feedback == "mean")

    # The laws of whole sequences, along what was drawn, are those that it was drawn from.
    def whole(known: Tensor, drawn: Tensor) -> Tensor:
        return torch.cat([known.repeat_interleave(SAMPLES, 0), drawn.flatten(0, 1)], 1)

    w = None if found.prefix.w is None else found.prefix.w.repeat_interleave(SAMPLES, 0)
    x, latents = whole(prefix, found.x), Latents(whole(found.prefix.z, found.z), w)
    expected = model.likelihood(latents, x).mean[:, PREFIX:].unflatten(0, (3, SAMPLES))
    torch.testing.assert_close(found.mean, expected, rtol=1e-10, atol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("name", CAUSAL)
def test_the_prefix_is_a_run_of_teacher_forced_steps(name: str) -> None:
    model, prefix = model_and_prefix(name)
    found = model.generate(prefix, HORIZON, samples=SAMPLES, generator=seeded(1))
    silence = Latents(*(None if n is None else torch.zeros_like(n) for n in model.draw_noise(3, PREFIX)))
    latents = model.posterior(prefix, noise=silence).latents
    torch.testing.assert_close(found.prefix.z, latents.z)
    rows = torch.arange(3).repeat_interleave(SAMPLES)  # the whole run SAMPLES times, instead of its state
    state = model.start(len(rows), None if latents.w is None else latents.w[rows])
    for t in range(PREFIX):
        _, state = model.step(state, z=latents.z[rows, t], x=prefix[rows, t])
    source, frames = seeded(1), []
    for _ in range(HORIZON):
        frame, state = model.step(state, generator=source)
        frames.append(frame.x)
    expected = torch.stack(frames, 1).unflatten(0, (3, SAMPLES))
    torch.testing.assert_close(found.x, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", CAUSAL)
def test_samples_differ_and_seeds_decide(name: str) -> None:
    model, prefix = model_and_prefix(name, time=1)
    one, again = (model.generate(prefix, 2, samples=2, generator=seeded(5)).x for _ in range(2))
    assert torch.equal(one, again)
    assert not torch.equal(one[:, 0], one[:, 1])
    assert not torch.equal(one, model.generate(prefix, 2, samples=2, generator=seeded(6)).x)


@pytest.mark.parametrize("name", ["srnn", "hit", "light", "light-inv-s"])
def test_observing_in_pieces(name: str) -> None:
    model, x = model_and_prefix(name, time=7)
    latents = model.posterior(x, generator=seeded()).latents
    moments = []
    for cuts in ((7,), (3, 7), (1, 2, 6, 7)):
        state, start = model.start(3, latents.w), 0
        for stop in cuts:
            state = model.observe(state, latents.z[:, start:stop], x[:, start:stop])
            start = stop
        moments.append(model.step_prior(state).mean)
    torch.testing.assert_close(moments[1], moments[0], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(moments[2], moments[0], rtol=1e-10, atol=1e-10)


def test_what_cannot_be_continued_is_refused() -> None:
    model, prefix = small("rvae"), torch.rand(2, 3, X_DIM)
    with pytest.raises(ConfigError, match="later ones"):
        model.generate(prefix, 2)
    causal = small("rvae-causal")
    for wrong in ({"horizon": 0}, {"samples": 0}, {"feedback": "none"}, {"latents": "none"}):
        with pytest.raises(ConfigError):
            causal.generate(prefix, **{"horizon": 2, **wrong})
    with pytest.raises(ValueError, match="x_dim"):
        causal.generate(prefix[..., 1:], 2)


def test_states_of_any_make_are_expanded() -> None:
    class Named(NamedTuple):
        h: Tensor
        time: int

    @dataclasses.dataclass(frozen=True)
    class Data:
        parts: list[Tensor]
        nothing: None = None

    h = torch.tensor([[1.0], [2.0]])
    state = expand_state((Named(h, 3), {"a": Data([h])}), 2)
    expected = torch.tensor([[1.0], [1.0], [2.0], [2.0]])
    assert torch.equal(state[0].h, expected)
    assert torch.equal(state[1]["a"].parts[0], expected)
    assert (state[0].time, state[1]["a"].nothing) == (3, None)
