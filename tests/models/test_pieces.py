"""Truncated back-propagation: exact values, and the exact gradient where nothing is cut."""

from __future__ import annotations

import pytest
import torch
from model_toys import SMALL, small
from torch import Tensor

from dynvae.errors import ConfigError
from dynvae.models import DVAE
from dynvae.models.recursive import RecursiveDVAE

STATIC = ("vae", "sdm-vae", "vsc")
"""Nothing flows from frame to frame."""


def _can_be_cut(model: DVAE) -> bool:
    return isinstance(model, RecursiveDVAE) and not (model.w_dim or model.condition_dim or model.prior_law != "prior")


CUTTABLE = [name for name in SMALL if _can_be_cut(small(name))]


def pieces_and_whole(name: str, frames: int, lengths: Tensor | None, free_running: float = 0.0):
    model = small(name).double()
    x = torch.rand(3, 7, model.x_dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.01
    noise = model.draw_noise(3, 7, torch.Generator().manual_seed(1))
    results = []
    for options in ({"truncate": frames}, {}):
        source = torch.Generator().manual_seed(2)
        elbo = model.elbo(x, lengths, noise=noise, free_running=free_running, generator=source, **options)
        gradients = torch.autograd.grad(elbo.per_frame, list(model.parameters()), allow_unused=True)
        results.append((elbo, [g for g in gradients if g is not None]))
    return results


@pytest.mark.parametrize("name", CUTTABLE)
@pytest.mark.parametrize("lengths", [None, torch.tensor([7, 4, 1])])
@pytest.mark.parametrize("free_running", [0.0, 0.5])
def test_the_values_are_those_of_the_whole(name: str, lengths: Tensor | None, free_running: float) -> None:
    for frames in (1, 3, 4):
        (cut, _), (whole, _) = pieces_and_whole(name, frames, lengths, free_running)
        torch.testing.assert_close(cut.log_likelihood, whole.log_likelihood, rtol=1e-11, atol=1e-11)
        torch.testing.assert_close(cut.kl, whole.kl, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", CUTTABLE)
def test_one_piece_has_the_whole_gradient_and_several_less(name: str) -> None:
    (_, cut), (_, whole) = pieces_and_whole(name, 7, torch.tensor([7, 4, 1]))
    torch.testing.assert_close(cut, whole, rtol=1e-10, atol=1e-12)
    (_, cut), (_, whole) = pieces_and_whole(name, 2, None)
    differ = any((a - b).abs().max() > 1e-6 for a, b in zip(cut, whole, strict=True))
    assert differ == (name not in STATIC)


def test_what_cannot_be_cut_is_refused() -> None:
    for name in ("kvae", "dsae"):
        model = small(name)
        with pytest.raises(ConfigError, match="cannot be cut"):
            model.elbo(torch.ones(1, 3, model.x_dim), truncate=2)
    with pytest.raises(ConfigError, match="at least one frame"):
        small("srnn").elbo(torch.ones(1, 3, small("srnn").x_dim), truncate=0)
    model = small("srnn", dropout=0.1)
    with pytest.raises(ConfigError, match="dropout"):
        model.train().elbo(torch.ones(1, 3, model.x_dim), truncate=2)
