"""Guards: what goes wrong in an EM run is seen, and answered, before it reaches anybody's ears."""

from __future__ import annotations

__all__ = ["COLLAPSED", "Watch", "guarded"]

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dynvae.testtime.scene import Draws, Scene

if TYPE_CHECKING:
    from dynvae.testtime.em import EM, Progress, Separated
    from dynvae.testtime.prior import Prior

COLLAPSED = 0.02
"""Below this share of the input's energy an estimate counts as collapsed: healthy ones have some 0.4 of it at 0 dB,
collapsed ones below 0.004. Neither the EM objective nor the mean gain tells them apart."""


class Watch:
    """Looks at a run every so many iterations, and keeps the last estimate that was in good health.

    Attributes:
        objective: at each look, ``(batch,)``.
        iterations: their numbers.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.objective: list[Tensor] = []
        self.iterations: list[int] = []
        self.good: Tensor | None = None
        self.total = self._energy(torch.ones_like(scene.power))

    def _energy(self, mask: Tensor) -> Tensor:
        return self.scene.total((mask.square() * self.scene.power).sum(-1))

    def _healthy(self, mask: Tensor) -> tuple[Tensor, Tensor]:
        energy = self._energy(mask) / self.total
        return energy, (energy >= COLLAPSED) & energy.isfinite()

    def look(self, iteration: int, objective: Tensor, mask: Tensor, tolerance: float) -> bool:
        """Take note of an iteration; whether to stop: nothing changes any more, or a number is not finite."""
        before = self.objective[-1] if self.objective else None
        self.objective.append(objective)
        self.iterations.append(iteration)
        _, healthy = self._healthy(mask)
        healthy = healthy & objective.isfinite()
        mask = torch.where(healthy[:, None, None], mask, 0)
        self.good = mask if self.good is None else torch.where(healthy[:, None, None], mask, self.good)
        if not bool(objective.isfinite().any()):
            return True
        return bool(tolerance) and before is not None and bool(((objective - before).abs() < tolerance).all())

    def verdict(self, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The estimate to give out, its share of the input's energy, and whether this is not the one of the run."""
        energy, healthy = self._healthy(mask)
        assert self.good is not None
        mask = torch.where(healthy[:, None, None], mask, self.good).nan_to_num(0.0).clamp(0, 1)
        return mask, torch.where(healthy, energy, self._energy(mask) / self.total), ~healthy


def guarded(
    em: EM, prior: Prior, scene: Scene, seed: int, attempts: int = 3, progress: Progress | None = None
) -> Separated:
    """Run the engine; recordings whose estimate collapses are tried again, each time with a smaller step.

    If none of the attempts holds, the last healthy estimate of the last one stands. A recording without any speech may
    end like that, too: it is given out with little removed, and marked.

    Args:
        em: the engine.
        prior: of the speech.
        scene: the recordings.
        seed: of every recording; another one for each attempt.
        attempts: how many runs there are at most.
        progress: told how the first run goes.
    """
    found = em.run(prior, scene, Draws.seeded(seed, scene), progress)
    for attempt in range(1, attempts):
        failed = torch.nonzero(found.collapsed).flatten().tolist()
        if not failed:
            break
        em = replace(em, estep=em.estep.gentler())
        for index in failed:
            alone = scene.one(index)
            again = em.run(prior, alone, Draws.seeded(seed + 7919 * attempt, alone))
            time = again.mask.shape[1]
            found.mask[index, :time], found.noise[index, :time] = again.mask[0], again.noise[0]
            found.gain[index, :time] = again.gain[0]
            found.energy[index], found.collapsed[index] = again.energy[0], again.collapsed[0]
    return found
