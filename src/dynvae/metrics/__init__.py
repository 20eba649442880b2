"""Scores of speech, of which a failure has a reason and is never averaged in; and distances between sets of sound."""

from dynvae.metrics.distances import Comparison, Spread, compare, frechet_distance, kernel_distance
from dynvae.metrics.features import EXTRACTORS, Extractor, LogMel, distance_names, extract, extractor
from dynvae.metrics.perceptual import estoi, pesq_nb, pesq_raw, pesq_wb, raw_from_nb, stoi
from dynvae.metrics.score import Score, ScoreError, score_packages
from dynvae.metrics.sparsity import active_units, hoyer
from dynvae.metrics.summary import Summary, summarize
from dynvae.metrics.table import METRICS, Metric, score
from dynvae.metrics.waveform import rmse, sdr, si_sdr

__all__ = [
    "EXTRACTORS",
    "METRICS",
    "Comparison",
    "Extractor",
    "LogMel",
    "Metric",
    "Score",
    "ScoreError",
    "Spread",
    "Summary",
    "active_units",
    "compare",
    "distance_names",
    "estoi",
    "extract",
    "extractor",
    "frechet_distance",
    "hoyer",
    "kernel_distance",
    "pesq_nb",
    "pesq_raw",
    "pesq_wb",
    "raw_from_nb",
    "rmse",
    "score",
    "score_packages",
    "sdr",
    "si_sdr",
    "stoi",
    "summarize",
]
