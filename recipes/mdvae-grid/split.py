"""A manifest of GRID clips for an MDVAE: every speaker in training, as w is to tell them apart.

    python recipes/mdvae-grid/split.py GRID/manifest.csv speakers.csv

Clips of the splits train, valid and test stay where they are; of speakers who are nowhere but in ``test_unseen``, every
third clip is for the test, and the others for training.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from pathlib import Path


def main(source: str, target: str) -> None:
    with Path(source).open(encoding="utf-8", newline="") as file:
        clips = sorted(csv.DictReader(file), key=lambda clip: clip["id"])
    seen: Counter[str] = Counter()
    rows = []
    for clip in clips:
        split = clip["split"]
        if split == "test_unseen":
            seen[clip["speaker"]] += 1
            split = "train" if seen[clip["speaker"]] % 3 else "test"
        rows.append({"path": clip["audio"], "speaker": clip["speaker"], "split": split, "lips": clip["lips"]})
    with Path(target).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["path", "speaker", "split", "lips"])
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main(*sys.argv[1:3])
