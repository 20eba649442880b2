"""Measuring models on corpora, by analysis-resynthesis."""

from dynvae.evaluation.analysis import Resynthesis, analysis_resynthesis, evaluating, file_noise, speech_front_end
from dynvae.evaluation.records import FileScores, Records
from dynvae.evaluation.run import Evaluation, evaluate, fingerprint

__all__ = [
    "Evaluation",
    "FileScores",
    "Records",
    "Resynthesis",
    "analysis_resynthesis",
    "evaluate",
    "evaluating",
    "file_noise",
    "fingerprint",
    "speech_front_end",
]
