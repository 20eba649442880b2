"""Turn the exponential maps of CMU motion capture into a folder for dynvae: ``python prepare.py CMU_MOCAP OUT``.

CMU_MOCAP is ``data/cmu_mocap`` of the repository that the README names: ``train/ACTION/ACTION_N.txt`` and ``test/...``,
117 columns at 120 frames a second. Every fourth frame goes through forward kinematics. Take 4 of each action is for
validation; take 5, and every fourth of the additional walks, are left out of the training, for tests to come.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import torch

from dynvae.motion import forward_kinematics

PARENTS = [-1, 0, 1, 2, 3, 4, 5, 0, 7, 8, 9, 10, 11, 0, 13, 14, 15, 16, 17, 18, 15, 20, 21, 22, 23, 24, 25, 23, 27, 15,
           29, 30, 31, 32, 33, 34, 32, 36]  # fmt: skip
BONES = {
    2: (1.65674, -1.80282, 0.62477), 3: (2.5972, -7.13576, 0), 4: (2.49236, -6.8477, 0),
    5: (0.19704, -0.54136, 2.14581), 6: (0, 0, 1.11249), 8: (-1.6107, -1.80282, 0.62476), 9: (-2.59502, -7.12977, 0),
    10: (-2.4678, -6.78024, 0), 11: (-0.23024, -0.63258, 2.13368), 12: (0, 0, 1.11569),
    14: (0.01961, 2.0545, -0.14112), 15: (0.01021, 2.06436, -0.05921), 17: (0.00713, 1.56711, 0.14968),
    18: (0.03429, 1.56041, -0.10006), 19: (0.01305, 1.6256, -0.05265), 21: (3.54205, 0.90436, -0.17364),
    22: (4.86513, 0, 0), 23: (3.35554, 0, 0), 25: (0.66117, 0, 0), 26: (0.53306, 0, 0), 28: (0.5412, 0, 0.5412),
    30: (-3.49802, 0.75994, -0.32616), 31: (-5.02649, 0, 0), 32: (-3.36431, 0, 0), 34: (-0.73041, 0, 0),
    35: (-0.58887, 0, 0), 37: (-0.59786, 0, 0.59786),
}  # fmt: skip
UNIT = 70.0
"""Published "mm" in a unit of the recordings' own; theirs is 56.44 mm, so that true sizes are 0.806 of these."""
OFFSETS = UNIT * torch.tensor([BONES.get(joint, (0.0, 0.0, 0.0)) for joint in range(38)], dtype=torch.float64)


def places(expmaps: torch.Tensor) -> torch.Tensor:
    """From the values of frames, ``(time, 117)``, to the joints seen from the root, ``(time, 38, 3)``."""
    return forward_kinematics(expmaps[:, 3:].unflatten(-1, (-1, 3)), OFFSETS, PARENTS)


def split_of(part: str, action: str, take: int) -> str | None:
    """Where a take belongs; None for those that are left out."""
    if part == "test":
        return "test"
    if action == "walking_extra":
        return None if take % 4 == 2 else "train"
    return {4: "valid", 5: None}.get(take, "train")


def main(source: Path, out: Path) -> None:
    """Write the folder."""
    for part in ("train", "test"):
        for folder in sorted(path for path in (source / part).iterdir() if path.is_dir()):
            takes = sorted((int(re.findall(r"\d+", file.stem)[-1]), file) for file in folder.glob("*.txt"))
            for take, file in takes:
                split = split_of(part, folder.name, take)
                if split is None:
                    continue
                values = torch.from_numpy(
                    np.loadtxt(file, delimiter=",", ndmin=2)[1::4].copy()
                )  # the first is no frame
                (out / split).mkdir(parents=True, exist_ok=True)
                np.save(out / split / f"{folder.name}_{take}.npy", places(values).float().numpy())
    description = {"parents": PARENTS, "frame_rate": 30, "unit": "mm", "up": "y"}
    (out / "skeleton.json").write_text(json.dumps(description) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
