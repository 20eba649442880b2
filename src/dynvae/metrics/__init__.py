"""Scores of speech: the name of each says the variant; a failure has a reason and is never averaged in."""

from dynvae.metrics.parallel import Pair, Scored, score_pairs
from dynvae.metrics.perceptual import estoi, pesq_nb, pesq_raw, pesq_wb, raw_from_nb, stoi
from dynvae.metrics.score import Score, ScoreError
from dynvae.metrics.summary import Summary, summarize
from dynvae.metrics.table import METRICS, Metric, score
from dynvae.metrics.waveform import rmse, si_sdr

__all__ = [
    "METRICS",
    "Metric",
    "Pair",
    "Score",
    "ScoreError",
    "Scored",
    "Summary",
    "estoi",
    "pesq_nb",
    "pesq_raw",
    "pesq_wb",
    "raw_from_nb",
    "rmse",
    "score",
    "score_pairs",
    "si_sdr",
    "stoi",
    "summarize",
]
