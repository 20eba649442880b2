"""Models that state their recursion as a program: all methods of the contract follow from two declarations."""

from __future__ import annotations

__all__ = ["Declaration", "Recursion", "RecursiveDVAE", "State", "Use"]

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from dynvae.condition import Condition
from dynvae.distributions import PriorLaw, bound_log_variance, diagonal_normal, draw, standard_normal
from dynvae.errors import ConfigError
from dynvae.models.base import DVAE, ELBO, Generated, Latents, Posterior
from dynvae.models.pieces import elbo_in_pieces
from dynvae.recurrence import Builder, Program, carried, run, run_frame
from dynvae.recurrence.program import Map, Operation, Read, Sample, Signal
from dynvae.recurrence.schedule import Stage, schedule

Use = Literal["inference", "teacher-forced", "generation", "sampling"]
"""What a model's program is run for."""


_SEEN = {"raw": "identity", "log": "log_power", "root": "root_power", "standardise": "standardise"}
"""What makes of a mean that is fed back what the networks see of it."""
_SCALE = ("x.mean", "x.std")
_VIEW = "view."
"""How variables begin that are made of the condition."""


class State(NamedTuple):
    """Where the generation of a batch of sequences stands before a frame.

    Attributes:
        before: the variables of the last frame that this one reads.
        now: the variables of this frame that need neither its latent nor its observation.
        origin: zeros, ``(batch, z_dim)``.
        extra: what a member adds.
        views: what is made of the condition at each frame, ``(batch, time, width)``; none after its last.
        frame: how many frames are past.
    """

    before: dict[str, Tensor]
    now: dict[str, Tensor]
    origin: Tensor
    extra: Any = None
    views: Mapping[str, Tensor] | None = None
    frame: int = 0


@dataclass(frozen=True, eq=False)
class Declaration:
    """What :class:`Recursion` has collected.

    Attributes:
        program: inference and generation.
        generation: generation alone, where x and z are given.
        free: generation that is fed its own means.
        mixed: generation that is fed its own means where ``own`` is one, and ``x.true`` where it is zero.
        laws: mean and log-variance of the Gaussians, and the parameters of the likelihood.
        shared: the variables of inference that generation needs, too.
        carried: the state of generation frame by frame, and the widths.
        head: what a frame of generation computes before it knows z and x.
    """

    program: Program
    generation: Program
    free: Program
    mixed: Program
    laws: Mapping[str, Signal]
    shared: frozenset[str]
    carried: Mapping[str, int]
    head: tuple[str, ...]

    def names(self, *laws: str) -> frozenset[str]:
        """The variables that the laws are made of."""
        return frozenset(read.name for law in laws for read in self.laws.get(law, ()))


class Recursion(Builder):
    """The words in which a model declares itself: a :class:`~dynvae.recurrence.Builder` that knows x, z and w.

    Attributes:
        x: what the networks see of the observed frame.
        z: the latent of the frame, as the networks see it.
        a: the latent of the frame itself; differs from z if there is a dictionary.
        w: the latent of the sequence.
    """

    def __init__(self, model: DVAE) -> None:
        super().__init__(model)
        self.x: Signal = (Read("x", 0, model.x_dim),)
        self.a: Signal = (Read("z", 0, model.z_dim),)
        self.z = self.a if model.dictionary is None else self._linear("code", model.dictionary, self.a, "identity")
        self.w: Signal = (Read("w", 0, model.w_dim),)
        self.laws: dict[str, Signal] = {}
        self._views = getattr(model, "views", {})

    def view(self, name: str) -> Signal:
        """What the network ``views[name]`` of the model makes of the condition."""
        return (Read(_VIEW + name, 0, self._views[name].out_features),)

    def posterior(self, packed: Signal) -> None:
        """q(z_t | ...) has this mean and log-variance, side by side."""
        self._gaussian("posterior", packed, "z")

    def sequence_posterior(self, packed: Signal) -> None:
        """q(w | x) has this mean and log-variance, side by side."""
        self._gaussian("sequence_posterior", packed, "w")

    def prior(self, packed: Signal) -> None:
        """p(z_t | ...) has this mean and log-variance, side by side; without a word it is N(0, I)."""
        self.laws["prior"] = _halves(packed)

    def likelihood(self, packed: Signal) -> None:
        """p(x_t | ...) has these parameters."""
        self.laws["likelihood"] = packed

    def _gaussian(self, law: str, packed: Signal, latent: str) -> None:
        mean, log_variance = self.laws[law] = _halves(packed)
        self.add(Sample(latent, mean.width, mean, log_variance, f"noise.{latent}"))


def _halves(packed: Signal) -> Signal:
    """A mean and a log-variance, each one read."""
    if len(packed) == 1:
        (read,) = packed
        half = read.width // 2
        return (Read(read.name, read.start, read.start + half, read.delay),
                Read(read.name, read.start + half, read.stop, read.delay))  # fmt: skip
    assert len(packed) == 2, "a Gaussian has a mean and a log-variance"
    return packed


class RecursiveDVAE(DVAE):
    """A member of the family that declares what it computes at each frame, once; executors do the rest.

    A member gives :meth:`inference` and :meth:`generation`, and ``views`` if it sees a condition. From them follow the
    posterior, prior and likelihood of whole sequences, with all that does not depend on the recursion computed for all
    frames at once; free running; ancestral sampling; and generation frame by frame.
    """

    declared: Declaration
    """What the model computes: programs and laws."""
    views: nn.ModuleDict
    """The networks on the condition (:class:`~dynvae.models.views.View`), for models that see one."""
    prior_law: ClassVar[str] = "prior"
    """The name of the law that the prior is made of."""

    @abstractmethod
    def inference(self, p: Recursion) -> None:
        """Declare q(z_t | ...) from ``p.x``, ``past(p.z)`` and ``p.w``."""

    @abstractmethod
    def generation(self, p: Recursion) -> None:
        """Declare p(z_t | ...) and p(x_t | ...) from ``past(p.x)``, ``p.z`` and ``p.w``."""

    def _made(self) -> None:
        both, generation = Recursion(self), Recursion(self)
        self.inference(both)
        inferred = frozenset(both.operations)
        self.generation(both)
        self.generation(generation)
        laws = both.laws
        (decoded,) = laws["likelihood"]
        seen = _SEEN[self.input_transform]
        scale = [Read(name, 0, self.x_dim) for name in _SCALE] if seen == "standardise" else []
        closing = _means(self.observation.means(self.x_dim), decoded)
        own = (Read("mean", 0, self.x_dim),)
        free = Map("x", self.x_dim, seen, (*own, *scale))
        mixed = Map("x", self.x_dim, "blend", tuple(Read(n, 0, self.x_dim) for n in ("own", "x.true", "x.own")))
        if "prior" in laws:
            mean, log_variance = laws["prior"]
            closing.append(Sample("z", self.z_dim, mean, log_variance, "noise.z"))
        widths = {"x": self.x_dim, "z": self.z_dim}
        state = carried(generation.program, widths)
        self.declared = Declaration(
            program=both.program,
            generation=generation.program,
            free=generation.program.extended([*closing, free]),
            mixed=generation.program.extended([*closing, Map("x.own", self.x_dim, seen, (*own, *scale)), mixed]),
            laws=laws,
            shared=_read_by_the_rest(generation, inferred),
            carried=state,
            head=_head(generation.program, self._view_names),
        )

    def schedule(self, use: Use) -> tuple[Stage, ...]:
        """What is done, in which order: the posterior; prior and likelihood given z and x, or fed with the own means.

        Args:
            use: ``"inference"``, ``"teacher-forced"``, ``"generation"`` (z is known, x is fed back) or
                ``"sampling"`` (z is drawn from the prior, x is fed back).
        """
        d, noise = self.declared, {"noise.z", "w", *_SCALE, *self._view_names}
        match use:
            case "inference":
                known = {"x", "noise.z", "noise.w", *self._view_names}
                return schedule(d.program, known, d.names("posterior", "sequence_posterior") | {"z"}, training=False)
            case "teacher-forced":
                known = {"x", "z", "w", *self._view_names}
                return schedule(d.generation, known, d.names(self.prior_law, "likelihood"), training=False)
            case "generation":
                return schedule(d.free, {"z", "w", *_SCALE, *self._view_names}, {"mean"}, training=False)
        return schedule(d.free, noise if "prior" in d.laws else noise | {"z"}, {"mean", "z"}, training=False)

    @property
    def _view_names(self) -> list[str]:
        return [_VIEW + name for name in getattr(self, "views", {})]

    def _seen(self, condition: Condition | None, like: Tensor) -> dict[str, Tensor]:
        """What the networks make of the condition of frames ``(batch, time, ...)``, by the names of the variables."""
        if not self.condition_dim:
            return {}
        if condition is None:
            condition = Condition.absent(like, self.condition_dim)
        condition = condition.like(self.weight)
        return {_VIEW + name: view(condition) for name, view in self.views.items()}

    def initial(self, batch: int) -> dict[str, Tensor]:
        """Values of variables before the first frame, ``(batch, width)``; zero, if not told here."""
        return {}

    # ---- whole sequences -----------------------------------------------------------------------------------------

    def posterior(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        *,
        noise: Latents | None = None,
        generator: torch.Generator | None = None,
        latents: Latents | None = None,
        condition: Condition | None = None,
    ) -> Posterior:
        if latents is None and noise is None:
            noise = self.draw_noise(x.shape[0], x.shape[1], generator)
        return self.infer(x, lengths, noise=noise, latents=latents, condition=condition)

    def infer(
        self,
        x: Tensor,
        lengths: Tensor | None,
        *,
        noise: Latents | None = None,
        latents: Latents | None = None,
        initial: Mapping[str, Tensor] | None = None,
        seen: Mapping[str, Tensor] | None = None,
        condition: Condition | None = None,
    ) -> Posterior:
        """The posterior with its noise or its path given, and other values of variables at the ends than zero.

        ``seen`` is what generation has computed of the same x (of ``declared.shared``), to be used again.
        """
        d, known = self.declared, dict(seen) if seen else {"x": self.features(x, lengths)} | self._seen(condition, x)
        if latents is not None:
            known |= _named(latents, "z", "w")
        elif noise is not None:
            known |= _named(noise, "noise.z", "noise.w")
        wanted = d.names("posterior", "sequence_posterior") | d.shared | {"z"} | ({"w"} if self.w_dim else set())
        ends = self.initial(x.shape[0]) | dict(initial or {})
        values = run(d.program, self, known, wanted, lengths=lengths, initial=ends)
        w = self._gaussian("sequence_posterior", values) if self.w_dim else None
        seen = {name: values[name] for name in (*d.shared, "x", *self._view_names)}
        return Posterior(Latents(values["z"], values.get("w")), self._gaussian("posterior", values), w, seen)

    def prior(
        self, latents: Latents, x: Tensor, lengths: Tensor | None = None, condition: Condition | None = None
    ) -> Distribution:
        return self._prior(self._run((self.prior_law,), latents, x, lengths, None, None, condition), latents)

    def likelihood(
        self,
        latents: Latents,
        x: Tensor,
        lengths: Tensor | None = None,
        seen: Mapping[str, Tensor] | None = None,
        condition: Condition | None = None,
    ) -> Distribution:
        return self._likelihood(self._run(("likelihood",), latents, x, lengths, seen, None, condition))

    def generative(
        self,
        latents: Latents,
        x: Tensor,
        lengths: Tensor | None = None,
        seen: Mapping[str, Tensor] | None = None,
        condition: Condition | None = None,
        initial: Mapping[str, Tensor] | None = None,
    ) -> tuple[Distribution, Distribution]:
        """Prior and likelihood together, with other values of variables at the ends than zero, if given."""
        values = self._run((self.prior_law, "likelihood"), latents, x, lengths, seen, initial, condition)
        return self._prior(values, latents), self._likelihood(values)

    def elbo(self, x: Tensor, lengths: Tensor | None = None, *, truncate: int | None = None, **options: Any) -> ELBO:
        """The evidence lower bound: see :meth:`DVAE.elbo`.

        Args:
            x: ``(batch, time, x_dim)``.
            lengths: ``(batch,)``.
            truncate: let the gradient flow through this many frames at a time only
                (:func:`~dynvae.models.pieces.elbo_in_pieces`); for one sample.
            options: of :meth:`DVAE.elbo`.
        """
        if truncate is None:
            return super().elbo(x, lengths, **options)
        if self.condition_dim:
            raise ConfigError(f"a {type(self).__name__}, which sees a condition, cannot be trained in pieces")
        return self._truncated_elbo(x, lengths, truncate, **options)

    def _truncated_elbo(
        self,
        x: Tensor,
        lengths: Tensor | None,
        frames: int,
        *,
        noise: Latents | None = None,
        generator: torch.Generator | None = None,
        free_running: float = 0.0,
    ) -> ELBO:
        x, _, ragged, _ = self._prepare(x, lengths)
        noise = noise or self.draw_noise(x.shape[0], x.shape[1], generator)
        past = x
        if free_running:
            with torch.no_grad():
                past = self._fed_back(self.infer(x, ragged, noise=noise).latents, x, free_running, generator)
        return elbo_in_pieces(self, x, past, noise, ragged, frames)

    @property
    def looks_ahead(self) -> frozenset[str]:
        """The variables that are read one frame ahead: those of recurrences that run backward in time."""
        reads = (read for operation in self.declared.program.operations.values() for read in operation.reads)
        return frozenset(read.name for read in reads if read.delay < 0)

    @torch.no_grad()
    def all_states(
        self, x: Tensor, past: Tensor, noise: Latents, lengths: Tensor | None
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """All that a frame reads of its neighbours, at every frame: in the posterior, and in the generative model."""
        result = []
        known = {"x": self.features(x, lengths), **_named(noise, "noise.z", "noise.w")}
        for program in (self.declared.program, self.declared.generation):
            reads = [read for operation in program.operations.values() for read in operation.reads if read.delay]
            names = {read.name for read in reads}
            ends = self.initial(x.shape[0])
            values = run(program, self, known, names | {"z"}, lengths=lengths, initial=ends, every_state=True)
            result.append({name: values[name] for name in names})
            known = {"x": self.features(past, lengths), "z": values["z"]}
        return result[0], result[1]

    def _run(
        self,
        laws: tuple[str, ...],
        latents: Latents,
        x: Tensor,
        lengths: Tensor | None,
        seen: Mapping[str, Tensor] | None,
        initial: Mapping[str, Tensor] | None = None,
        condition: Condition | None = None,
    ) -> dict[str, Tensor]:
        known = dict(seen) if seen else {"x": self.features(x, lengths)} | self._seen(condition, x)
        known |= _named(latents, "z", "w")
        names, ends = self.declared.names(*laws), self.initial(x.shape[0]) | dict(initial or {})
        return run(self.declared.generation, self, known, names, lengths=lengths, initial=ends)

    def _gaussian(self, law: str, values: Mapping[str, Tensor]) -> Independent:
        mean, log_variance = (_cut(values[r.name], r) for r in self.declared.laws[law])
        return diagonal_normal(mean, bound_log_variance(log_variance))

    def _prior(self, values: Mapping[str, Tensor], latents: Latents) -> Distribution:
        own = "prior" in self.declared.laws
        return self.prior_of(self._gaussian("prior", values) if own else standard_normal(latents.z))

    def _likelihood(self, values: Mapping[str, Tensor]) -> Distribution:
        (decoded,) = self.declared.laws["likelihood"]
        return self.observation(_cut(values[decoded.name], decoded))

    def _fed_back(
        self,
        latents: Latents,
        x: Tensor,
        free_running: float,
        generator: torch.Generator | None,
        condition: Condition | None = None,
    ) -> Tensor:
        if free_running == 0 or not self.autoregressive:
            return x
        with torch.no_grad():
            known, initial = _named(latents, "z", "w") | self._scale(x.shape[0]), self.initial(x.shape[0])
            known |= self._seen(condition, x)
            if free_running == 1:
                return run(self.declared.free, self, known, {"mean"}, initial=initial)["mean"].to(x.dtype)
            own = self._own_frames(x, free_running, generator)
            known |= {"x.true": self.features(x), "own": own.to(self.weight.dtype).expand(-1, -1, self.x_dim)}
            mean = run(self.declared.mixed, self, known, {"mean"}, initial=initial)["mean"]
            return mean.to(x.dtype).where(own, x)

    def _sample(
        self,
        n: int,
        length: int,
        w: Tensor | None,
        generator: torch.Generator | None,
        feedback: str,
        condition: Condition | None = None,
    ) -> Generated:
        if feedback == "sample" and self.causal:
            return super()._sample(n, length, w, generator, feedback, condition)
        noise = self.draw_noise(n, length, generator).z
        unit = self.prior_of(standard_normal(noise[..., : self.z_dim]))
        if isinstance(unit, PriorLaw):
            noise = draw(unit, generator)
        known = {"noise.z" if "prior" in self.declared.laws else "z": noise} | self._scale(n)
        known |= self._seen(condition, noise)
        if w is not None:
            known["w"] = w
        values = run(self.declared.free, self, known, {"mean", "z"}, initial=self.initial(n))
        mean, latents = values["mean"], Latents(values["z"], w)
        x = (
            mean
            if feedback == "mean"
            else draw(self.likelihood(latents, torch.zeros_like(mean), condition=condition), generator)
        )
        return Generated(x, mean, latents)

    def _scale(self, batch: int) -> dict[str, Tensor]:
        """What programs that feed means back standardise them with."""
        if self.input_transform != "standardise":
            return {}
        return {
            name: buffer.expand(batch, -1)
            for name, buffer in zip(_SCALE, (self.input_mean, self.input_std), strict=True)
        }

    # ---- frame by frame ------------------------------------------------------------------------------------------

    def start(self, batch: int, w: Tensor | None = None, condition: Condition | None = None) -> State:
        before = {name: self.weight.new_zeros(batch, size) for name, size in self.declared.carried.items()}
        origin = self.weight.new_zeros(batch, self.z_dim)
        views = self._seen(condition, origin.unsqueeze(1))
        return self._head(before | self.initial(batch), {} if w is None else {"w": w}, origin, views, 0)

    def step_prior(self, state: State) -> Distribution:
        return self._prior(state.now, Latents(state.origin))

    def step_likelihood(self, state: State, z: Tensor) -> tuple[Distribution, State]:
        now = self._frame(state, {"z": z}, self.declared.names("likelihood"))
        return self._likelihood(now), state._replace(now=now)

    def advance(self, state: State, z: Tensor, x: Tensor) -> State:
        now = self._frame(state, {"z": z, "x": self.features(x)}, self.declared.carried)
        kept = {"w": now["w"]} if self.w_dim else {}
        before = {name: now[name] for name in self.declared.carried}
        return self._head(before, kept, state.origin, state.views or {}, state.frame + 1)

    def _head(
        self,
        before: dict[str, Tensor],
        kept: dict[str, Tensor],
        origin: Tensor,
        views: Mapping[str, Tensor],
        frame: int,
    ) -> State:
        for name, view in views.items():
            nothing = self.views[name.removeprefix(_VIEW)].none(origin)  # type: ignore[operator]
            kept = {**kept, name: view[:, frame] if frame < view.shape[1] else nothing.expand(len(origin), -1)}
        now = run_frame(self.declared.generation, self, kept, before, self.declared.head)
        return State(before, now, origin, views=views, frame=frame)

    def _frame(self, state: State, known: Mapping[str, Tensor], wanted: Any) -> dict[str, Tensor]:
        return run_frame(self.declared.generation, self, state.now | dict(known), state.before, wanted)


def _means(parts: Sequence[tuple[int, int, str]], decoded: Read) -> list[Operation]:
    """What makes the frame's ``mean`` of the parameters of its likelihood: one function, or one for each part."""
    maps: list[Operation] = []
    for index, (start, size, function) in enumerate(parts):
        name = "mean" if len(parts) == 1 else f"mean.{index}"
        start += decoded.start
        maps.append(Map(name, size, function, (Read(decoded.name, start, start + size, decoded.delay),)))
    if len(parts) > 1:
        reads = tuple(Read(each.out, 0, each.width) for each in maps)
        maps.append(Map("mean", sum(each.width for each in maps), "beside", reads))
    return maps


def _named(latents: Latents, z: str, w: str) -> dict[str, Tensor]:
    return {z: latents.z} if latents.w is None else {z: latents.z, w: latents.w}


def _cut(value: Tensor, read: Read) -> Tensor:
    whole = read.start == 0 and read.stop == value.shape[-1]
    return value if whole else value[..., read.start : read.stop]


def _read_by_the_rest(generation: Recursion, inferred: frozenset[str]) -> frozenset[str]:
    """The variables that inference computes, too, and that others of generation are made of."""
    rest = [operation for name, operation in generation.operations.items() if name not in inferred]
    reads = [read for operation in rest for read in operation.reads]
    reads += [read for law in generation.laws.values() for read in law]
    return frozenset(read.name for read in reads if read.name in generation.operations) & inferred


def _head(program: Program, views: Sequence[str]) -> tuple[str, ...]:
    """The variables of a frame that need only the frame before (and w, and the condition)."""
    head: dict[str, bool] = dict.fromkeys(("w", *views), True)

    def early(name: str) -> bool:
        if name not in head:
            operation = program.operations.get(name)
            head[name] = False  # until shown otherwise; also for a circle
            head[name] = operation is not None and all(
                read.delay > 0 or (read.delay == 0 and early(read.name)) for read in operation.reads
            )
        return head[name]

    return tuple(name for name in program.operations if early(name))
