"""What is compared: each model in its published setting, and the arithmetic that it cannot do without."""

from __future__ import annotations

__all__ = ["CASES", "RECURRENT", "Case", "Operations"]

from dataclasses import dataclass
from typing import NamedTuple

from dynvae.models import DVAE, build


class Operations(NamedTuple):
    """Floating-point operations per frame, two for each multiply-add: forward, and of a whole training step."""

    forward: float
    training: float


@dataclass(frozen=True)
class Case:
    """A model of ours and its counterpart.

    Attributes:
        name: what tables call it.
        preset: its name in `dynvae.models.PRESETS`.
        config: the reference's configuration file, in ``config/speech``; empty if it has none.
        free_running: probability that a past frame is the model's own; with more than 0 the counterpart is the
            reference's variant for scheduled sampling.
        twice: networks that a step goes through twice.
    """

    name: str
    preset: str
    config: str
    free_running: float = 0.0
    twice: tuple[str, ...] = ()

    def build(self) -> DVAE:
        """Our model, in the published setting: 513 bins, 16 latent dimensions."""
        return build(self.preset)

    def operations(self, model: DVAE) -> Operations:
        """What the products with weights cost: each weight multiplies one vector a frame, or two (`twice`).

        Forward, and backward twice as much, less the gradients of observations, which nobody needs. All else
        (activations, likelihood, optimizer, the Kalman filter of KVAE) is left out.
        """
        forward, data = 0, 0
        for name, weight in model.named_parameters():
            if weight.dim() < 2:
                continue
            uses = 2 if name.startswith(self.twice) else 1
            forward += uses * weight.numel()
            if weight.dim() == 2 and weight.shape[1] >= model.x_dim:  # it reads an observation, and maybe more
                data += uses * weight.shape[0] * model.x_dim
        return Operations(2 * forward, 2 * (3 * forward - data))


CASES: dict[str, Case] = {
    case.name: case
    for case in (
        Case("vrnn", "vrnn", "cfg_vrnn.ini"),
        Case("srnn", "srnn", "cfg_srnn.ini"),
        Case("srnn-ss", "srnn", "cfg_srnn.ini", free_running=0.5, twice=("x_net.", "forward_rnn.")),
        Case("dkf", "dkf", "cfg_dkf.ini"),
        Case("rvae-causal", "rvae-causal", "cfg_rvae_Causal.ini"),
        Case("rvae", "rvae", "cfg_rvae_NonCausal.ini"),
        Case("vae", "vae", "cfg_vae.ini"),
        Case("storn", "storn", "cfg_storn.ini"),
        Case("dsae", "dsae", "cfg_dsae.ini"),
        Case("kvae", "kvae", ""),
    )
}
"""The models by name. ``srnn-ss`` is SRNN with scheduled sampling, half of the past frames being its own."""

RECURRENT = ("vrnn", "srnn", "srnn-ss", "dkf", "rvae-causal", "rvae", "storn", "dsae", "kvae")
"""Those with a recursion, of the networks or, in KVAE, of the Kalman filter."""
