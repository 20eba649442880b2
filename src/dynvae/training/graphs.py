"""A whole step of training as one CUDA graph: on a GPU, recurrent models wait for launches of kernels, not for kernels.

This is for a training loop of one's own. :func:`dynvae.training.fit` does not use it: there, Lightning decides between
backward pass and update (processes, precision, what is logged), and weights of the loss change from step to step as
Python numbers, which a graph would keep as they were when it was captured.
"""

from __future__ import annotations

__all__ = ["GraphedStep", "Objective", "Stepped", "negative_elbo"]

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from dynvae.errors import ConfigError
from dynvae.models.base import DVAE

Objective = Callable[[DVAE, Tensor, Tensor | None, torch.Generator], Tensor]
"""From model, observations, lengths and generator to the scalar that is minimised."""
Shape = tuple[tuple[int, ...], torch.dtype, bool]
"""What a graph is good for: shape and type of the batch, and whether the model drops units out."""


class Stepped(NamedTuple):
    """What a step tells, on the device: reading the numbers waits for it.

    Attributes:
        loss: before the update.
        norm: of the gradient, before clipping.
    """

    loss: Tensor
    norm: Tensor


def negative_elbo(model: DVAE, x: Tensor, lengths: Tensor | None, generator: torch.Generator) -> Tensor:
    """The negative ELBO in nats per frame."""
    return -model.elbo(x, lengths, generator=generator).per_frame


class GraphedStep:
    """One step of training: θ ← θ - update(g · min(1, clip / |g|)), with g the gradient of the loss.

    On a GPU, the step for batches of one shape is captured as a CUDA graph, all of it: loss, backward pass, clipping
    and update. Replaying the graph is one launch instead of thousands. The first ``warmup`` batches of a shape are
    trained on as usual; so are batches with lengths (to check them, the processor has to wait for the GPU), batches on
    the CPU, under autocast, and of further shapes once there are ``most`` graphs.

    A graph reads and writes where it did when it was captured. So load checkpoints before the first step, and make
    what changes from step to step, such as the learning rate or a weight of the loss, a tensor on the device that is
    filled in place. The objective must not ask for the values of tensors. KVAE does, since factorising a matrix can
    fail, and raises an error while it is captured. Between steps, ``grad`` of the parameters tells nothing.

    See https://docs.pytorch.org/docs/stable/notes/cuda.html#whole-network-capture for what happens underneath.

    Args:
        model: what is trained.
        optimizer: of its parameters; on a GPU with ``capturable=True``, and its learning rate best a tensor.
        objective: what is minimised.
        clip: the largest norm of the gradient; 0 does not clip.
        generator: of all noise, on the model's device; a new one by default. It may be seeded again before any step.
        warmup: batches of a shape before it is captured, at least 1.
        most: number of graphs; each keeps its memory.

    Raises:
        ConfigError: the optimizer cannot be captured, or a number is out of range.

    Example:
        >>> from dynvae import models
        >>> model = models.build("vae", x_dim=5, z_dim=2)
        >>> step = GraphedStep(model, torch.optim.Adam(model.parameters()), clip=5.0)
        >>> before = [float(step(torch.ones(4, 3, 5)).loss) for _ in range(50)]
        >>> before[-1] < before[0]
        True
    """

    def __init__(
        self,
        model: DVAE,
        optimizer: torch.optim.Optimizer,
        objective: Objective = negative_elbo,
        *,
        clip: float = 0.0,
        generator: torch.Generator | None = None,
        warmup: int = 3,
        most: int = 4,
    ) -> None:
        if clip < 0 or warmup < 1 or most < 0:
            raise ConfigError(f"clip={clip}, warmup={warmup}, most={most}: at least 0, 1 and 0 are needed")
        device = model.weight.device
        if device.type == "cuda" and not all(group.get("capturable") for group in optimizer.param_groups):
            raise ConfigError("the optimizer cannot be part of a CUDA graph; make it with capturable=True")
        self.model, self.optimizer, self.objective, self.clip = model, optimizer, objective, clip
        self.generator = torch.Generator(device) if generator is None else generator
        self.warmup, self.most = warmup, most
        self._seen: Counter[Shape] = Counter()
        self._graphs: dict[Shape, Callable[[Tensor], Stepped]] = {}
        # Warm-up and capture share one stream, for what libraries keep a stream is then there before the capture.
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __call__(self, x: Tensor, lengths: Tensor | None = None) -> Stepped:
        """Train on one batch.

        Args:
            x: ``(batch, time, x_dim)``, on the model's device.
            lengths: ``(batch,)``.
        """
        if lengths is not None or not self._can_capture(x):
            return self._step(x, lengths)
        shape = (tuple(x.shape), x.dtype, self.model.training)
        graph = self._graphs.get(shape)
        if graph is None:
            self._seen[shape] += 1
            if self._seen[shape] <= self.warmup:
                return self._beside(x)
            if len(self._graphs) >= self.most:
                return self._step(x, None)
            graph = self._graphs[shape] = self._capture(x)
        return graph(x)

    def _can_capture(self, x: Tensor) -> bool:
        return self._stream is not None and x.is_cuda and not torch.is_autocast_enabled("cuda")

    def _step(self, x: Tensor, lengths: Tensor | None) -> Stepped:
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.objective(self.model, x, lengths, self.generator)
        loss.backward()
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if self.clip > 0:
            torch.nn.utils.clip_grads_with_norm_(parameters, self.clip, norm)
        self.optimizer.step()
        return Stepped(loss.detach(), norm)

    def _beside(self, x: Tensor) -> Stepped:
        """A step on the stream of the captures."""
        current = torch.cuda.current_stream(x.device)
        assert self._stream is not None
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            done = self._step(x, None)
        current.wait_stream(self._stream)
        return done

    def _capture(self, x: Tensor) -> Callable[[Tensor], Stepped]:
        """The step as a graph that reads its batch from one place; capturing does not run it."""
        batch = x.clone()
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.generator)
        self.optimizer.zero_grad(set_to_none=True)  # so that the graph has gradients of its own, in its own memory
        with torch.cuda.graph(graph, stream=self._stream):
            done = self._step(batch, None)

        def replay(x: Tensor) -> Stepped:
            batch.copy_(x)
            graph.replay()
            return Stepped(done.loss.clone(), done.norm.clone())  # the next replay writes over them

        return replay
