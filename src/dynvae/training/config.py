"""Every setting of a training run, with its unit and default."""

from __future__ import annotations

__all__ = ["TrainConfig"]

from dataclasses import dataclass
from typing import Literal

from dynvae.errors import ConfigError
from dynvae.training.objective import cyclical, learning_rate, linear, ramp


@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Args:
        frames: frames in a training crop.
        batch_size: crops in a step, over all devices together, so that a result does not depend on their number.
        epochs: passes over the training crops.
        max_steps: stop after so many steps, whatever the epochs; none by default.
        optimizer: adam, or adamw (decoupled weight decay).
        lr: the highest learning rate.
        weight_decay: decay of the weights (adamw: decoupled).
        betas: averaging constants of the optimizer.
        eps: what the optimizer adds to the root of the averaged squares.
        warmup_steps: steps in which the learning rate rises to its highest.
        lr_schedule: cosine falls to the floor by the last step, constant stays.
        lr_floor: the last learning rate, as a part of the highest.
        clip: largest norm of the gradient; 0 does not clip.
        beta: weight of the KL term in the objective (1 is the ELBO).
        kl_schedule: warm-up of the KL weight, linear or cyclical.
        kl_start: epoch before which the KL costs nothing. A deep decoder needs some before it can use z.
        kl_warmup: length of the KL warm-up that follows, in epochs; 0 has none.
        kl_cycles: number of cycles of the cyclical warm-up.
        slab_warmup: VSC: epochs in which mean and variance of what is not zero rise from those of the prior to their
            own; 0 has none.
        free_bits: nats per frame and latent dimension that cost nothing.
        alpha: part of the objective in which latents from the prior are decoded, so that a prior that sees lips learns
            from them; 0 is the ELBO. Published: 0.1 for the AV-CVAE, 0.01 for the AV-DKF.
        freeze_sound: probability that a step leaves the weights between sound and latents as they are, so that only
            what sees the condition learns. Published: 0.2.
        free_running: scheduled sampling: the final probability that a past frame is the model's own (autoregressive
            models; 0 is teacher forcing, 1 is generation mode). Validation uses this final value throughout.
        free_running_start: epoch in which that probability begins to rise from 0.
        free_running_end: epoch in which it reaches its final value.
        begin_at_mean: begin with the decoder's last bias at the mean of the training data, unless the weights come from
            another model; spares spectra their first hundred steps or so.
        ema: decay of a running average of the weights, which is then what is validated and kept; 0 has none.
        validate_every: epochs between validations, fractions allowed.
        valid_frames: frames in a batch of validation, padding included.
        patience: validations without improvement, under the final objective, after which training stops; 0 never
            stops early.
        save_minutes: minutes between checkpoints for --resume.
        seed: of weights, crops, order, noise and dropout.
        truncate: frames that the gradient flows through at a time, for sequences too long to keep (truncated
            back-propagation); 0 is all of them.
        segment: frames after which loops keep their state, what is between being computed twice; 0 keeps everything.
        executor: what runs the recursions: compiled, plain, or auto, which is compiled where that can be.
        gemm_dtype: bf16 lets the compiled executor round the factors of large products to bfloat16.
        workers: processes that prepare crops; 0 does it in the training process.
        threads: threads of one process on the CPU; torch's default if none.
    """

    frames: int = 50
    batch_size: int = 32
    epochs: int = 300
    max_steps: int | None = None
    optimizer: Literal["adam", "adamw"] = "adam"
    lr: float = 1e-3
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    warmup_steps: int = 100
    lr_schedule: Literal["cosine", "constant"] = "cosine"
    lr_floor: float = 0.05
    clip: float = 500.0
    beta: float = 1.0
    kl_schedule: Literal["linear", "cyclical"] = "linear"
    kl_start: float = 0.0
    kl_warmup: float = 0.0
    kl_cycles: int = 4
    slab_warmup: float = 0.0
    free_bits: float = 0.0
    alpha: float = 0.0
    freeze_sound: float = 0.0
    free_running: float = 0.0
    free_running_start: float = 0.0
    free_running_end: float = 0.0
    begin_at_mean: bool = False
    ema: float = 0.0
    validate_every: float = 1.0
    valid_frames: int = 16000
    patience: int = 20
    save_minutes: float = 2.0
    seed: int = 0
    truncate: int = 0
    segment: int = 0
    executor: Literal["auto", "plain", "compiled"] = "auto"
    gemm_dtype: Literal["float32", "bf16"] = "float32"
    workers: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        positive = ("frames", "batch_size", "epochs", "lr", "eps", "validate_every", "kl_cycles", "valid_frames")
        for name in positive:
            _demand(getattr(self, name) > 0, name, "must be positive", getattr(self, name))
        natural = ("weight_decay", "warmup_steps", "clip", "beta", "kl_start", "kl_warmup", "slab_warmup", "free_bits",
                   "free_running_start", "patience", "save_minutes", "seed", "truncate", "segment",
                   "workers")  # fmt: skip
        for name in natural:
            _demand(getattr(self, name) >= 0, name, "must not be negative", getattr(self, name))
        _demand(0 <= self.free_running <= 1, "free_running", "is a probability", self.free_running)
        _demand(0 <= self.alpha < 1, "alpha", "must lie in [0, 1)", self.alpha)
        _demand(0 <= self.freeze_sound <= 1, "freeze_sound", "is a probability", self.freeze_sound)
        _demand(0 <= self.lr_floor <= 1, "lr_floor", "is a part of lr, from 0 to 1", self.lr_floor)
        _demand(0 <= self.ema < 1, "ema", "must lie in [0, 1)", self.ema)
        _demand(self.free_running_end >= self.free_running_start, "free_running_end", "lies before its start",
                self.free_running_end)  # fmt: skip
        _demand(self.max_steps is None or self.max_steps > 0, "max_steps", "must be positive", self.max_steps)
        _demand(self.threads is None or self.threads > 0, "threads", "must be positive", self.threads)

    def kl_weight(self, epoch: float) -> float:
        """The weight of the KL term at an epoch, β left out."""
        if epoch < self.kl_start:
            return 0.0
        if self.kl_schedule == "cyclical":
            return cyclical(epoch - self.kl_start, self.kl_warmup, self.kl_cycles)
        return linear(epoch - self.kl_start, self.kl_warmup)

    def free_running_at(self, epoch: float) -> float:
        """The probability that a past frame is the model's own at an epoch."""
        return ramp(epoch, self.free_running_start, self.free_running_end, self.free_running)

    def lr_at(self, step: int, total: int) -> float:
        """The learning rate of a step, counted from 0, of ``total``."""
        cosine = self.lr_schedule == "cosine"
        return learning_rate(step, total, peak=self.lr, warmup=self.warmup_steps, floor=self.lr_floor, cosine=cosine)

    @property
    def settled(self) -> float:
        """The epoch from which on all schedules of the objective have their final value."""
        return max(self.kl_start + self.kl_warmup, self.slab_warmup, self.free_running_end)


def _demand(condition: bool, name: str, problem: str, value: object) -> None:
    if not condition:
        raise ConfigError(f"train.{name} {problem}; it is {value}")
