"""The scores by name, and several of them at once on a pair of signals."""

from __future__ import annotations

__all__ = ["METRICS", "Metric", "score"]

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from numpy.typing import ArrayLike

from dynvae.errors import ConfigError, MissingExtraError
from dynvae.metrics.perceptual import estoi, pesq_nb, pesq_wb, raw_from_nb, stoi
from dynvae.metrics.score import Score, ScoreError
from dynvae.metrics.waveform import rmse, sdr, si_sdr


@dataclass(frozen=True)
class Metric:
    """What is to be known of a score in order to print it.

    Attributes:
        label: its name in a table.
        function: ``function(reference, estimate, sample_rate)``; for a score derived from another one, a function of
            that one's number.
        unit: of its number, if any.
        higher_is_better: the direction of improvement.
        base: name of the score that it is derived from, if any.
    """

    label: str
    function: Callable[..., float]
    unit: str = ""
    higher_is_better: bool = True
    base: str = ""


METRICS: dict[str, Metric] = {
    "rmse": Metric("RMSE", lambda reference, estimate, _: rmse(reference, estimate), higher_is_better=False),
    "si_sdr": Metric("SI-SDR", lambda reference, estimate, _: si_sdr(reference, estimate), "dB"),
    "sdr": Metric("SDR", lambda reference, estimate, _: sdr(reference, estimate), "dB"),
    "pesq_raw": Metric("PESQ raw", raw_from_nb, base="pesq_nb"),
    "pesq_nb": Metric("PESQ NB", pesq_nb, "MOS"),
    "pesq_wb": Metric("PESQ WB", pesq_wb, "MOS"),
    "stoi": Metric("STOI", stoi),
    "estoi": Metric("ESTOI", estoi),
}


def score(
    reference: ArrayLike, estimate: ArrayLike, sample_rate: int, metrics: Sequence[str] = tuple(METRICS)
) -> dict[str, Score]:
    """Several scores of one pair of signals; what has no number has the reason, and nothing is raised for it.

    Args:
        reference: the true waveform, ``(samples,)``.
        estimate: the waveform to be judged, ``(samples,)``.
        sample_rate: rate of both, in Hz.
        metrics: names out of :data:`METRICS`.

    Returns:
        A score for each name. A package that is not installed is a reason, too.

    Raises:
        ConfigError: a name is unknown.
        AudioError: the lengths differ.

    Example:
        >>> score([0.0, 1.0, 0.0, -1.0], [0.0, 0.0, 0.0, 0.0], 16000, ["si_sdr"])
        {'si_sdr': Score(value=nan, reason='the estimate is silent')}
    """
    unknown = [name for name in metrics if name not in METRICS]
    if unknown:
        raise ConfigError(f"there is no metric '{unknown[0]}'; there are {', '.join(METRICS)}")
    done: dict[str, Score] = {}

    def compute(name: str) -> Score:
        if name not in done:
            metric = METRICS[name]
            try:
                if not metric.base:
                    done[name] = Score.of(metric.function(reference, estimate, sample_rate))
                elif (base := compute(metric.base)).failed:
                    done[name] = base
                else:
                    done[name] = Score.of(metric.function(base.value))
            except (ScoreError, MissingExtraError) as error:
                done[name] = Score.failure(str(error))
        return done[name]

    return {name: compute(name) for name in metrics}
