"""Put a trained model among those that come with the package: ``python tools/bundle_weights.py RUN NAME``.

RUN is the folder of a benchmark's run, with its best weights, settings, log and scores. The card tells the data, the
settings that differ from the defaults, and the figures measured on the test split.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

from dynvae.pretrained import load, save
from dynvae.training import TrainConfig

WEIGHTS = Path(__file__).resolve().parents[1] / "src" / "dynvae" / "pretrained" / "weights"

DATA = (
    "Training: 157 utterances (29.6 minutes) of 130 speakers from LibriSpeech's `train-clean-100` and `test-other`. "
    "Choice of the weights: 30 utterances of 21 other speakers. Figures: 64 utterances (10.7 minutes) of 35 more "
    "speakers, from LibriSpeech, VCTK and CMU ARCTIC."
)
ATTRIBUTION = (
    "LibriSpeech: V. Panayotov, G. Chen, D. Povey and S. Khudanpur, 2015, <https://www.openslr.org/12>, CC BY 4.0. "
    "The weights may be used under the same terms, with this attribution."
)
SCORES = {"si_sdr": "SI-SDR, dB", "pesq_raw": "PESQ, raw P.862", "pesq_wb": "PESQ, wide band", "estoi": "ESTOI"}


def bundle(run: Path, name: str) -> Path:
    """Write the model of a run, with its card, and return its folder."""
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    defaults = dataclasses.asdict(TrainConfig())
    settings = {
        key: value
        for key, value in result["job"]["train"].items()
        if value != (list(defaults[key]) if isinstance(defaults[key], tuple) else defaults[key]) and key != "threads"
    }
    figures = {}
    for mode, evaluation in result["modes"].items():
        for key, label in SCORES.items():
            score = evaluation["scores"][key]
            low, high = score["low"], score["high"]
            figures[f"{label}, {mode}"] = (
                f"{score['mean']:.2f} (95 % interval {low:.2f} to {high:.2f}, n = {score['n']})"
            )
    best = result["training"]["best"]
    card = {
        "license": "cc-by-4.0",
        "language": "en",
        "tags": ["audio-to-audio", "speech"],
        "datasets": ["librispeech_asr"],
        "metrics": ["si-sdr", "pesq", "estoi"],
        "description": "Trained on half an hour of clean read English: it shows what the model does, not what it can "
        "do at best.",
        "data": DATA,
        "attribution": ATTRIBUTION,
        "settings": settings,
        "training": {"epochs until these weights": best["epoch"],
                     "validation ELBO, nats per frame": round(best["elbo"], 1)},
        "analysis_resynthesis": figures,
    }  # fmt: skip
    folder = WEIGHTS / name
    save(load(run), folder, card)
    return folder


if __name__ == "__main__":
    print(bundle(Path(sys.argv[1]), sys.argv[2]))
