"""The mixture of DVAEs: variational expectation-maximisation over assignments, latents and sources."""

from __future__ import annotations

__all__ = ["Mixture", "Progress", "Trace"]

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dynvae.errors import ConfigError
from dynvae.mixtures.bound import Noise, source_bound
from dynvae.mixtures.dynamics import Dynamics, Given
from dynvae.mixtures.gaussian import GaussianAssignment
from dynvae.mixtures.programs import Feedback
from dynvae.mixtures.spectral import SpectralAssignment
from dynvae.mixtures.values import Estimate, Evidence, Solution
from dynvae.models import DVAE
from dynvae.nn import time_mask

Progress = Callable[[int, int, float], None]
"""Called after checked iterations with their number, the number of all, and the mean bound."""
Trace = Callable[[int, Tensor, Estimate], None]
"""Called after each iteration, counted from 0, with η and q(s)."""


class Mixture:
    r"""Several sources, a DVAE each, under observations that do not say whose they are (Lin et al., 2023).

    .. math::
        p(o, w, s, z) = \prod_{t,k} p(o_{tk} | w_{tk}, s_t)\, p(w_{tk}) \prod_n p(s_n, z_n), \qquad
        q = q(w)\, q(z | s)\, \prod_{t,n} \mathcal N(s_{tn}; m_{tn}, V_{tn})

    An iteration is E-W (whose each observation is), E-Z (the latents, by the DVAE's encoder), E-S (the sources, frame
    by frame: prediction by the DVAE, then Bayes' rule with what was observed) and M (the noise). No weights are
    changed, and no mixture is needed for training.

    The sources of one model go as one batch. Models are run by the compiled executor where they can.

    Args:
        models: one DVAE for all sources, or one for each, with Gaussian likelihoods (real: tracking; complex:
            separation of spectra).
        assignment: how observations come from sources, and the settings of E-W and M.
        sources: their number, for a single model; told by the first guess, if not given.
        iterations: of VEM.
        unobserved: what z is in frames of which nothing was observed: the ``"prior"``'s mean, or, as published, the
            ``"encoder"``'s, which sees its own guess there, and drifts from iteration to iteration.
        feedback: what is fed back of complex sources (:data:`~dynvae.mixtures.programs.Feedback`).
        latents: E-Z takes the encoder's ``"mean"``, or a ``"sample"``, as published.
        first_input: what the model sees before the first frame: what it was ``"trained"`` with, or, as published, the
            first frame's own ``"estimate"``.
        damping: share of the estimates before that an iteration keeps.
        every: iterations between two looks at the bound; 0 never looks, which is the fastest.
        tolerance: stop when the bound has changed by less, in nats, from one look to the next, for all sequences.
        keep: at the end take the ``"last"`` estimates, or for each sequence those of the ``"best"`` bound seen.

    Raises:
        ConfigError: a setting is unknown, or a likelihood is not Gaussian.
    """

    def __init__(
        self,
        models: DVAE | Sequence[DVAE],
        assignment: GaussianAssignment | SpectralAssignment,
        *,
        sources: int | None = None,
        iterations: int = 20,
        unobserved: str = "prior",
        feedback: Feedback = "auto",
        latents: str = "mean",
        first_input: str = "trained",
        damping: float = 0.0,
        every: int = 0,
        tolerance: float = 0.0,
        keep: str = "last",
    ) -> None:
        for name, value, known in (
            ("unobserved", unobserved, ("prior", "encoder")),
            ("latents", latents, ("mean", "sample")),
            ("first_input", first_input, ("trained", "estimate")),
            ("keep", keep, ("last", "best")),
        ):
            if value not in known:
                raise ConfigError(f"{name} is {' or '.join(known)}, not '{value}'")
        if iterations < 1 or every < 0 or not 0 <= damping < 1:
            raise ConfigError(f"there is at least one iteration, not {iterations}; every is not negative, not {every}; "
                              f"damping lies in [0, 1), not {damping}")  # fmt: skip
        if (tolerance or keep == "best") and not every:
            raise ConfigError("to stop by a tolerance, or to keep the best, the bound has to be looked at: set every")
        each = [models] if isinstance(models, DVAE) else list(models)
        if not each:
            raise ConfigError("a mixture has at least one source")
        self.models = each
        self.sources = sources if isinstance(models, DVAE) else len(each)
        self.assignment, self.iterations, self.unobserved = assignment, iterations, unobserved
        self.feedback, self.latents, self.first_input = feedback, latents, first_input
        self.damping, self.every, self.tolerance, self.keep = damping, every, tolerance, keep
        self.dynamics = {id(model): Dynamics(model, feedback) for model in each}
        spectral = isinstance(assignment, SpectralAssignment)
        if any(dynamics.complex != spectral for dynamics in self.dynamics.values()):
            raise ConfigError("a SpectralAssignment needs models of spectra (complex_gaussian), a GaussianAssignment "
                              "models of real vectors")  # fmt: skip

    @torch.no_grad()
    def run(
        self,
        observed: Any,
        guess: Estimate,
        *,
        start: Estimate | None = None,
        active: Tensor | None = None,
        lengths: Tensor | None = None,
        seed: int = 0,
        progress: Progress | None = None,
        trace: Trace | None = None,
    ) -> Solution:
        """Find the sources.

        Args:
            observed: what the assignment takes.
            guess: the sources before the first iteration, ``(batch, source, time, feature)``.
            start: the law of the first frame of each source, ``(batch, source, feature)``, instead of the model's.
            active: which sources exist, ``(batch, source)``; all, by default. The others get no observation.
            lengths: ``(batch,)``.
            seed: of the random numbers, where there are any.
            progress: told how it goes.
            trace: told everything.

        Raises:
            ConfigError: the number of sources is not that of the models.
            ValueError: the shapes do not fit, or what is observed is not finite.
        """
        state = _Run(self, observed, guess, start, active, lengths, seed)
        watch = _Watch(self, state)
        for iteration in range(self.iterations):
            state.iterate(iteration)
            if trace is not None:
                trace(iteration, state.assigning.assignment, state.q)
            if watch.look(iteration, progress):
                break
        return watch.solution(iteration + 1)


@dataclass(frozen=True, eq=False)
class _Group:
    """The sources of one model, as rows of one batch."""

    dynamics: Dynamics
    members: list[int]
    everyone: bool

    def rows(self, x: Tensor) -> Tensor:
        """``(batch, source, ...)`` to ``(batch · members, ...)``."""
        return (x if self.everyone else x[:, self.members]).flatten(0, 1)


class _Run:
    """A run on a batch of sequences: what is known now, and one iteration more."""

    def __init__(
        self,
        mixture: Mixture,
        observed: Any,
        guess: Estimate,
        start: Estimate | None,
        active: Tensor | None,
        lengths: Tensor | None,
        seed: int,
    ) -> None:
        if guess.mean.dim() != 4 or guess.variance.shape != guess.mean.shape:
            raise ValueError(f"a guess is (batch, source, time, feature), with a variance, not "
                             f"{tuple(guess.mean.shape)} and {tuple(guess.variance.shape)}")  # fmt: skip
        batch, sources, time, _ = guess.mean.shape
        if mixture.sources not in (None, sources):
            raise ConfigError(f"the guess is of {sources} sources, and the mixture has {mixture.sources}")
        self.mixture, self.q, self.start, self.lengths = mixture, guess, start, lengths
        self.active = guess.mean.new_ones(batch, sources, dtype=torch.bool) if active is None else active
        self.assigning = mixture.assignment.begin(observed, self.active)
        models = mixture.models * sources if len(mixture.models) == 1 else mixture.models
        by_model: dict[int, list[int]] = {}
        for index, model in enumerate(models):
            by_model.setdefault(id(model), []).append(index)
        self.groups = [_Group(mixture.dynamics[key], members, len(members) == sources)
                       for key, members in by_model.items()]  # fmt: skip
        self.generator = torch.Generator().manual_seed(seed)
        self.valid = None if lengths is None else time_mask(lengths, time)
        self.seen: list[Mapping[str, Tensor] | None] = [None] * len(self.groups)
        self.shaken: list[Tensor | None] = [None] * len(self.groups)
        self.noises: list[Noise] | None = None

    def iterate(self, iteration: int) -> None:
        """E-W, E-Z, E-S and M."""
        assigning = self.assigning
        if iteration > 0 or not assigning.begins_assigned:
            assigning.assign(self.q, iteration)
        evidence = assigning.evidence()
        observed = assigning.observed() if self.mixture.unobserved == "prior" else None
        if observed is not None and bool(observed.all()):
            observed = None
        parts = [self._estep(index, group, evidence, observed) for index, group in enumerate(self.groups)]
        q = self._together(parts)
        if self.mixture.damping:
            q = Estimate(q.mean + self.mixture.damping * (self.q.mean - q.mean), q.variance)
            self.seen = [None] * len(self.groups)
        self.q = q
        assigning.update(q)

    def _estep(self, index: int, group: _Group, evidence: Evidence, observed: Tensor | None) -> Estimate:
        """E-Z and E-S of the sources of one model."""
        dynamics, mixture = group.dynamics, self.mixture
        given = self._given(group, Evidence(*(group.rows(part) for part in evidence)), observed)
        q = Estimate(*(group.rows(part) for part in self.q))
        rows, time, _ = q.mean.shape
        fed = dynamics.fed(q, self.shaken[index])
        noise = dynamics.model.draw_noise(rows, time, self.generator) if mixture.latents == "sample" else None
        posterior = dynamics.infer(fed, given.lengths, noise, self.seen[index])
        if mixture.first_input == "estimate":
            given.before = fed[:, 0] if given.start is None else given.start.mean
        self.shaken[index] = dynamics.draw(q.mean.shape, self.generator)
        law, self.seen[index] = dynamics.explain(posterior.latents, given, self.shaken[index])
        return law.given(given.evidence)

    def _given(self, group: _Group, evidence: Evidence, observed: Tensor | None) -> Given:
        lengths = None if self.lengths is None else self.lengths.repeat_interleave(len(group.members))
        start = None if self.start is None else Estimate(*(group.rows(part) for part in self.start))
        return Given(evidence, None if observed is None else group.rows(observed), lengths, start)

    def _together(self, parts: list[Estimate]) -> Estimate:
        """The estimates of all groups, in the order of the sources."""
        batch, sources = self.active.shape
        if len(parts) == 1:
            return Estimate(*(part.unflatten(0, (batch, sources)) for part in parts[0]))
        means, variances = (
            torch.cat([getattr(part, name).unflatten(0, (batch, -1)) for part in parts], 1)
            for name in ("mean", "variance")
        )
        order = [index for group in self.groups for index in group.members]
        back = sorted(range(sources), key=order.__getitem__)
        return Estimate(means[:, back], variances[:, back])

    def bound(self) -> Tensor:
        """An unbiased estimate of the bound of ln p(observations), ``(batch,)``; the same random numbers each time."""
        batch, _ = self.active.shape
        if self.noises is None:
            time = self.q.mean.shape[2]
            generator = torch.Generator().manual_seed(1)
            self.noises = [
                Noise.drawn(g.dynamics.model, batch * len(g.members), time, g.dynamics.complex, generator)
                for g in self.groups
            ]
        observed = self.assigning.observed() if self.mixture.unobserved == "prior" else None
        evidence = self.assigning.evidence()
        total = self.assigning.bound(self.q)
        for group, noise in zip(self.groups, self.noises, strict=True):
            given = self._given(group, Evidence(*(group.rows(part) for part in evidence)), observed)
            q = Estimate(*(group.rows(part) for part in self.q))
            looks = [source_bound(group.dynamics, q, given, each) for each in (noise, noise.opposite())]
            frames = (0.5 * (looks[0] + looks[1])).unflatten(0, (batch, -1))
            frames = frames if self.valid is None else frames.where(self.valid.unsqueeze(1), 0)
            active = self.active[:, group.members]
            total = total + frames.sum(-1).where(active, 0).sum(-1)
        return total


class _Watch:
    """Looks at the bound now and then; says when to stop, and remembers the best."""

    def __init__(self, mixture: Mixture, state: _Run) -> None:
        self.mixture, self.state = mixture, state
        self.objective: list[Tensor] = []
        self.iterations: list[int] = []
        self.best: Tensor | None = None
        self.kept: list[Tensor] = []

    def look(self, iteration: int, progress: Progress | None) -> bool:
        """Whether to stop."""
        mixture = self.mixture
        last = iteration + 1 == mixture.iterations
        if not mixture.every or ((iteration + 1) % mixture.every and not last):
            return False
        bound = self.state.bound()
        change = None if not self.objective else (bound - self.objective[-1]).abs()
        self.objective.append(bound)
        self.iterations.append(iteration + 1)
        if mixture.keep == "best":
            self._keep(bound)
        if progress is not None:
            progress(iteration + 1, mixture.iterations, float(bound.mean()))
        return bool(mixture.tolerance) and change is not None and bool((change < mixture.tolerance).all())

    def _keep(self, bound: Tensor) -> None:
        now = self._parts()
        if self.best is None:
            self.best, self.kept = bound, now
            return
        better = bound > self.best
        self.best = bound.where(better, self.best)
        self.kept = [
            new.where(better.view(-1, *[1] * (new.dim() - 1)), old) for new, old in zip(now, self.kept, strict=True)
        ]

    def _parts(self) -> list[Tensor]:
        state, assigning = self.state, self.state.assigning
        return [*state.q, assigning.assignment, assigning.clutter, assigning.observed(), assigning.variance]

    def solution(self, done: int) -> Solution:
        """What was found."""
        mean, variance, assignment, clutter, observed, noise = self.kept or self._parts()
        objective = torch.stack(self.objective) if self.objective else variance.new_zeros(0, len(variance))
        return Solution(mean, variance, assignment, clutter, observed, noise, objective, self.iterations, done)
