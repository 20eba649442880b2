"""Bodies that move: the joints of a frame, and where their rotations put them."""

from dynvae.motion.kinematics import H36M_OFFSETS, H36M_PARENTS, forward_kinematics, rotation_matrices
from dynvae.motion.skeleton import Skeleton

__all__ = ["H36M_OFFSETS", "H36M_PARENTS", "Skeleton", "forward_kinematics", "rotation_matrices"]
