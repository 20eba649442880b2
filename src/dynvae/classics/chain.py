"""Chains of discrete states: filtering, smoothing and the most likely path, in log space.

Log-probabilities of states are ``(batch, time, states)``. Without transitions the states of frames are independent.
"""

from __future__ import annotations

__all__ = ["Smoothed", "best_path", "filtered", "smoothed"]

from typing import NamedTuple

import torch
from torch import Tensor

from dynvae.nn import time_mask


class Smoothed(NamedTuple):
    """What is known of the states once all frames are.

    Attributes:
        log_state: ln p(k_t | x_1:T), ``(batch, time, states)``.
        pairs: Σ_t p(k_t-1, k_t | x_1:T), ``(batch, states, states)``; None where frames are independent.
        evidence: ln p(x_1:T), ``(batch,)``.
    """

    log_state: Tensor
    pairs: Tensor | None
    evidence: Tensor


def filtered(frames: Tensor, log_initial: Tensor, log_transitions: Tensor | None) -> tuple[Tensor, Tensor]:
    """Log p(k_t | x_1:t), and ln p(x_t | x_1:t-1), ``(batch, time)``, by the forward recursion.

    Args:
        frames: ln p(x_t | k_t), ``(batch, time, states)``.
        log_initial: ln p(k), ``(states,)``; of the first frame, where there are transitions.
        log_transitions: ln p(k_t | k_t-1), ``(states, states)``, rows from k_t-1.
    """
    if log_transitions is None:
        joint = frames + log_initial
        evidence = joint.logsumexp(-1, keepdim=True)
        return joint - evidence, evidence.squeeze(-1)
    state = log_initial.expand(len(frames), -1)
    states: list[Tensor] = []
    totals: list[Tensor] = []
    for t, frame in enumerate(frames.unbind(1)):
        if t:
            state = (state.unsqueeze(2) + log_transitions).logsumexp(1)
        state = state + frame
        total = state.logsumexp(1, keepdim=True)
        state = state - total
        states.append(state)
        totals.append(total)
    return torch.stack(states, 1), torch.cat(totals, 1)


def smoothed(
    frames: Tensor, log_initial: Tensor, log_transitions: Tensor | None, lengths: Tensor | None = None
) -> Smoothed:
    """The posterior of the states, by the forward-backward algorithm (Rabiner, 1989).

    Args:
        frames: ln p(x_t | k_t), ``(batch, time, states)``.
        log_initial: ln p(k), ``(states,)`` or what broadcasts; of the first frame, where there are transitions.
        log_transitions: ln p(k_t | k_t-1), ``(states, states)``, or one for each sequence; None for independent frames.
        lengths: ``(batch,)``. States in the padding mean nothing.

    Example:
        >>> likely = torch.tensor([[[0.9, 0.1], [0.5, 0.5]]]).log()
        >>> stay = torch.tensor([[0.8, 0.2], [0.2, 0.8]]).log()
        >>> smoothed(likely, torch.tensor([0.5, 0.5]).log(), stay).log_state.exp()[0, 1]
        tensor([0.7400, 0.2600])
    """
    forward, evidence = filtered(frames, log_initial, log_transitions)
    time = frames.shape[1]
    valid = None if lengths is None else time_mask(lengths, time)
    total = (evidence if valid is None else evidence.where(valid, 0)).sum(1)
    if log_transitions is None:
        return Smoothed(forward, None, total)
    after = torch.zeros_like(frames[:, 0])  # ln p(x_t+1:T | k_t), up to a constant
    laters, pairs = [after], frames.new_zeros(len(frames), *log_transitions.shape[-2:])
    for t in reversed(range(1, time)):
        ahead = after + frames[:, t]
        joint = forward[:, t - 1].unsqueeze(2) + log_transitions + ahead.unsqueeze(1)
        both = (joint - joint.logsumexp((1, 2), keepdim=True)).exp()
        after = (ahead.unsqueeze(1) + log_transitions).logsumexp(2)
        after = after - after.amax(1, keepdim=True)
        if valid is not None:  # nothing follows the last frame
            both = both.where(valid[:, t, None, None], 0)
            after = after.where(valid[:, t, None], 0)
        pairs = pairs + both
        laters.append(after)
    return Smoothed((forward + torch.stack(laters[::-1], 1)).log_softmax(-1), pairs, total)


def best_path(frames: Tensor, log_initial: Tensor, log_transitions: Tensor | None) -> Tensor:
    """The most likely states given all frames, ``(batch, time)`` (Viterbi, 1967); for whole sequences.

    Args:
        frames: ln p(x_t | k_t), ``(batch, time, states)``.
        log_initial: ln p(k), ``(states,)``.
        log_transitions: ln p(k_t | k_t-1), ``(states, states)``; None for independent frames.
    """
    if log_transitions is None:
        return (frames + log_initial).argmax(-1)
    score, froms = log_initial + frames[:, 0], []
    for frame in frames[:, 1:].unbind(1):
        score, before = (score.unsqueeze(2) + log_transitions).max(1)
        score = score + frame
        froms.append(before)
    state = score.argmax(1)
    path = [state]
    for before in reversed(froms):
        state = before.gather(1, state.unsqueeze(1)).squeeze(1)
        path.append(state)
    return torch.stack(path[::-1], 1)
