"""DNSMOS, a listener's opinion as a network predicts it without the clean speech; used where it is installed."""

from __future__ import annotations

__all__ = ["dnsmos", "missing_dnsmos"]

import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from dynvae.metrics.score import ScoreError

_WEIGHTS = "~/.torchmetrics/DNSMOS/DNSMOS"


def missing_dnsmos() -> str:
    """What has to be installed before there is a score; empty if nothing has.

    torchmetrics computes it, with librosa and onnxruntime, from weights that it fetches when it is called for the first
    time. Nothing is fetched from here: the weights have to be there.
    """
    for package in ("torchmetrics", "librosa", "onnxruntime", "requests"):
        if importlib.util.find_spec(package) is None:
            return f"{package} is not installed"
    folder = Path(_WEIGHTS).expanduser()
    if not all((folder / name).is_file() for name in ("sig_bak_ovr.onnx", "model_v8.onnx")):
        return f"its weights are not in {folder}"
    return ""


def dnsmos(estimate: ArrayLike, sample_rate: int) -> float:
    """The overall opinion score of DNSMOS P.835 (Reddy, Gopal and Cutler, 2022), 1 to 5. Higher is better.

    Args:
        estimate: the waveform to be judged, ``(samples,)``.
        sample_rate: in Hz.

    Raises:
        ScoreError: it is not installed, or the signal is silent.
    """
    if reason := missing_dnsmos():
        raise ScoreError(f"no DNSMOS: {reason}")
    import torch
    from torchmetrics.functional.audio.dnsmos import deep_noise_suppression_mean_opinion_score

    signal = np.asarray(estimate, np.float32)
    if not signal.any():
        raise ScoreError("the estimate is silent")
    scores = deep_noise_suppression_mean_opinion_score(torch.from_numpy(signal), sample_rate, False, num_threads=1)
    return float(scores[-1])
