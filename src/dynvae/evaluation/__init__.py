"""Measuring models on corpora by analysis-resynthesis, and sound out of models."""

from dynvae.evaluation.analysis import Resynthesis, analysis_resynthesis, evaluating, file_noise, speech_front_end
from dynvae.evaluation.clips import clip_path, write_clips
from dynvae.evaluation.files import Passed, resynthesize_waveform
from dynvae.evaluation.generation import PEAK, Clip, Drawing, draw_clips, generate
from dynvae.evaluation.loading import spread
from dynvae.evaluation.plots import draw_spectrogram, save_spectrograms
from dynvae.evaluation.quality import RealSound, clip_features, find_clips, model_features, speech_distances
from dynvae.evaluation.records import FileScores, Records, read_scores
from dynvae.evaluation.run import Evaluation, evaluate, fingerprint

__all__ = [
    "PEAK",
    "Clip",
    "Drawing",
    "Evaluation",
    "FileScores",
    "Passed",
    "RealSound",
    "Records",
    "Resynthesis",
    "analysis_resynthesis",
    "clip_features",
    "clip_path",
    "draw_clips",
    "draw_spectrogram",
    "evaluate",
    "evaluating",
    "file_noise",
    "find_clips",
    "fingerprint",
    "generate",
    "model_features",
    "read_scores",
    "resynthesize_waveform",
    "save_spectrograms",
    "speech_distances",
    "speech_front_end",
    "spread",
    "write_clips",
]
