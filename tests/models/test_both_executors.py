"""Both executors give the same results and gradients, and the compiled one those of the original code."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
import torch
from model_toys import small
from test_reference import SMALL as REFERENCES
from test_reference import small_deviations
from torch import Tensor

from dynvae.models import DVAE, PRESETS
from dynvae.nn import time_mask
from dynvae.recurrence import executor, running
from dynvae.recurrence.program import Dropout, Mask
from dynvae.testing.cases import given

# No size is a multiple of a vector or of a tile of the kernels.
BATCH, TIME, SIZES = 5, 7, {"x_dim": 19, "z_dim": 3}
LENGTHS = torch.tensor([7, 1, 4, 6, 3])

RECURRENT = ["dkf", "storn", "vrnn", "srnn", "rvae", "rvae-causal", "dsae"]

CASES = {
    **{name: (name, {}) for name in PRESETS},
    **{f"{name}-dropout": (name, {"dropout": 0.3}) for name in PRESETS},
    **{f"{name}-two_layers": (name, {"rnn_layers": 2, "dropout": 0.3}) for name in RECURRENT},
    "dkf-bidirectional": ("dkf", {"bidirectional": True}),
    "dkf-bounded": ("dkf", {"bounded_proposal": True}),
}


@pytest.fixture
def seeded_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each dropout mask has a seed of its own, for the executors draw them in different orders and layouts."""
    whole = running._whole

    def seeded(stage: Any, values: Any, *arguments: Any) -> Tensor:
        if not isinstance(stage, Dropout | Mask):
            return whole(stage, values, *arguments)
        source = None if isinstance(stage, Mask) else values.read(stage.source)
        shape = (BATCH, TIME, stage.width) if source is None else source.shape
        generator = torch.Generator().manual_seed(crc32(stage.out.removesuffix(".mask").encode()))
        mask = (torch.rand(shape, generator=generator) >= stage.probability) / (1 - stage.probability)
        return mask if source is None else source * mask

    monkeypatch.setattr(running, "_whole", seeded)


def static(model: DVAE) -> bool:
    """Whether every frame is on its own, so that there is no loop to run."""
    factors = (getattr(model.dependencies, factor) for factor in ("prior", "likelihood", "posterior"))
    return all(span in ("", "x[t]", "z[t]", "v[t]") for factor in factors for span in factor.split(", "))


def outcome(model: DVAE, which: str, lengths: Tensor | None, free_running: float) -> dict[str, Tensor]:
    """The valid latents, the terms of the bound and all gradients, with the same noise for both executors."""
    torch.manual_seed(2)
    x = torch.rand(BATCH, TIME, model.x_dim).requires_grad_()
    noise = model.draw_noise(BATCH, TIME)
    beside = given(model, BATCH, TIME, torch.Generator().manual_seed(4))
    with executor(which):  # type: ignore[arg-type]
        z = model.posterior(x, lengths, noise=noise, **beside).latents.z
        elbo = model.elbo(
            x, lengths, noise=noise, free_running=free_running, generator=torch.Generator().manual_seed(3), **beside
        )
        elbo.per_frame.backward()
    named = {"z": z, "log-likelihood": elbo.log_likelihood, "KL": elbo.kl, "ELBO": elbo.total, "d x": x.grad}
    named |= {f"d {name}": parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad()
    if lengths is not None:
        named["z"] = z.where(time_mask(lengths, TIME).unsqueeze(-1), 0)
    return named


@pytest.mark.parametrize("free_running", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "lengths"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.usefixtures("seeded_masks")
def test_equal_results_and_gradients(
    compiled_runs: Counter[str], case: str, lengths: Tensor | None, free_running: float
) -> None:
    name, changes = CASES[case]
    model = small(name, **SIZES, **changes).train()
    plain = outcome(model, "plain", lengths, free_running)
    assert not compiled_runs
    compiled = outcome(model, "compiled", lengths, free_running)
    assert (compiled_runs["program_forward"] and compiled_runs["program_backward"]) or static(model)
    far = {
        key: float((compiled[key] - it).detach().abs().max() / it.detach().abs().max().clamp(min=1e-3))
        for key, it in plain.items()
    }
    assert {key: by for key, by in far.items() if not by <= 1e-5} == {}


@pytest.mark.parametrize("name", REFERENCES)
def test_the_compiled_executor_gives_the_original_results(compiled_runs: Counter[str], shared: Path, name: str) -> None:
    deviations = small_deviations(shared, name)
    assert compiled_runs["program_backward"] or name == "VAE"
    assert {key: by for key, by in deviations.items() if not by <= 1e-5} == {}
