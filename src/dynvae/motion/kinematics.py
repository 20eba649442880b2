"""From the rotations of a body's joints to their places in space."""

from __future__ import annotations

__all__ = ["H36M_OFFSETS", "H36M_PARENTS", "forward_kinematics", "rotation_matrices"]

from collections.abc import Sequence

import torch
from torch import Tensor

H36M_PARENTS = (-1, 0, 1, 2, 3, 4, 0, 6, 7, 8, 9, 0, 11, 12, 13, 14, 12, 16, 17, 18, 19, 20, 19, 22, 12, 24, 25, 26, 27,
                28, 27, 30)  # fmt: skip
"""The 32 joints of Human3.6M: the parent of each."""

_BONES: dict[int, tuple[float, float, float]] = {
    1: (-132.948591, 0, 0), 2: (0, -442.894612, 0), 3: (0, -454.206447, 0), 4: (0, 0, 162.767078), 5: (0, 0, 74.999437),
    6: (132.948826, 0, 0), 7: (0, -442.894413, 0), 8: (0, -454.20659, 0), 9: (0, 0, 162.767426), 10: (0, 0, 74.999948),
    11: (0, 0.1, 0), 12: (0, 233.383263, 0), 13: (0, 257.077681, 0), 14: (0, 121.134938, 0), 15: (0, 115.002227, 0),
    16: (0, 257.077681, 0), 17: (0, 151.034226, 0), 18: (0, 278.882773, 0), 19: (0, 251.733451, 0),
    21: (0, 0, 99.999627), 22: (0, 100.000188, 0), 24: (0, 257.077681, 0), 25: (0, 151.031437, 0),
    26: (0, 278.892924, 0), 27: (0, 251.72868, 0), 29: (0, 0, 99.999888), 30: (0, 137.499922, 0),
}  # fmt: skip
H36M_OFFSETS: tuple[tuple[float, float, float], ...] = tuple(_BONES.get(joint, (0.0, 0.0, 0.0)) for joint in range(32))
"""Where each of them is seen from its parent, in mm, without rotations: the bones of one subject for all."""


def rotation_matrices(vectors: Tensor) -> Tensor:
    r"""The rotations that exponential maps stand for (Rodrigues), ``(..., 3)`` to ``(..., 3, 3)``.

    With :math:`\theta = \lVert r \rVert` and K the cross product with :math:`r / \theta`,
    :math:`R = I + \sin\theta \, K + (1 - \cos\theta) K^2`.

    Args:
        vectors: axis times angle, in radians.
    """
    angle = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    x, y, z = (vectors / angle.where(angle > 0, 1)).unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    angle = angle.unsqueeze(-1)
    identity = torch.eye(3, dtype=vectors.dtype, device=vectors.device)
    return identity + angle.sin() * cross + (1 - angle.cos()) * (cross @ cross)


def forward_kinematics(vectors: Tensor, offsets: Tensor, parents: Sequence[int]) -> Tensor:
    """The places of the joints of a body whose root is at the origin.

    A joint turns all that hangs on it. With row vectors, R the rotation of a joint in its parent's axes and G in the
    world's: G_j = R_j G_parent(j), place_j = place_parent(j) + offset_j G_parent(j).

    Args:
        vectors: exponential maps, ``(..., joints, 3)``, in radians.
        offsets: of each joint from its parent, in the parent's axes, ``(joints, 3)``.
        parents: of each joint; -1 for the first, which is the root, and else a joint before it.

    Returns:
        ``(..., joints, 3)``, in the unit of the offsets.

    Example:
        >>> bent = torch.tensor([[0.0, 0.0, torch.pi / 2], [0.0, 0.0, 0.0]])
        >>> forward_kinematics(bent, torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]), (-1, 0))[1].round().int()
        tensor([ 0, -1,  0], dtype=torch.int32)
    """
    local = rotation_matrices(vectors)
    places, turned = [torch.zeros_like(vectors[..., 0, :])], [local[..., 0, :, :]]
    for joint in range(1, len(parents)):
        parent = parents[joint]
        places.append(places[parent] + offsets[joint].to(vectors) @ turned[parent])
        turned.append(local[..., joint, :, :] @ turned[parent])
    return torch.stack(places, -2)
