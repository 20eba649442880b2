"""What the models reached in the benchmark of half an hour of speech: the table of the README, for programs."""

from __future__ import annotations

__all__ = ["COLUMNS", "Measured", "measured"]

import csv
import functools
from importlib import resources
from typing import NamedTuple

COLUMNS = {
    "si_sdr": "SI-SDR (dB)", "pesq_raw": "PESQ (raw)", "pesq_nb": "PESQ (NB)", "pesq_wb": "PESQ (WB)", "stoi": "STOI",
    "estoi": "ESTOI", "rmse_e2": "RMSE (×10⁻²)", "elbo": "ELBO (nats/frame)", "kl": "KL (nats/frame)",
}  # fmt: skip
"""The scores, and how they are called."""


class Measured(NamedTuple):
    """A row: a model's analysis-resynthesis of 64 utterances of speakers that it has not heard.

    Attributes:
        model: a name of `dynvae.models.PRESETS`, or ``"srnn-ss"``: the SRNN, trained on with scheduled sampling.
        title: as tables call it.
        mode: ``"teacher-forced"`` or ``"generation"``; empty where nothing is fed back.
        scores: by a key of :data:`COLUMNS`: the mean, and half of its 95 % interval, with the digits that are told.
    """

    model: str
    title: str
    mode: str
    scores: dict[str, tuple[str, str]]


@functools.cache
def measured() -> tuple[Measured, ...]:
    """The rows of recipes/librispeech-excerpts, which tells how they came about.

    Example:
        >>> [row.scores["si_sdr"] for row in measured() if row.model == "rvae"]
        [('2.75', '0.27')]
    """
    with resources.files("dynvae.report").joinpath("measured.csv").open(encoding="utf-8") as file:
        return tuple(
            Measured(row["model"], row["title"], row["mode"], {key: (row[key], row[f"{key}_half"]) for key in COLUMNS})
            for row in csv.DictReader(file)
        )
