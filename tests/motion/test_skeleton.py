"""Bodies: rotations against matrix exponentials, kinematics against real recordings, frames and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import dynvae
from dynvae.errors import CheckpointError, ConfigError
from dynvae.models import build
from dynvae.motion import H36M_OFFSETS, H36M_PARENTS, Skeleton, forward_kinematics, rotation_matrices

PARENTS = (-1, 0, 1, 1, 0)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_rotations_are_matrix_exponentials() -> None:
    vectors = torch.cat([randn(50, 3) * 2, torch.zeros(1, 3, dtype=torch.float64)])
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    torch.testing.assert_close(rotation_matrices(vectors), torch.linalg.matrix_exp(cross), rtol=0, atol=1e-12)


def test_kinematics_keep_the_bones() -> None:
    offsets = torch.tensor(H36M_OFFSETS, dtype=torch.float64)
    places = forward_kinematics(randn(7, 32, 3), offsets, H36M_PARENTS)
    parents = list(H36M_PARENTS[1:])
    bones = (places[:, 1:] - places[:, parents]).norm(dim=-1)
    torch.testing.assert_close(bones, offsets[1:].norm(dim=-1).expand(7, -1))
    still = forward_kinematics(torch.zeros(1, 32, 3, dtype=torch.float64), offsets, H36M_PARENTS)[0]
    torch.testing.assert_close(still[1:] - still[parents], offsets[1:])


@pytest.mark.shared
def test_kinematics_of_a_recording(shared: Path) -> None:
    folder = shared / "data" / "motion"
    body = json.loads((folder / "skeleton.json").read_text())
    offsets = torch.tensor(body["offset_mm"], dtype=torch.float64)
    for name in ("test_walking_1", "train_jumping_1", "train_soccer_1"):
        recorded = np.load(folder / f"{name}.npz")
        vectors = torch.from_numpy(recorded["expmap_60"][::2]).double()[:, 3:].unflatten(-1, (-1, 3))
        places = forward_kinematics(vectors, offsets, body["parent"])
        assert (places - torch.from_numpy(recorded["xyz_30"])).abs().max() < 0.051  # rounded to 0.1 mm


def body() -> tuple[Skeleton, Tensor]:
    """A body whose joint 2 sits on joint 1, and whose joint 4 never moves; and a recording of it."""
    places = 0.3 * randn(40, 5, 3)
    places[:, 2] = places[:, 1]
    places[:, 4] = places[:, 0] + torch.tensor([0.1, 0.2, 0.3])
    return Skeleton(PARENTS, 25), places


def test_frames_and_back() -> None:
    skeleton, places = body()
    assert skeleton.frames(places).shape == (40, 12)
    expected = (places - places[:, :1])[:, 1:].flatten(1)
    torch.testing.assert_close(skeleton.frames(places), expected)
    fitted = skeleton.fitted([places[:10], places[10:]])
    assert fitted.observed == (1, 3)
    frames = fitted.frames(places)
    torch.testing.assert_close(frames.mean(0), torch.zeros(6, dtype=torch.float64), atol=1e-12, rtol=0)
    assert float(frames.square().mean()) == pytest.approx(1)
    torch.testing.assert_close(fitted.places(frames), places - places[:, :1], atol=1e-12, rtol=0)
    errors = fitted.errors(frames[:-1], frames[1:])
    assert errors.shape == (39, 2)
    moved = (places - places[:, :1])[:, [1, 3]].diff(dim=0).norm(dim=-1)
    torch.testing.assert_close(errors, moved)


def test_a_body_that_is_still_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing moves"):
        Skeleton(PARENTS, 25).fitted([torch.ones(4, 5, 3)])


def test_the_skeleton_is_saved_with_the_model(tmp_path: Path) -> None:
    skeleton, places = body()
    model = build("vae", x_dim=6, z_dim=2, hidden=(4,), likelihood="joint_l2")
    model.front_end = skeleton.fitted([places])
    folder = dynvae.save(model, tmp_path)
    assert dynvae.load(folder).front_end == model.front_end
    assert "2 of 5 joints of a body" in (folder / "README.md").read_text()
    config = json.loads((folder / "config.json").read_text())
    config["front_end"]["parents"] = [5, 0]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="the parent of joint 0 is 5"):
        dynvae.load(folder)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"parents": [-1]}, "1 joints"),
        ({"parents": [-1, 2, 0]}, "parent of joint 1 is 2"),
        ({"parents": [0, 0]}, "parent of joint 0 is 0"),
        ({"parents": "no"}, "skeleton"),
        ({"frame_rate": 0}, "frame_rate"),
        ({"frame_rate": None}, "skeleton"),
        ({"up": 3}, "up"),
        ({"observed": [2, 1]}, "observed"),
        ({"observed": [1, 9]}, "observed"),
        ({"centre": [[0, 0, 0]]}, "centre"),
        ({"centre": [[0, 0, float("nan")]] * 5}, "centre"),
        ({"scale": float("inf")}, "scale"),
        ({"size": 3}, "size"),
    ],
)
def test_skeletons_that_cannot_be(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        Skeleton.from_dict({"parents": list(PARENTS), "frame_rate": 25} | changes)


@pytest.mark.parametrize("up", [0, 1, 2])
def test_turning_about_the_vertical(up: int) -> None:
    _, places = body()
    skeleton = Skeleton(PARENTS, 25, up=up).fitted([places])
    frames = skeleton.frames(places)
    turned = skeleton.turned(frames, 0.7)
    before, after = skeleton.places(frames), skeleton.places(turned)
    torch.testing.assert_close(after[:, [1, 3], up], before[:, [1, 3], up])
    one, other = (axis for axis in range(3) if axis != up)
    torch.testing.assert_close(after[:, 1, [one, other]].norm(dim=-1), before[:, 1, [one, other]].norm(dim=-1))
    angles = [torch.atan2(each[:, 3, other], each[:, 3, one]) for each in (before, after)]
    assert torch.allclose(((angles[1] - angles[0]) % (2 * torch.pi)), torch.tensor(0.7, dtype=torch.float64))
    torch.testing.assert_close(skeleton.turned(turned, -0.7), frames)
    torch.testing.assert_close(skeleton.errors(turned[:5], turned[5:10]), skeleton.errors(frames[:5], frames[5:10]))
