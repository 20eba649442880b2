"""The published A-VAE, A-DKF and AV-VAE give what the code that they were published with gives.

The numbers are of that code (github.com/msaadeghii/av-dkf, commit 54a2ac3), run once outside this project: its classes
A_VAE, DKF_A (inference "gated") and AV_CVAE, whose `reparameterization` was made to return the mean. They are the root
mean squares of what its `inference`, `zprior` or `generation_z`, and `generation_x` return; element by element the two
differed by less than 1e-5.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dynvae.models import Condition, Latents
from dynvae.pretrained import convert, load

TIME, BINS, FEATURES = 6, 513, 512

EXPECTED = {
    "A-VAE": {"mean of q": 1.69279, "log-variance of q": 4.39223, "log-variance of x": 1.87172},
    "A-DKF": {
        "mean of q": 0.424814,
        "log-variance of q": 8.06318,
        "mean of p": 0.382233,
        "log-variance of p": 5.63756,
        "log-variance of x": 0.726519,
    },
    "AV-VAE": {
        "mean of q": 2.25653,
        "log-variance of q": 3.79825,
        "mean of p": 2.34279,
        "log-variance of p": 1.42978,
        "log-variance of x": 4.93483,
    },
}


def frames() -> tuple[Tensor, Tensor]:
    """Powers and lip features that any code can make again."""
    t = torch.arange(float(TIME)).unsqueeze(1)
    power = torch.exp(2 * torch.sin(0.37 * torch.arange(float(BINS)) + 0.9 * t) - 2)
    return power.unsqueeze(0), torch.cos(0.11 * torch.arange(float(FEATURES)) + 0.7 * t).unsqueeze(0)


@pytest.mark.parametrize("name", EXPECTED)
@torch.no_grad()
def test_published_audiovisual_weights_reproduce(name: str, shared: Path, tmp_path: Path) -> None:
    convert(shared / f"checkpoints/av-dkf/{name}.pt", tmp_path / "model")
    model = load(tmp_path / "model")
    power, lips = frames()
    beside: dict[str, Any] = {"condition": Condition.of(lips)} if model.condition_dim else {}
    posterior = model.posterior(power, noise=Latents(torch.zeros(1, TIME, model.z_dim)), **beside)
    prior, likelihood = model.generative(posterior.latents, power, **beside)
    found = {
        "mean of q": posterior.z.mean,
        "log-variance of q": posterior.z.variance.log(),
        "mean of p": prior.mean,
        "log-variance of p": prior.variance.log(),
        "log-variance of x": likelihood.log_variance,  # type: ignore[attr-defined]
    }
    for what, expected in EXPECTED[name].items():
        assert found[what].square().mean().sqrt().item() == pytest.approx(expected, rel=2e-5), what


def test_the_published_av_vae_is_an_av_cvae_with_a_licence(shared: Path, tmp_path: Path) -> None:
    model = convert(shared / "checkpoints/av-dkf/AV-VAE.pt", tmp_path / "model")
    assert model.dependencies.prior == "v[t]"
    assert model.condition_dim == FEATURES
    assert "license: mit" in (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
