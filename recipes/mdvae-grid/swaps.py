"""The table of swaps on made-up pairs: ``python recipes/mdvae-grid/swaps.py runs/pairs/model``."""

from __future__ import annotations

import sys

from dynvae.data.two_modalities import draw_pairs
from dynvae.evaluation.swaps import latent_probes, swap_table
from dynvae.models import MDVAE
from dynvae.pretrained import load


def main(folder: str) -> None:
    model = load(folder)
    assert isinstance(model, MDVAE)
    train, test = ((pairs.x, pairs.factors) for pairs in (draw_pairs(1500, seed=1001), draw_pairs(400, seed=1002)))
    swaps = swap_table(model, train, test)
    for latent, row in swaps.moved.items():
        cells = [f"{name} {value:.2f} ({swaps.kept[latent][name]:.2f})" for name, value in row.items()]
        print(f"{latent:<8}", "  ".join(cells))
    for title, scores in (("probes of true data", swaps.probes), ("of resynthesized data", swaps.resynthesized)):
        print(title, {name: round(value, 3) for name, value in scores.items()})
    for latent, scores in latent_probes(model, train, test).items():
        print(f"probes on {latent}", {name: round(value, 2) for name, value in scores.items()})


if __name__ == "__main__":
    main(sys.argv[1])
