"""The published code's numbers, with all its settings on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dynvae.mixtures import Estimate, Observations, cascade, first_guess, legacy
from dynvae.models import DVAE, Latents
from dynvae.pretrained.published import read_published

pytestmark = pytest.mark.shared


def published(shared: Path, name: str) -> DVAE:
    return read_published(shared / f"checkpoints/mixdvae/model_{name}.pt")[0]


def reference(shared: Path, name: str) -> Any:
    return np.load(shared / f"reference/mixture/{name}.npz")


@pytest.mark.parametrize(
    ("name", "file", "parameters"),
    [
        ("mot", "srnn_mot_single", 1540),
        ("scass_cbf", "srnn_scass_cbf", 884_993),
        ("scass_wsj", "srnn_scass_wsj", 884_993),
    ],
)
@torch.no_grad()
def test_single_source(shared: Path, name: str, file: str, parameters: int) -> None:
    model, known = published(shared, name), reference(shared, file)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    x = torch.from_numpy(known["x"])
    x = x if name == "mot" else x.transpose(1, 2)
    tag = "tf_eps0" if name == "mot" else "tf"
    posterior = model.posterior(x, noise=Latents(torch.zeros(*x.shape[:2], model.z_dim)))
    prior, likelihood = model.generative(posterior.latents, x)
    numbers = {"z_mean_inf": posterior.z.mean, "z_mean_prior": prior.mean}
    numbers |= {"z_logvar_inf": posterior.z.variance.log(), "z_logvar_prior": prior.variance.log()}
    if name == "mot":
        numbers |= {"x_mean": likelihood.mean, "x_var": likelihood.variance}
    else:
        numbers["x_var"] = likelihood.log_variance.exp()  # type: ignore[attr-defined]
    for key, value in numbers.items():
        np.testing.assert_allclose(value, known[f"{tag}_{key}"], rtol=2e-4, atol=1e-5, err_msg=key)


def test_tracking(shared: Path) -> None:
    """With 15 % of the detections missing; the reference was computed in float32, and so is this."""
    known = reference(shared, "vem_mot")
    detections = torch.from_numpy(known["det"])
    first = detections[:, 0]
    noise = legacy.box_noise(first)
    np.testing.assert_allclose(noise, known["Phi_diag"], rtol=1e-6)
    observed = Observations(detections, detections.isfinite().all(-1), noise.unsqueeze(1))
    model = published(shared, "mot")
    resting = cascade(
        legacy.tracking(model, iterations=5), observed, Estimate(first, noise), sure=legacy.FIRST_VARIANCE,
        refined=False,
    )  # fmt: skip
    np.testing.assert_allclose(resting.mean.transpose(0, 1), known["init_mean"], atol=1e-5)
    seen: dict[int, tuple[Tensor, Estimate]] = {}
    start = Estimate(first, torch.full_like(first, legacy.FIRST_VARIANCE))
    legacy.tracking(model, iterations=10).run(
        observed, resting, start=start, trace=lambda i, eta, q: seen.update({i: (eta, q)})
    )
    for i in (0, 1, 9):
        eta, q = seen[i]
        np.testing.assert_allclose(eta.transpose(0, 1), np.nan_to_num(known[f"eta_{i}"]), atol=1e-5)
        np.testing.assert_allclose(q.mean.transpose(0, 1), known[f"mean_{i}"], atol=1e-5)
        np.testing.assert_allclose(q.variance.transpose(0, 1), known[f"var_diag_{i}"], rtol=1e-5)


def test_separation(shared: Path) -> None:
    """In float64: in float32 the same algorithm drifts 5 % away from itself within 20 iterations."""
    known = reference(shared, "vem_scass")
    mixture = torch.from_numpy(known["data_mixed"]).transpose(1, 2).to(torch.complex128)
    models = [published(shared, name).double() for name in ("scass_cbf", "scass_wsj")]
    solver = legacy.separation(models, iterations=20, feedback="mean", latents="mean")
    first = first_guess(solver, mixture)
    for power, name in zip(first.mean.abs().square().unbind(1), ("cbf", "wsj"), strict=True):
        np.testing.assert_allclose(power, known[f"init_{name}"], rtol=1e-6)
    seen: dict[int, Tensor] = {}
    solver.run(mixture, first, trace=lambda i, _, q: seen.update({i: q.mean}))
    for i in (0, 1, 19):
        expected = torch.from_numpy(known[f"mu_{i}"]).transpose(0, 1)
        assert ((seen[i] - expected).norm() / expected.norm()).item() < 1e-6
