"""The bound of long sequences, its gradient truncated: memory for one piece of a sequence, not for the whole."""

from __future__ import annotations

__all__ = ["elbo_in_pieces"]

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dynvae.distributions import kl_per_dimension
from dynvae.errors import ConfigError
from dynvae.models.values import ELBO, Latents
from dynvae.nn import time_mask
from dynvae.recurrence.program import Dropout

if TYPE_CHECKING:
    from dynvae.models.recursive import RecursiveDVAE

States = Mapping[str, Tensor]
"""Variables at every frame, ``(batch, time, width)``: what a piece starts from is taken from these."""


def elbo_in_pieces(
    model: RecursiveDVAE, x: Tensor, past: Tensor, noise: Latents, lengths: Tensor | None, frames: int
) -> ELBO:
    """The bound with the gradient of truncated back-propagation through time (Williams and Peng, 1990).

    The values are those of the whole sequence, exactly. For the gradient the sequence is cut into pieces of ``frames``
    frames; what a piece hands to its neighbours, forward or backward in time, counts as a constant.

    Args:
        model: the model.
        x: ``(batch, time, x_dim)``.
        past: what the generative model is fed as past frames: ``x``, or the model's own means.
        noise: of the posterior's sample.
        lengths: how many frames of each sequence are valid, ``(batch,)``.
        frames: the length of a piece.

    Raises:
        ConfigError: the model cannot be cut, or a piece would have no frame.
    """
    if frames < 1:
        raise ConfigError(f"a piece has at least one frame, not {frames}")
    if model.training and any(isinstance(op, Dropout) for op in model.declared.program.operations.values()):
        raise ConfigError("a model with dropout cannot be trained in pieces: a piece would be dropped in two ways")
    if model.w_dim or model.prior_law != "prior":
        raise ConfigError(f"a {type(model).__name__} cannot be cut into pieces: its frames hang together otherwise")
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    log_likelihood, kl = _Pieces.apply(model, x, past, noise, lengths, frames, *parameters)
    full = torch.full((len(x),), x.shape[1], device=x.device) if lengths is None else lengths
    return ELBO(log_likelihood, kl, None, full)


class _Pieces(torch.autograd.Function):
    """The terms of the bound: forward without a graph, backward piece after piece."""

    @staticmethod
    def forward(
        ctx: Any,
        model: RecursiveDVAE,
        x: Tensor,
        past: Tensor,
        noise: Latents,
        lengths: Tensor | None,
        frames: int,
        *parameters: Tensor,
    ) -> tuple[Tensor, Tensor]:
        posterior, generation = model.all_states(x, past, noise, lengths)
        terms = []
        for piece in _pieces(x, past, noise, lengths, frames):
            terms.append(_terms(model, *piece, posterior, generation))
        ctx.model, ctx.inputs, ctx.parameters = model, (x, past, noise, lengths, frames), parameters
        ctx.states = (posterior, generation)
        log_likelihood, kl = (torch.cat(parts, 1) for parts in zip(*terms, strict=True))
        return log_likelihood, kl

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        total: list[Tensor | None] = [None] * len(ctx.parameters)
        start = 0
        for piece in _pieces(*ctx.inputs):
            stop = start + piece[1].shape[1]
            with torch.enable_grad():
                terms = _terms(ctx.model, *piece, *ctx.states)
            gradients = torch.autograd.grad(
                terms, ctx.parameters, [gradient[:, start:stop] for gradient in upstream], allow_unused=True
            )
            for i, gradient in enumerate(gradients):
                if gradient is not None:
                    total[i] = gradient if total[i] is None else total[i] + gradient
            start = stop
        return None, None, None, None, None, None, *total


Piece = tuple[int, Tensor, Tensor, Latents, Tensor | None]


def _pieces(x: Tensor, past: Tensor, noise: Latents, lengths: Tensor | None, frames: int) -> Iterator[Piece]:
    for start in range(0, x.shape[1], frames):
        part = slice(start, start + frames)
        left = None if lengths is None else lengths - start
        yield start, x[:, part], past[:, part], Latents(noise.z[:, part]), left


def _terms(
    model: RecursiveDVAE,
    start: int,
    x: Tensor,
    past: Tensor,
    noise: Latents,
    left: Tensor | None,
    of_posterior: States,
    of_generation: States,
) -> tuple[Tensor, Tensor]:
    """The terms of the bound of one piece between the states at its ends, where sequences have ``left`` frames left."""
    size = x.shape[1]
    lengths = None if left is None else left.clamp(0, size)
    initial = _ends(of_posterior, model.looks_ahead, start, start + size, left)
    posterior = model.infer(x, lengths, noise=noise, initial=initial)
    initial = _ends(of_generation, model.looks_ahead, start, start + size, left)
    prior, likelihood = model.generative(posterior.latents, past, lengths, initial=initial)
    log_likelihood, kl = likelihood.log_prob(x), kl_per_dimension(posterior.z, prior)
    if lengths is not None:
        valid = time_mask(lengths, size)
        log_likelihood, kl = log_likelihood.where(valid, 0), kl.where(valid.unsqueeze(-1), 0)
    return log_likelihood, kl


def _ends(states: States, ahead: frozenset[str], start: int, stop: int, left: Tensor | None) -> dict[str, Tensor]:
    """The variables just before a piece, and just after it if that is the way they run."""
    ends = {}
    for name, value in states.items():
        if name not in ahead:
            if start:
                ends[name] = value[:, start - 1]
        elif stop < value.shape[1]:
            after = value[:, stop]
            ends[name] = after if left is None else after.where((left > stop - start).unsqueeze(-1), 0)
    return ends
