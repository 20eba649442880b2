"""Checks of what a model is as an object: shapes, types, devices, configuration, weights, side effects."""

from __future__ import annotations

__all__ = ["CHECKS"]

import copy
import json
import tempfile
from collections.abc import Sized

import torch
from torch import Tensor, nn

from dynvae.errors import ConfigError
from dynvae.models import DVAE, ZOO, Latents
from dynvae.nn import MLP, Recurrent
from dynvae.testing.cases import (
    Check,
    applies_to,
    assert_equal,
    ensure,
    gradients,
    ladder,
    learned,
    observations,
    results,
    seeded,
)


def check_shapes(model: DVAE, generator: torch.Generator) -> None:
    """Every law is (batch, time) of one frame, every latent and term has its documented shape."""
    batch, time = 3, 4
    x = observations(model, batch, time, generator)
    posterior = model.posterior(x, generator=generator)
    prior, likelihood = model.prior(posterior.latents, x), model.likelihood(posterior.latents, x)
    for name, law, size in (
        ("posterior", posterior.z, model.z_dim), ("prior", prior, model.z_dim), ("likelihood", likelihood, model.x_dim)
    ):  # fmt: skip
        _same_shape(law.batch_shape, (batch, time), f"batch shape of the {name}")
        _same_shape(law.event_shape, (size,), f"event shape of the {name}")
    _same_shape(posterior.latents.z.shape, (batch, time, model.z_dim), "shape of the latents")
    ensure((posterior.w is None) == (model.w_dim == 0), f"w_dim is {model.w_dim}, but q(w | x) is {posterior.w}")
    if posterior.w is not None:
        _same_shape(posterior.w.batch_shape + posterior.w.event_shape, (batch, model.w_dim), "shape of q(w | x)")
    elbo = model.elbo(x, generator=generator)
    _same_shape(elbo.log_likelihood.shape, (batch, time), "shape of the log-likelihood term")
    ensure(
        elbo.kl.shape[:2] == (batch, time) and elbo.kl.shape[2:] in ((model.z_dim,), (1,)),
        f"shape of the KL term is {tuple(elbo.kl.shape)}, expected {(batch, time, model.z_dim)} or {(batch, time, 1)}",
    )
    _same_shape(elbo.total.shape, (batch,), "shape of the ELBO")
    _same_shape(model.iwae(x, samples=2, generator=generator).shape, (batch,), "shape of the IWAE bound")
    _same_shape(model.resynthesize(x, generator=generator).mean.shape, x.shape, "shape of the resynthesis")


def _same_shape(actual: torch.Size, expected: tuple[int, ...], what: str) -> None:
    ensure(tuple(actual) == tuple(expected), f"the {what} is {tuple(actual)}, expected {tuple(expected)}")


def check_single_frame(model: DVAE, generator: torch.Generator) -> None:
    """A sequence of one frame is a sequence."""
    x = observations(model, 2, 1, generator)
    for lengths in (None, torch.tensor([1, 1])):
        for name, tensor in results(model, x, lengths, model.draw_noise(2, 1, generator)).items():
            ensure(tensor.isfinite().all(), f"{name} of a sequence of one frame is not finite")
    ensure(model.iwae(x, samples=2, generator=generator).isfinite().all(), "the IWAE bound of one frame is not finite")


def check_input_is_refused(model: DVAE, generator: torch.Generator) -> None:
    """Observations that do not fit, and options that do not exist, are refused with a clear error."""
    x = observations(model, 2, 3, generator)
    for name, wrong in (
        ("two axes", x[0]), ("no frames", x[:, :0]), ("too many features", torch.cat([x, x], -1)),
    ):  # fmt: skip
        _refuses(lambda wrong=wrong: model.elbo(wrong), f"observations with {name}")
        _refuses(lambda wrong=wrong: model.iwae(wrong, samples=2), f"observations with {name}, for the IWAE bound")
        _refuses(lambda wrong=wrong: model.resynthesize(wrong), f"observations with {name}, for resynthesis")
    _refuses(lambda: model.elbo(x, samples=0), "no sample at all")
    _refuses(lambda: model.elbo(x, free_running=1.5), "a probability of 1.5")
    _refuses(lambda: model.resynthesize(x, mode="nonsense"), "an unknown mode")  # type: ignore[arg-type]
    _refuses(lambda: model.resynthesize(x, latents="nonsense"), "an unknown kind of latents")  # type: ignore[arg-type]
    _refuses(lambda: model.sample(1, 2, feedback="nonsense"), "an unknown feedback")  # type: ignore[arg-type]


def _refuses(call: object, what: str) -> None:
    assert callable(call)
    try:
        call()
    except (ValueError, ConfigError):
        return
    except Exception as error:
        raise AssertionError(f"{what}: expected ValueError or ConfigError, not {type(error).__name__}") from error
    raise AssertionError(f"{what}: passed without an error")


def check_config(model: DVAE, generator: torch.Generator) -> None:
    """``config`` survives JSON and makes a model with the same parts and the same config."""
    config = json.loads(json.dumps(model.config))
    ensure(config == model.config, f"the config changes in JSON: {model.config} becomes {config}")
    twin = type(model)(**config)
    ensure(twin.config == config, f"a model made from {config} has the config {twin.config}")
    shapes, twins = ({name: tuple(t.shape) for name, t in m.state_dict().items()} for m in (model, twin))
    differing = {name for name, _ in shapes.items() ^ twins.items()}
    ensure(not differing, f"a model made from the config differs in {', '.join(sorted(differing))}")


def check_state_dict(model: DVAE, generator: torch.Generator) -> None:
    """Config and state dict are the whole model: a twin that loads them gives the same results."""
    twin = type(model)(**model.config).to(model.weight.dtype).eval()
    twin.load_state_dict(model.state_dict())
    x, noise = observations(model, 2, 3, generator), model.draw_noise(2, 3, generator)
    assert_equal(results(twin, x, None, noise), results(model, x, None, noise), "after loading the state dict")


@applies_to(lambda model: type(model) in ZOO.values())
def check_save_load(model: DVAE, generator: torch.Generator) -> None:
    """A saved model comes back the same."""
    from dynvae.pretrained import load, save

    with tempfile.TemporaryDirectory() as folder:
        save(model, folder)
        loaded = load(folder).eval()
    x, noise = observations(model, 2, 3, generator), model.draw_noise(2, 3, generator)
    assert_equal(results(loaded, x, None, noise), results(model, x, None, noise), "after saving and loading")


def check_no_state_is_kept(model: DVAE, generator: torch.Generator) -> None:
    """No call changes the model: attributes, buffers and weights stay as they were, in train mode too."""
    x, lengths = observations(model, 2, 3, generator), torch.tensor([3, 2])
    model.train()
    before = _snapshot(model)
    tensors = {name: tensor.detach().clone() for name, tensor in _tensors(model).items()}
    model.elbo(x, lengths, generator=generator, free_running=0.5).per_frame.backward()
    model.iwae(x, lengths, samples=2, generator=generator)
    model.resynthesize(x, lengths, mode="generation", generator=generator)
    model.sample(2, 3, generator=generator)
    after = _snapshot(model)
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    ensure(not changed, f"calls changed the attributes {', '.join(changed)}")
    for name, tensor in _tensors(model).items():
        ensure(torch.equal(tensor, tensors[name]), f"calls changed the values of {name}")


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.named_parameters()) | dict(model.named_buffers())


def _snapshot(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Identity and size of every attribute of every part."""
    return {
        f"{type(part).__name__} {name}.{attribute}": (id(value), len(value) if isinstance(value, Sized) else 0)
        for name, part in model.named_modules()
        for attribute, value in vars(part).items()
    }


def check_text(model: DVAE, generator: torch.Generator) -> None:
    """The model and its laws can be printed, and it tells its name and its paper."""
    ensure(type(model).__name__ in repr(model), f"repr(model) does not name the class: {repr(model)[:80]}")
    ensure(bool(model.title and model.paper), "title or paper is empty")
    x = observations(model, 1, 2, generator)
    posterior = model.posterior(x, generator=generator)
    for law in (posterior.z, *model.generative(posterior.latents, x)):
        ensure(bool(repr(law)), "a law has an empty repr")


def check_single_precision(model: DVAE, generator: torch.Generator) -> None:
    """In float32 everything is float32, and results and gradients are close to float64."""
    single = copy.deepcopy(model).float()
    double = copy.deepcopy(single).double()
    x, noise = observations(single, 2, 4, generator), single.draw_noise(2, 4, generator)
    exact = Latents(noise.z.double(), None if noise.w is None else noise.w.double())
    low, high = _results_and_gradients(single, x, noise), _results_and_gradients(double, x.double(), exact)
    for name, tensor in low.items():
        ensure(tensor.dtype == torch.float32, f"{name} of a float32 model is {tensor.dtype}")
    doubled = {name: tensor.double() for name, tensor in low.items()}
    assert_equal(doubled, high, "float32 against float64", rtol=2e-3, atol=2e-3)


def _results_and_gradients(model: DVAE, x: Tensor, noise: Latents) -> dict[str, Tensor]:
    lengths = ladder(x.shape[0], x.shape[1])
    parameters = learned(model)
    slopes = gradients(model.elbo(x, lengths, noise=noise).per_frame, parameters.values())
    named = {f"the gradient of {name}": slope for name, slope in zip(parameters, slopes, strict=True)}
    return results(model, x, lengths, noise) | named


def check_observations_of_other_types(model: DVAE, generator: torch.Generator) -> None:
    """Observations may be of another floating type than the weights, or whole numbers."""
    noise = model.draw_noise(2, 3, generator)
    x = observations(model, 2, 3, generator).abs().ceil().clamp(max=1)
    expected = model.elbo(x, noise=noise).total
    for dtype in (torch.float32, torch.float64, torch.int64, torch.bool):
        actual = model.elbo(x.to(dtype), noise=noise).total
        assert_equal(actual.double(), expected, f"with observations of type {dtype}", rtol=1e-5)


def check_device(model: DVAE, generator: torch.Generator) -> None:
    """Everything happens where the weights are: nothing is made on the default device behind the user's back."""
    x, lengths = observations(model, 2, 3, generator), torch.tensor([3, 2])
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    # With weights on the CPU and a default device that holds no data, whatever forgets to say where it is made is seen.
    for default, place in (("meta", torch.device("cpu")), ("cpu", accelerator)):
        if place is None:
            continue
        there, moved, sizes = copy.deepcopy(model).float().to(place), x.float().to(place), lengths.to(place)
        try:
            with torch.device(default):
                everything = {
                    "the ELBO": there.elbo(moved, sizes).total,
                    "the IWAE bound": there.iwae(moved, samples=2),
                    "the resynthesis": there.resynthesize(moved, sizes, mode="generation").mean,
                    "a sample": there.sample(2, 3).x,
                }
        except (RuntimeError, NotImplementedError) as error:
            raise AssertionError(f"with weights on {place} and {default} as default device: {error}") from error
        for name, tensor in everything.items():
            ensure(tensor.device.type == place.type, f"{name} of a model on {place} is on {tensor.device}")


def check_autocast(model: DVAE, generator: torch.Generator) -> None:
    """Under autocast to bfloat16 the bound is still computed in float32, and roughly right."""
    single = copy.deepcopy(model).float()
    x = observations(model, 4, 3, generator).float()
    noise = single.draw_noise(4, 3, generator)
    expected = single.elbo(x, noise=noise).per_frame.detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        posterior = single.posterior(x, noise=noise)
        prior, likelihood = single.generative(posterior.latents, x)
        elbo = single.elbo(x, noise=noise)
        iwae = single.iwae(x, samples=2, generator=generator)
        single.elbo(x, free_running=1.0, noise=noise)
    for name, law in (("posterior", posterior.z), ("prior", prior), ("likelihood", likelihood)):
        ensure(law.mean.dtype == torch.float32, f"the {name} is a law in {law.mean.dtype} under autocast")
    for name, term in (("log-likelihood", elbo.log_likelihood), ("KL", elbo.kl), ("IWAE bound", iwae)):
        ensure(term.dtype == torch.float32, f"the {name} is computed in {term.dtype} under autocast")
        ensure(term.isfinite().all(), f"the {name} is not finite under autocast")
    close = (elbo.per_frame - expected).abs() < 0.2 * (1 + expected.abs())
    ensure(close, f"the ELBO is {elbo.per_frame.item():.4g} under autocast, {expected.item():.4g} without")


def _drops(model: nn.Module) -> bool:
    own = (MLP, Recurrent)
    probabilities = (
        m.p if isinstance(m, nn.Dropout) else m.dropout if isinstance(m, own) else 0 for m in model.modules()
    )
    return any(probability > 0 for probability in probabilities)


@applies_to(_drops)
def check_dropout(model: DVAE, generator: torch.Generator) -> None:
    """Dropout works in train mode, and only there."""
    x, noise = observations(model, 2, 4, generator), model.draw_noise(2, 4, generator)
    model.eval()
    assert_equal(model.elbo(x, noise=noise).total, model.elbo(x, noise=noise).total, "two calls in eval mode")
    model.train()
    first, second = model.elbo(x, noise=noise).total, model.elbo(x, noise=noise).total
    ensure((first != second).any(), "the model has dropout, but two calls in train mode are equal")


def check_seeds(model: DVAE, generator: torch.Generator) -> None:
    """The same seed gives the same numbers, another seed others, and no other source of randomness is touched."""
    x = observations(model, 2, 3, generator)
    for name, call in {
        "elbo": lambda source: model.elbo(x, generator=source).total,
        "elbo with scheduled sampling": lambda source: model.elbo(x, generator=source, free_running=0.5).total,
        "iwae": lambda source: model.iwae(x, samples=3, generator=source),
        "posterior": lambda source: model.posterior(x, generator=source).latents.z,
        "resynthesize": lambda source: model.resynthesize(x, generator=source).mean,
        "sample": lambda source: model.sample(2, 3, generator=source).x,
        "sample with feedback": lambda source: model.sample(2, 3, generator=source, feedback="sample").x,
    }.items():
        state = torch.get_rng_state()
        first, again, other = call(seeded(1)), call(seeded(1)), call(seeded(2))
        ensure(torch.equal(first, again), f"{name}: the same seed gives different results")
        # The IWAE bound is the same for all seeds where the posterior is the true one; codes take no noise.
        if name != "iwae" and (not model.discrete or name.startswith("sample")):
            ensure(not torch.equal(first, other), f"{name}: another seed gives the same result")
        ensure(torch.equal(state, torch.get_rng_state()), f"{name}: draws from the global generator")


CHECKS: tuple[Check, ...] = (
    check_shapes,
    check_single_frame,
    check_input_is_refused,
    check_config,
    check_state_dict,
    check_save_load,
    check_no_state_is_kept,
    check_text,
    check_single_precision,
    check_observations_of_other_types,
    check_device,
    check_autocast,
    check_dropout,
    check_seeds,
)
