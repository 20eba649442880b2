"""What moves: the joints of a body, where their rotations put them, and boxes."""

from dynvae.motion.boxes import BoxView
from dynvae.motion.kinematics import H36M_OFFSETS, H36M_PARENTS, forward_kinematics, rotation_matrices
from dynvae.motion.skeleton import Skeleton

__all__ = ["H36M_OFFSETS", "H36M_PARENTS", "BoxView", "Skeleton", "forward_kinematics", "rotation_matrices"]
