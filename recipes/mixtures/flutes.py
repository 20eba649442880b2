"""A corpus of synthesised flutes for training: ``python flutes.py OUT``.

48 melodies of ten seconds for training, six for validation, six for the test; none is ever mixed with anything.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from dynvae.audio import write_audio
from dynvae.data.flute import flute

SPLITS = {"train": (48, 0), "valid": (6, 10_000), "test": (6, 20_000)}


def main(out: Path) -> None:
    """Write the melodies and a manifest."""
    rows = []
    for split, (count, first) in SPLITS.items():
        (out / split).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            name = f"{split}/flute{index:03d}.flac"
            write_audio(out / name, 0.9 * flute(10, seed=first + index), 16000)
            rows.append((name, split))
    with (out / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "split"), *rows])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
