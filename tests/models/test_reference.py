"""The models against the original code: its outputs for published weights, its gradients for small random ones.

The numbers were made by the classes of the published benchmarks; see the README beside them.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution

from dynvae.distributions import ComplexGaussian, gaussian, kl_per_dimension, standard_normal
from dynvae.models import DVAE, ELBO, SRNN, ZOO, Latents
from dynvae.nn import shift
from dynvae.pretrained.published import read_published
from dynvae.pretrained.translation import translate
from dynvae.recurrence import run as run_program

CHECKPOINTS = {
    **{f"{corpus}_{kind}": f"dvae-se/{corpus}_{kind}" for corpus in ("wsj", "vb") for kind in ("vae", "dkf", "rvae")},
    **{f"{corpus}_srnn_{mode}": f"dvae-se/{corpus}_srnn" for corpus in ("wsj", "vb") for mode in ("tf", "gm")},
    **{
        f"fs_{name}": f"dvae-speech/{name}"
        for name in ("VAE", "DKF", "STORN", "VRNN", "SRNN", "RVAE-Causal", "RVAE-NonCausal")
    },
    **{f"fs_{name}": f"dvae-speech/{name}_converted" for name in ("origVAE", "origRVAE-Causal")},
}
SMALL = (
    *("VAE", "DKF", "DKF_bidir", "STORN", "VRNN", "VRNN_2layer", "SRNN"),
    *("RVAE_causal", "RVAE_noncausal", "RVAE_2layer", "DSAE", "SRNN_SS_pred1"),
)


def moments(law: Distribution) -> tuple[Tensor, Tensor]:
    """Mean and log-variance of a diagonal Gaussian."""
    base = law.base_dist  # type: ignore[attr-defined]
    return base.loc, 2 * base.scale.log()


def log_variance(law: Distribution) -> Tensor:
    assert isinstance(law, ComplexGaussian)
    return law.log_variance


def run(model: DVAE, x: Tensor, eps: Tensor, generation: bool) -> dict[str, Tensor]:
    """Everything that the reference has, on the first sequence."""
    posterior = model.posterior(x, noise=Latents(eps))
    past = model._fed_back(posterior.latents, x, float(generation), None)
    prior = model.prior(posterior.latents, past)
    out = {"z": posterior.latents.z, "logvar": log_variance(model.likelihood(posterior.latents, past))}
    out["z_mean"], out["z_logvar"] = moments(posterior.z)
    out["z_mean_p"], out["z_logvar_p"] = moments(prior)
    return {key: value[0] for key, value in out.items()}


def deviation(found: Tensor, expected: np.ndarray[Any, Any], share: float = 1.0) -> float:
    """The largest deviation in the best so many of all frames."""
    return float((found - torch.from_numpy(expected)).abs().amax(-1).quantile(share))


@torch.no_grad()
def checkpoint_deviations(shared: Path, name: str) -> dict[str, float]:
    """The largest deviations of a converted model from the original code."""
    model, _ = read_published(shared / "checkpoints" / f"{CHECKPOINTS[name]}.pt")
    assert model.front_end is not None
    window = model.front_end.window_length
    reference = np.load(shared / "reference/dvae" / f"ckpt_{name}.npz")
    power = np.load(shared / "reference/dvae" / f"input_s_{window}_256.npz")["power"]
    x = torch.from_numpy(power.T.copy())[None]
    generation = name.endswith("_gm")
    noise = torch.from_numpy(np.random.RandomState(1234).randn(x.shape[1], 1, model.z_dim).astype(np.float32))
    mean = run(model, x, torch.zeros(1, x.shape[1], model.z_dim), generation)
    sampled = run(model, x, noise.transpose(0, 1), generation)
    found = {
        "logvar_mean": mean["logvar"],
        **{key: mean[key] for key in ("z_mean", "z_logvar", "z_mean_p", "z_logvar_p")},
        "eps_z": sampled["z"],
        "eps_logvar_every10": sampled["logvar"][::10],
    }
    compared = {key: value for key, value in found.items() if key in reference and reference[key].size}
    share = 0.98 if generation else 1.0
    deviations = {key: deviation(value, reference[key], share) for key, value in compared.items()}
    if generation:
        own = torch.from_numpy(reference["logvar_mean"]).exp()[None]
        given = log_variance(model.likelihood(Latents(mean["z"][None]), own))[0]
        deviations["logvar_given_own"] = deviation(given, reference["logvar_mean"])
        deviations["logvar_worst"] = deviation(mean["logvar"], reference["logvar_mean"])
    return deviations


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_published_weights_give_the_original_outputs(shared: Path, name: str) -> None:
    """Within 1e-4; in generation mode 2e-3, but for a few frames.

    There each frame passes through an exponential into the next. At frame 118 of ``vb_srnn_gm`` a relative change of
    the weights by 1e-7, less than float32 resolves, moves the log-variance by 6e-3 (measured in float64). So the last
    2 % of the frames have a looser bound, and the network is also tested with the reference's own frames fed back.
    """
    limits = dict.fromkeys(("logvar_mean", "z_mean_p", "z_logvar_p", "eps_logvar_every10"), 2e-3)
    limits = limits | {"logvar_worst": 5e-2} if name.endswith("_gm") else {}
    deviations = checkpoint_deviations(shared, name)
    assert {"logvar_mean", "z_mean", "z_logvar"} <= deviations.keys()
    assert {key: value for key, value in deviations.items() if not value <= limits.get(key, 1e-4)} == {}


# ---- small random models: outputs, losses, gradients ---------------------------------------------------------------


def load_small(shared: Path, name: str) -> tuple[DVAE, dict[str, Tensor]]:
    """The model and the reference's arrays, batch first."""
    arrays = dict(np.load(shared / "reference/dvae" / f"small_{name}.npz"))
    settings = json.loads((shared / "reference/dvae/small_models.json").read_text(encoding="utf-8"))[name]["kwargs"]
    kind, arguments, state = translate(
        {key[6:]: torch.from_numpy(value) for key, value in arrays.items() if key.startswith("param/")}
    )
    model = ZOO[kind](**arguments, activation=settings["activation"])
    model.load_state_dict(state)
    tensors = {key: torch.from_numpy(value) for key, value in arrays.items()}
    for key, value in tensors.items():
        if "/" not in key and value.dim() == 3:
            tensors[key] = value.transpose(0, 1)
    return model.eval(), tensors


def published_loss(model: DVAE, x: Tensor, bound: ELBO) -> dict[str, Tensor]:
    """The loss of the published code, which differs from the negative ELBO by constants alone."""
    time = x.shape[1]
    terms = bound.terms()
    kl = terms["kl"] + model.z_dim / 2
    if "kl_w" in terms:
        kl = kl + terms["kl_w"] + model.w_dim / 2 / time
    recon = -terms["log_likelihood"] - model.x_dim * (math.log(math.pi) + 1) - x.log().sum(-1).mean()
    return {"total": recon + kl, "recon": recon, "kl": kl}


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found.detach() - expected).abs().max() / expected.abs().max().clamp(min=1e-3))


def gradient_deviations(model: DVAE, reference: dict[str, Tensor]) -> dict[str, float]:
    """Our gradients against the original ones, which go through the same renaming and rearranging as the weights."""
    _, _, expected = translate({key[5:]: value for key, value in reference.items() if key.startswith("grad/")})
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert found.keys() == expected.keys()
    nothing = torch.zeros(())
    return {f"d {name}": relative(nothing if it is None else it, expected[name]) for name, it in found.items()}


def small_deviations(shared: Path, name: str) -> dict[str, float]:
    model, reference = load_small(shared, name)
    x, noise = reference["x"], Latents(reference["eps"], reference.get("eps_v"))
    generation = float(name.endswith("pred1"))
    posterior = model.posterior(x, noise=noise)
    past = model._fed_back(posterior.latents, x, generation, None)
    found = {"z": posterior.latents.z, "logvar": log_variance(model.likelihood(posterior.latents, past))}
    found["z_mean"], found["z_logvar"] = moments(posterior.z)
    found["z_mean_p"], found["z_logvar_p"] = moments(model.prior(posterior.latents, past))
    if posterior.w is not None and posterior.latents.w is not None:
        found["v"] = posterior.latents.w
        found["v_mean"], found["v_logvar"] = moments(posterior.w)
    loss = published_loss(model, x, model.elbo(x, noise=noise, free_running=generation))
    return compare_small(model, reference, found, loss)


def compare_small(
    model: DVAE, reference: dict[str, Tensor], found: dict[str, Tensor], loss: dict[str, Tensor]
) -> dict[str, float]:
    deviations = {key: relative(value, reference[key]) for key, value in found.items() if key in reference}
    loss["total"].backward()
    for value, expected in zip(loss.values(), reference["loss"], strict=True):
        deviations["loss"] = max(deviations.get("loss", 0.0), relative(value, expected))
    return deviations | gradient_deviations(model, reference)


def excess(deviations: dict[str, float]) -> dict[str, float]:
    return {key: it for key, it in deviations.items() if not it <= (1e-4 if key.startswith("d ") else 1e-5)}


@pytest.mark.parametrize("name", SMALL)
def test_outputs_losses_and_gradients_of_small_models(shared: Path, name: str) -> None:
    assert excess(small_deviations(shared, name)) == {}


def scheduled_deviations(shared: Path, name: str) -> dict[str, float]:
    """The original scheduled sampling, which is not ours: it chooses between two states, not between two inputs.

    One state has seen true frames only, the other the model's own means only; the prior always sees the second, the
    likelihood whichever a number drawn for each frame chooses. It is put together here from the parts of the model.
    """
    model, reference = load_small(shared, name)
    assert isinstance(model, SRNN)
    x = reference["x"]
    posterior = model.posterior(x, noise=Latents(reference["eps"]))
    z = posterior.latents.z
    true = run_program(model.declared.generation, model, {"x": x}, {"forward_rnn"})["forward_rnn"]
    state = model.start(len(x))
    own, outputs = [], []
    for t in range(x.shape[1]):
        own.append(state.now["forward_rnn"])
        chosen = own[-1] if reference["uniform"][t] <= reference["use_pred"] else true[:, t]
        outputs.append(log_variance(model.observation(model.decoder(torch.cat([chosen, z[:, t]], -1)))))
        state = model.advance(state, z[:, t], outputs[-1].detach().exp())
    prior = gaussian(model.prior_net(torch.cat([torch.stack(own, 1), shift(z)], -1)))
    likelihood = ComplexGaussian(torch.stack(outputs, 1))
    found = {"z": z, "logvar": likelihood.log_variance}
    found["z_mean"], found["z_logvar"] = moments(posterior.z)
    found["z_mean_p"], found["z_logvar_p"] = moments(prior)
    lengths = torch.full((len(x),), x.shape[1])
    bound = ELBO(likelihood.log_prob(x), kl_per_dimension(posterior.z, prior), None, lengths)
    return compare_small(model, reference, found, published_loss(model, x, bound))


@pytest.mark.parametrize("name", ["SRNN_SS_pred0", "SRNN_SS_pred05", "SRNN_SS_pred1"])
def test_the_original_scheduled_sampling_from_the_parts_of_the_model(shared: Path, name: str) -> None:
    assert excess(scheduled_deviations(shared, name)) == {}


def test_without_predictions_the_original_prior_still_sees_the_own_means(shared: Path) -> None:
    """The same by the public methods: likelihood teacher-forced, prior fed with that likelihood's means."""
    model, reference = load_small(shared, "SRNN_SS_pred0")
    latents = model.posterior(reference["x"], noise=Latents(reference["eps"])).latents
    likelihood = model.likelihood(latents, reference["x"])
    assert relative(log_variance(likelihood), reference["logvar"]) < 1e-5
    prior = moments(model.prior(latents, likelihood.mean.detach()))
    assert relative(prior[0], reference["z_mean_p"]) < 1e-5
    assert relative(prior[1], reference["z_logvar_p"]) < 1e-5


def test_the_published_kl_of_equal_laws_is_half_the_dimension_too_large(shared: Path) -> None:
    """Why `published_loss` adds z_dim / 2: the closed form without its −1 per dimension."""
    law = standard_normal(torch.zeros(16))
    assert float(kl_per_dimension(law, law).sum()) == 0
    summary = json.loads((shared / "reference/dvae/ckpt_summary_se.json").read_text(encoding="utf-8"))
    for entry in summary.values():
        assert entry["mean"]["kl_peer_per_frame"] - entry["mean"]["kl_true_per_frame"] == pytest.approx(8)


if __name__ == "__main__":  # python tests/models/test_reference.py: the table of largest deviations
    folder = Path(__file__).resolve().parents[3] / "shared"
    torch.set_num_threads(1)
    for name in CHECKPOINTS:
        row = checkpoint_deviations(folder, name)
        print(f"{name:20}", "  ".join(f"{key} {value:.1e}" for key, value in row.items()))
    for name in (*SMALL, "SRNN_SS_pred0", "SRNN_SS_pred05"):
        row = small_deviations(folder, name) if name in SMALL else scheduled_deviations(folder, name)
        outputs = max(value for key, value in row.items() if not key.startswith("d "))
        gradients = max(value for key, value in row.items() if key.startswith("d "))
        print(f"{name:20} outputs and loss {outputs:.1e}  gradients {gradients:.1e}")
