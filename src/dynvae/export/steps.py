"""The parts of a causal model for one frame: its state in, its state out."""

from __future__ import annotations

__all__ = ["AttentionStep", "Filter", "Step", "filter_of", "step_of"]

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from dynvae.condition import Condition
from dynvae.distributions import bound_log_variance, diagonal_normal
from dynvae.errors import ConfigError
from dynvae.export.parts import Part, condition_ports, has_std, law_of, looks_further, moments, observed
from dynvae.export.ports import Port
from dynvae.models import DVAE, KVAE, HiTDVAE, Latents, RecursiveDVAE
from dynvae.models.hit import State
from dynvae.models.transformer import Grown
from dynvae.recurrence import Program, run_frame
from dynvae.recurrence.program import Last

_BATCH = ("batch",)
_BEFORE, _AFTER = "state.", "next."
_NO_GAUSSIAN = "the latents of this {} follow no Gaussian, and noise does not make them; export its encoder and decoder"
_LOOKS_FURTHER = (
    "the encoder of this {} sees later frames ('{}') and cannot follow a stream; export the encoder of whole sequences"
)
_SCALE = {"x.mean": "input_mean", "x.std": "input_std"}


class _Stepping(Part):
    """A part whose state goes in and comes out."""

    def example(self, sizes: Mapping[str, int], generator: torch.Generator) -> dict[str, Tensor]:
        """The state after so many frames from the beginning."""
        given = super().example({**sizes, "past": 0}, generator)
        given |= {name: torch.zeros_like(value) for name, value in given.items() if name.startswith(_BEFORE)}
        for _ in range(sizes["past"]):
            after = self.compute(given)
            given = super().example({**sizes, "past": 0}, generator)
            given |= {name: after[_AFTER + name.removeprefix(_BEFORE)] for name in given if name.startswith(_BEFORE)}
        return given


class _Recursive(_Stepping):
    """One frame of a model's program.

    Args:
        model: in evaluation mode.
        program: what to run.
        known: the variables that are given at each frame.
        wanted: the variables that are asked for.

    Raises:
        ConfigError: it needs later frames.
    """

    model: RecursiveDVAE

    def __init__(self, model: RecursiveDVAE, program: Program, known: Collection[str], wanted: Collection[str]) -> None:
        super().__init__(model)
        self.program, self.wanted = program, frozenset(wanted)
        views = [f"view.{name}" for name in getattr(model, "views", {})]
        names = _state(program, {*known, "w", *views, *_SCALE}, self.wanted)
        widths = {op.out: op.width for op in program.operations.values()} | {"x": model.x_dim, "z": model.z_dim}
        self.state = {name: widths[name.removesuffix(".cell")] for name in names}

    def _states(self, prefix: str) -> list[Port]:
        when = "the frame before; zero at first" if prefix == _BEFORE else "this frame, for the next"
        return [Port(prefix + name, ("batch", size), f"{name} of {when}", "noise") for name, size in self.state.items()]

    def _shared(self) -> list[Port]:
        model = self.model
        w = [Port("w", ("batch", model.w_dim), "the latent of the sequence", "noise")] if model.w_dim else []
        return w + condition_ports(model, _BATCH)

    def _frame(self, given: dict[str, Tensor], known: dict[str, Tensor]) -> dict[str, Tensor]:
        """The variables of a frame, those of the next state among them."""
        model, batch = self.model, next(iter(known.values())).shape[0]
        if "w" in given:
            known["w"] = given["w"]
        for one in _one_frame(given).values():
            known |= {f"view.{name}": view(one)[:, 0] for name, view in model.views.items()}
        if model.input_transform == "standardise":
            known |= {name: getattr(model, of).expand(batch, -1) for name, of in _SCALE.items()}
        before = {name: given[_BEFORE + name] for name in self.state}
        return run_frame(self.program, model, known, before, {*self.wanted, *self.state})

    def _after(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {_AFTER + name: values[name] for name in self.state}

    def _law(self, values: Mapping[str, Tensor], law: str) -> Any:
        reads = self.model.declared.laws[law]
        parts = [values[read.name][:, read.start : read.stop] for read in reads]
        if law == "likelihood":
            return self.model.observation(parts[0])
        return diagonal_normal(parts[0], bound_log_variance(parts[1]))


class Step(_Recursive):
    """One frame of generation: z_t from its prior, x_t the likelihood's mean, which is fed back.

    Raises:
        ConfigError: the model cannot generate frame by frame, or not without more than ONNX has.
    """

    name = "step"
    about = "one frame of generation; the mean of x is fed back"

    def __init__(self, model: RecursiveDVAE) -> None:
        kind = type(model).__name__
        if isinstance(model, KVAE):
            raise ConfigError(f"the prior of a {kind} is a Kalman filter, for whose Cholesky factors ONNX has no "
                              "operator; export its encoder and decoder")  # fmt: skip
        if not model.causal:
            raise ConfigError(
                f"the decoder of this {kind} sees later latents ('{model.dependencies.likelihood}'), so that no frame "
                "can be generated before the last; export its encoder and decoder"
            )
        if model.degrees is not None and "prior" in model.declared.laws:
            raise ConfigError(_NO_GAUSSIAN.format(kind))
        self.drawn = "noise.z" if "prior" in model.declared.laws else "z"
        decoded = {read.name for read in model.declared.laws["likelihood"]}
        super().__init__(model, model.declared.free, {self.drawn}, {"mean", "z", *decoded})

    @property
    def inputs(self) -> list[Port]:
        about = "standard normal noise of z" if self.drawn == "noise.z" else "a latent, drawn from p(z_t) or inferred"
        name = "noise" if self.drawn == "noise.z" else "z"
        return [Port(name, ("batch", self.model.z_dim), about, "noise"), *self._shared(), *self._states(_BEFORE)]

    @property
    def outputs(self) -> list[Port]:
        z = [Port("z", ("batch", self.model.z_dim), "the latent")] if self.drawn == "noise.z" else []
        return [*observed(self.model, _BATCH), *z, *self._states(_AFTER)]

    def compute(self, given: dict[str, Tensor]) -> dict[str, Tensor]:
        values = self._frame(given, {self.drawn: given["noise" if self.drawn == "noise.z" else "z"]})
        found = {"x_mean": values["mean"], "z": values["z"], **self._after(values)}
        if has_std(self.model):
            found["x_std"] = self._law(values, "likelihood").variance.sqrt()
        return found


class Filter(_Recursive):
    """One observed frame: q(z_t | ...) of an encoder that sees no later one, and p(x_t | ...) of what it infers.

    Raises:
        ConfigError: the encoder sees later frames.
    """

    name = "filter"
    about = "one observed frame: its latent, inferred from it and those before, and the frame resynthesised from that"

    def __init__(self, model: RecursiveDVAE) -> None:
        seen = model.dependencies.posterior
        if looks_further(model):
            seen = model.dependencies.sequence_posterior or seen
            raise ConfigError(_LOOKS_FURTHER.format(type(model).__name__, seen))
        declared = model.declared
        self.alone = all(span.reach == 0 and span.start == 0 for span in model.dependencies.parents("posterior"))
        laws = ("likelihood",) if self.alone else ("likelihood", "posterior")
        wanted = {read.name for law in laws for read in declared.laws[law]} | {"z"}
        if self.alone:
            super().__init__(model, declared.generation, {"x", "z"}, wanted)
        else:
            super().__init__(model, declared.program, {"x", "noise.z"}, wanted)

    @property
    def inputs(self) -> list[Port]:
        x = Port("x", ("batch", self.model.x_dim), "the observed frame")
        noise = Port("noise", ("batch", self.model.noise_dim), "standard normal noise of z; zero for means", "noise")
        return [x, noise, *self._shared(), *self._states(_BEFORE)]

    @property
    def outputs(self) -> list[Port]:
        frame = ("batch", self.model.z_dim)
        latent = [Port("z", frame, "a sample of q(z_t | ...)"), *law_of("z", frame, "q(z_t | ...)")]
        return [*latent, *observed(self.model, _BATCH), *self._states(_AFTER)]

    def compute(self, given: dict[str, Tensor]) -> dict[str, Tensor]:
        model, x = self.model, given["x"]
        if self.alone:
            frames: dict[str, Any] = _one_frame(given)
            q = model.posterior(x.unsqueeze(1), noise=Latents(given["noise"].unsqueeze(1)), **frames)
            law = {name: value[:, 0] for name, value in moments("z", q.z).items()}
            values = self._frame(given, {"x": model.features(x), "z": q.latents.z[:, 0]})
        else:
            values = self._frame(given, {"x": model.features(x), "noise.z": given["noise"]})
            law = moments("z", self._law(values, "posterior"))
        found = {"z": values["z"], **law, **self._after(values)}
        likelihood = self._law(values, "likelihood")
        found["x_mean"] = likelihood.mean
        return found | ({"x_std": likelihood.variance.sqrt()} if has_std(model) else {})


class AttentionStep(_Stepping):
    """One frame of generation of a Transformer, whose state is what attention keeps of all frames before."""

    name = "step"
    about = "one frame of generation; the mean of x is fed back, and the caches grow by a frame"
    model: HiTDVAE

    def __init__(self, model: HiTDVAE) -> None:
        super().__init__(model)
        if model.degrees is not None:
            raise ConfigError(_NO_GAUSSIAN.format(type(model).__name__))
        state = model.start(1, model.weight.new_zeros(1, model.w_dim))
        _, state = model.step_likelihood(state, state.z)
        self.widths = {name: grown.store.shape[-1] for name, grown in state.caches.items()}

    @property
    def inputs(self) -> list[Port]:
        model = self.model
        noise = Port("noise", ("batch", model.z_dim), "standard normal noise of z", "noise")
        w = Port("w", ("batch", model.w_dim), "the latent of the sequence", "noise")
        return [noise, w, *self._states(_BEFORE, "past")]

    @property
    def outputs(self) -> list[Port]:
        z = Port("z", ("batch", self.model.z_dim), "the latent")
        return [*observed(self.model, _BATCH), z, *self._states(_AFTER, "past + 1")]

    def _states(self, prefix: str, frames: str) -> list[Port]:
        model = self.model
        z = Port(f"{prefix}z", ("batch", model.z_dim), "the last latent; zero at first", "noise")
        x = Port(f"{prefix}x", ("batch", model.x_dim), "what is fed back of the last frame; zero at first", "noise")
        shapes = {prefix + name: ("batch", frames, size) for name, size in self.widths.items()}
        about = "what attention keeps of the frames before; none at first"
        return [z, x, *(Port(name, shape, about, "noise") for name, shape in shapes.items())]

    def compute(self, given: dict[str, Tensor]) -> dict[str, Tensor]:
        model = self.model
        caches = {name: Grown.of(given[_BEFORE + name]) for name in self.widths}
        time = next(iter(caches.values())).length
        state = State(time, given["w"], given[f"{_BEFORE}z"], given[f"{_BEFORE}x"], None, caches)
        state = model._open(state, state.z.unsqueeze(1), state.x.unsqueeze(1))
        prior = model.step_prior(state)
        z = prior.mean + prior.stddev * given["noise"]
        likelihood, state = model.step_likelihood(state, z)
        found = {"x_mean": likelihood.mean, "z": z, f"{_AFTER}z": z, f"{_AFTER}x": model.features(likelihood.mean)}
        found |= {_AFTER + name: state.caches[name].frames for name in self.widths}
        return found | ({"x_std": likelihood.variance.sqrt()} if has_std(model) else {})


def step_of(model: DVAE) -> Part:
    """The step of a model.

    Raises:
        ConfigError: it has none, or none that ONNX can hold.
    """
    if isinstance(model, HiTDVAE):
        return AttentionStep(model)
    if isinstance(model, RecursiveDVAE):
        return Step(model)
    raise ConfigError(_no_program(model, "decoder", "step"))


def filter_of(model: DVAE) -> Part:
    """The step of a model's encoder.

    Raises:
        ConfigError: it has none.
    """
    if isinstance(model, RecursiveDVAE):
        return Filter(model)
    if isinstance(model, HiTDVAE):
        raise ConfigError(_LOOKS_FURTHER.format(type(model).__name__, model.dependencies.posterior))
    raise ConfigError(_no_program(model, "encoder", "filter"))


def _no_program(model: DVAE, whole: str, step: str) -> str:
    """Why a model that declares no program has no such part."""
    name = type(model).__name__
    if model.autoregressive or model.dependencies.dynamical_latent:
        return f"a {name} declares no program (dynvae.models.RecursiveDVAE) that a {step} could be made of"
    return f"the frames of a {name} do not depend on each other: its {whole}, on one frame, is its {step}"


def _one_frame(given: Mapping[str, Tensor]) -> dict[str, Condition]:
    """The condition of a single frame, if there is one, as that of sequences."""
    if "condition" not in given:
        return {}
    return {"condition": Condition(given["condition"].unsqueeze(1), given["present"].unsqueeze(1))}


def _state(program: Program, known: Collection[str], wanted: Collection[str]) -> list[str]:
    """The variables of the frame before that are needed for those wanted, and for these variables in turn."""
    state: dict[str, None] = {}
    waiting, seen = sorted(wanted), set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen or name in known:
            continue
        seen.add(name)
        operation = program.definition(name)
        if operation is None or isinstance(operation, Last):
            raise ConfigError(f"'{name}' is not known at a single frame")
        for read in operation.reads:
            if read.delay < 0:
                raise ConfigError(f"'{read.name}' is read one frame ahead")
            if read.delay > 0:
                state[read.name] = None
            waiting.append(read.name)
    return list(state)
