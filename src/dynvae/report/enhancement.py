"""Pictures of an enhancement: before and after, the noise that was found, and the course of the algorithm."""

from __future__ import annotations

__all__ = ["enhancement_figure", "noise_activations", "noise_patterns", "objective_curve"]

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from dynvae.audio import FrontEnd, resample
from dynvae.report.plots import spectrograms
from dynvae.report.style import COLOURS, axes, figure, tidy

if TYPE_CHECKING:
    from dynvae.testtime.enhancement import Enhanced


def noise_patterns(w: ArrayLike, front_end: FrontEnd, ax: Any = None) -> Any:
    """The spectral patterns of the noise in decibels, one colour each.

    Args:
        w: W, ``(K, bins)``.
        front_end: tells the frequencies.
        ax: axes to draw on.
    """
    ax = axes(ax, 4.5, 2.6)
    patterns = np.asarray(w, np.float64)
    frequency = np.linspace(0, front_end.sample_rate / 2000, patterns.shape[1])
    for index, pattern in enumerate(patterns):
        level = 10 * np.log10(np.maximum(pattern, 1e-12) / max(float(patterns.max()), 1e-12))
        ax.plot(frequency, level, linewidth=0.9, color=COLOURS[index % len(COLOURS)])
    ax.set(xlabel="frequency (kHz)", ylabel="dB", title="noise patterns W", ylim=(-60, 3))
    return tidy(ax)


def noise_activations(h: ArrayLike, front_end: FrontEnd, ax: Any = None) -> Any:
    """How strong each pattern is over time, in decibels, in the colours of :func:`noise_patterns`.

    Args:
        h: H, ``(time, K)``.
        front_end: tells the times.
        ax: axes to draw on.
    """
    ax = axes(ax, 4.5, 2.6)
    activations = np.asarray(h, np.float64)
    time = np.arange(len(activations)) * front_end.hop_length / front_end.sample_rate
    for index, activation in enumerate(activations.T):
        level = 10 * np.log10(np.maximum(activation, 1e-12) / max(float(activations.max()), 1e-12))
        ax.plot(time, level, linewidth=0.9, color=COLOURS[index % len(COLOURS)])
    ax.set(xlabel="time (s)", ylabel="dB", title="their activations H", ylim=(-60, 3))
    return tidy(ax)


def objective_curve(iterations: list[int], objective: ArrayLike, ax: Any = None) -> Any:
    """The EM objective at the checked iterations, a line a channel.

    Args:
        iterations: their numbers.
        objective: ``(checks, channels)``.
        ax: axes to draw on.
    """
    ax = axes(ax, 4.5, 2.6)
    for index, curve in enumerate(np.asarray(objective, np.float64).T):
        ax.plot(iterations, curve, "o-", markersize=3, linewidth=1.2, color=COLOURS[index % len(COLOURS)])
    ax.set(xlabel="iteration", title="EM objective (less is better)")
    return tidy(ax)


def enhancement_figure(
    noisy: NDArray[np.float32],
    speech: NDArray[np.float32],
    sample_rate: int,
    front_end: FrontEnd,
    found: Enhanced | None = None,
) -> Any:
    """One picture of all: spectrograms before and after, and where they are known noise and objective.

    Args:
        noisy: the recording, ``(samples,)``.
        speech: what became of it.
        sample_rate: of both, in hertz.
        front_end: of the prior.
        found: what the engine has told, of its first channel that is not silent.

    Returns:
        The figure.
    """
    sounds = {"before": noisy, "after": speech}
    powers = {
        title: front_end.power(
            torch.from_numpy(np.ascontiguousarray(resample(sound, sample_rate, front_end.sample_rate)))
        )
        for title, sound in sounds.items()
    }
    told = found is not None and bool(found.iterations)
    fig = figure(9.0, 5.2 if told else 2.8)
    upper = fig.add_gridspec(2 if told else 1, 6)
    pair = [fig.add_subplot(upper[0, :3]), fig.add_subplot(upper[0, 3:])]
    spectrograms({title: power.numpy() for title, power in powers.items()}, front_end, pair)
    if found is not None and told:
        lower = [fig.add_subplot(upper[1, 2 * place : 2 * place + 2]) for place in range(3)]
        if found.patterns is not None:
            noise_patterns(found.patterns[0][0].cpu(), front_end, lower[0])
            noise_activations(found.patterns[1][0].cpu(), front_end, lower[1])
        else:
            lower[0].set_visible(False)
            lower[1].set_visible(False)
        objective_curve(found.iterations, found.objective, lower[2])
    return fig
