"""Sparse latents on speech: the table of Sadeghi and Magron (2022), every cell trained and measured.

    python recipes/sparse/table.py --data /data/librispeech-excerpts --out runs/sparse

A run that is done is not done again, so that a stopped table goes on, and more seeds are added with --seeds.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from dynvae.data import Corpus
from dynvae.evaluation import evaluate
from dynvae.pretrained import load
from dynvae.training import TrainConfig, train

SPARSE = {"latent": "sparse", "degrees": 0.0}  # 0: the objective of the paper
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "VAE": ("vae", {}),
    "VSC, α = 0.05": ("vsc", {"active": 0.05}),
    "VSC, α = 0.5": ("vsc", {"active": 0.5}),
    "VSC, α = 0.9": ("vsc", {"active": 0.9}),
    "SDM-VAE, I": ("vae", SPARSE),
    "SDM-VAE, DCT, k = 32": ("vae", {**SPARSE, "dictionary": "dct", "atoms": 32}),
    "SDM-VAE, DCT, k = 64": ("vae", {**SPARSE, "dictionary": "dct", "atoms": 64}),
}
SIZES = (32, 64)
TRAIN: dict[str, Any] = {
    "batch_size": 16, "frames": 50, "epochs": 10, "lr": 6e-3, "clip": 0, "ema": 0.99, "begin_at_mean": True,
    "validate_every": 5, "patience": 0, "threads": 1,
}  # fmt: skip
SCORES = {"pesq_raw": 2, "stoi": 3, "estoi": 3, "si_sdr": 2, "hoyer": 2}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="corpus with the splits train, valid and test")
    parser.add_argument("--out", required=True, type=Path, help="folder of the runs and of table.md")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=TRAIN["epochs"])
    parser.add_argument("--files", type=int, default=32, help="of the test, spread evenly over it")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[tuple[str, int], list[dict[str, float]]] = {}
    for seed, size, row in cells(options.seeds):
        folder = options.out / f"{row}-m{size}-seed{seed}".replace(" ", "").replace(",", "-")
        found = folder / "scores.json"
        if not found.exists():
            found.write_text(json.dumps(run(row, size, seed, folder, options)))
            print(found, found.read_text(), flush=True)
        results.setdefault((row, size), []).append(json.loads(found.read_text()))
        (options.out / "table.md").write_text(table(results), encoding="utf-8")
    print(table(results))


def cells(seeds: int) -> Iterator[tuple[int, int, str]]:
    """Every run, those of a seed together."""
    yield from ((seed, size, row) for seed in range(seeds) for size in SIZES for row in ROWS)


def run(row: str, size: int, seed: int, folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Train and measure one model."""
    name, model = ROWS[row]
    warmup = {"slab_warmup": 0.2 * options.epochs} if name == "vsc" else {}
    config = TrainConfig(**{**TRAIN, **warmup, "epochs": options.epochs, "seed": seed})
    model = {"input_transform": "log", "z_dim": size, **model}
    resume = any((folder / "checkpoints").glob("*"))
    outcome = train(name, data=options.data, out=folder, model=model, train=config, resume=resume)
    test = Corpus.open(options.data).split("test")
    metrics = [name for name in SCORES if name != "hoyer"]
    measured = evaluate(load(folder), test, latents="mean", metrics=metrics, limit=options.files)
    scores = {name: float(summary.mean) for name, summary in measured.scores.items() if summary.mean is not None}
    return scores | {f"valid_{name}": outcome.best[name] for name in ("elbo", "log_likelihood", "kl")}


def table(results: dict[tuple[str, int], list[dict[str, float]]]) -> str:
    """The cells in Markdown: means over seeds ± half the range."""
    lines = [
        "| m | | " + " | ".join([*SCORES, "KL", "seeds"]) + " |",
        "|--:|:--|" + "--:|" * (len(SCORES) + 2),
    ]
    for (row, size), runs in sorted(results.items(), key=lambda item: (item[0][1], list(ROWS).index(item[0][0]))):
        shown = []
        for name, digits in {**SCORES, "kl": 1}.items():
            values = [scores[name] for scores in runs]
            half = (max(values) - min(values)) / 2
            shown.append(f"{statistics.mean(values):.{digits}f} ± {half:.{digits}f}")
        lines.append(f"| {size} | {row} | " + " | ".join([*shown, str(len(runs))]) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
