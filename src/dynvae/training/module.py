"""The Lightning module: one step of training, one batch of validation, and nothing about files."""

from __future__ import annotations

__all__ = ["NotFiniteError", "Training", "Verdict"]

from typing import Any, NamedTuple, cast

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dynvae.audio import FrontEnd
from dynvae.data import Waves, spectra
from dynvae.errors import ConfigError, DynvaeError
from dynvae.models.base import DVAE, ELBO, Latents
from dynvae.recurrence import executor
from dynvae.training.config import TrainConfig
from dynvae.training.objective import elbo_loss
from dynvae.training.streams import Plan, seeded, stream_seed


class NotFiniteError(DynvaeError):
    """Loss or gradient of a step is NaN or infinite.

    Attributes:
        step: the step, counted from 0.
    """

    def __init__(self, step: int) -> None:
        super().__init__(f"the loss or its gradient is not finite in step {step}")
        self.step = step


class Verdict(NamedTuple):
    """A validation under the final objective, in nats per frame.

    Attributes:
        objective: log-likelihood - β KL, which chooses the best weights.
        elbo: log-likelihood - KL.
        generation: the ELBO in generation mode, where scheduled sampling is on and does not end there; else None.
    """

    objective: float
    elbo: float
    log_likelihood: float
    kl: float
    kl_w: float
    generation: float | None


class Training(pl.LightningModule):
    """Learns a model: every quantity of a step is a function of the step's number, the weights and the data.

    Args:
        model: the model to learn.
        config: the settings.
        plan: steps and epochs.
    """

    tally: Tensor
    """Sums since the last validation: log-likelihood, KL of z, KL of w, frames; norm of the gradient, steps."""
    judged: Tensor
    """Sums of a validation: log-likelihood, KL of z, KL of w, frames; ELBO in generation mode."""
    first_bad: Tensor
    """The first step in which a number was not finite; -1 if there is none."""

    def __init__(self, model: DVAE, config: TrainConfig, plan: Plan) -> None:
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True  # fewer batches of validation than processes
        self.model = model
        self.settings = config
        self.plan = plan
        self.step = 0
        """Steps done."""
        self.average: AveragedModel | None = None
        if config.ema > 0:
            self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.ema), use_buffers=True)
            self.average.requires_grad_(False)  # so that neither optimizer nor DDP takes its weights for parameters
        self.register_buffer("tally", torch.zeros(6, dtype=torch.float64), persistent=False)
        self.register_buffer("judged", torch.zeros(5, dtype=torch.float64), persistent=False)
        self.register_buffer("first_bad", torch.tensor(-1), persistent=False)
        self._optimizer_state: dict[str, Any] | None = None

    # ---- training --------------------------------------------------------------------------------------------------

    @property
    def best_model(self) -> DVAE:
        """The model that is validated and kept: the running average of the weights where there is one."""
        return self.model if self.average is None else cast(DVAE, self.average.module)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        config = self.settings
        kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        # A fused optimizer would divide by the loss scale itself, after the gradient has been clipped.
        fused = self.trainer.precision != "16-mixed"
        optimizer = kind(
            parameters,
            lr=config.lr,
            betas=config.betas,
            eps=config.eps,
            weight_decay=config.weight_decay,
            fused=fused,
        )
        if self._optimizer_state is not None:
            optimizer.load_state_dict(self._optimizer_state)
            self._optimizer_state = None
        return optimizer

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> tuple[Tensor, Tensor | None]:
        """Keep what the device needs. Full crops have no lengths, which spares the model its masks."""
        if isinstance(batch, Waves):
            front_end = self._front_end
            x, time = batch.samples, front_end.frames(batch.samples.shape[1] - front_end.window_length)
        else:
            x, time = batch.x, batch.x.shape[1]
        return x, None if int(batch.lengths.min()) == time else batch.lengths

    def on_after_batch_transfer(
        self, batch: tuple[Tensor, Tensor | None], dataloader_idx: int
    ) -> tuple[Tensor, Tensor | None]:
        """Make spectra ``(batch, time, bins)`` of samples ``(batch, samples)``, on the device that they are on."""
        x, lengths = batch
        return (spectra(x, lengths, self._front_end) if x.dim() == 2 else x), lengths

    @property
    def _front_end(self) -> FrontEnd:
        front_end = self.model.front_end
        if not isinstance(front_end, FrontEnd):
            raise ConfigError("the data are sound, and the model has no front end for it; set model.front_end")
        return front_end

    def training_step(self, batch: tuple[Tensor, Tensor | None], index: int) -> Tensor:
        x, lengths = batch
        settings, step, world = self.settings, self.step, self.trainer.world_size
        epoch = self.plan.epoch(step)
        torch.manual_seed(stream_seed(settings.seed, "dropout", step, self.global_rank))
        generator = seeded(self.device, settings.seed, "noise", step)
        noise = self._noise(x, generator)
        free_running = settings.free_running_at(epoch)
        cut = {"truncate": settings.truncate} if settings.truncate else {}  # not every model takes it
        with executor(settings.executor, gemm_dtype=settings.gemm_dtype, segment=settings.segment):
            elbo = self.model.elbo(x, lengths, noise=noise, generator=generator, free_running=free_running, **cut)
        loss = elbo_loss(
            elbo, kl_weight=settings.beta * settings.kl_weight(epoch), free_bits=settings.free_bits, total=self._total
        )
        self._notice(loss.value.detach())
        self.tally[:4] += loss.sums
        return loss.value * world  # DDP averages the gradients of the processes; they must add up

    def _noise(self, x: Tensor, generator: torch.Generator) -> Latents:
        """The rows of this process in the noise of the whole batch: the same however many processes share it."""
        rows, time = x.shape[:2]
        whole = self.model.draw_noise(rows * self.trainer.world_size, max(time, self.settings.frames), generator)
        first = rows * self.global_rank
        if 0 < self.settings.free_running < 1 and first:
            torch.rand(
                first, time, generator=generator, device=x.device, dtype=x.dtype
            )  # the draws of the earlier rows
        w = None if whole.w is None else whole.w[first : first + rows]
        return Latents(whole.z[first : first + rows, :time], w)

    def _total(self, tensor: Tensor) -> Tensor:
        if self.trainer.world_size == 1:
            return tensor
        reduced: Tensor = self.trainer.strategy.reduce(tensor.clone(), reduce_op="sum")
        return reduced

    def configure_gradient_clipping(self, optimizer: Any, *unused: Any, **ignored: Any) -> None:
        """Clip the norm, and note it: a step with a bad one must not reach the weights."""
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients, foreach=True)
        if self.trainer.precision != "16-mixed":  # there, an infinite gradient only lowers the loss scale
            self._notice(norm)
        if self.device.type == "cpu":
            self.check_finite()
        if self.settings.clip > 0:
            torch.nn.utils.clip_grads_with_norm_(self.model.parameters(), self.settings.clip, norm, foreach=True)
        share = 1 / self.trainer.world_size  # every process sees the same norm, and the tallies are added up
        self.tally[4] += norm * share
        self.tally[5] += share

    def _notice(self, number: Tensor) -> None:
        """Note, without waiting for the device, the first step in which a number was not finite."""
        bad = ~number.isfinite() & (self.first_bad < 0)
        self.first_bad = torch.where(bad, self.step, self.first_bad)

    def check_finite(self) -> None:
        """Raise if a number of some step so far was not finite. This waits for the device.

        Raises:
            NotFiniteError: with the first such step.
        """
        step = int(self.first_bad)
        if step >= 0:
            raise NotFiniteError(step)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        for group in optimizer.param_groups:
            group["lr"] = self.settings.lr_at(self.step, self.plan.total_steps)
        optimizer.step(closure=optimizer_closure)
        self.step += 1
        if self.average is not None:
            self.average.update_parameters(self.model)

    # ---- validation ------------------------------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        self.judged.zero_()

    def validation_step(self, batch: tuple[Tensor, Tensor | None], index: int) -> None:
        model = self.best_model
        final = self.settings.free_running if model.autoregressive else 0.0
        elbo = self._validation_elbo(model, batch, index, final)
        self.judged[:4] += elbo_loss(elbo).sums
        if 0 < final < 1:
            self.judged[4] += self._validation_elbo(model, batch, index, 1.0).total.sum()

    def _validation_elbo(
        self, model: DVAE, batch: tuple[Tensor, Tensor | None], index: int, free_running: float
    ) -> ELBO:
        """With the same noise each time, so that validations compare."""
        number = index * self.trainer.world_size + self.global_rank
        generator = seeded(self.device, self.settings.seed, "validation", number)
        with executor(self.settings.executor):
            return model.elbo(*batch, generator=generator, free_running=free_running)

    def verdict(self) -> Verdict:
        """What the validation found, over all processes."""
        log_likelihood, kl, kl_w, frames, generation = self._total(self.judged).tolist()
        log_likelihood, kl, kl_w, generation = (v / frames for v in (log_likelihood, kl, kl_w, generation))
        divergence = kl + kl_w
        mixed = 0 < self.settings.free_running < 1 and self.model.autoregressive
        return Verdict(
            objective=log_likelihood - self.settings.beta * divergence,
            elbo=log_likelihood - divergence,
            log_likelihood=log_likelihood,
            kl=kl,
            kl_w=kl_w,
            generation=generation if mixed else None,
        )

    # ---- state -----------------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """All that the following steps depend on. Every process must call it."""
        scaler = self.trainer.precision_plugin.state_dict()
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.trainer.optimizers[0].state_dict(),
            "scaler": scaler or None,
            "tally": self._total(self.tally),
        }

    def restore(self, state: dict[str, Any], *, main: bool = True) -> None:
        """Go on from a snapshot; before the training starts."""
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        if self.average is not None and state["average"] is not None:
            self.average.load_state_dict(state["average"])
        self._optimizer_state = state["optimizer"]
        self.tally.copy_(state["tally"] if main else torch.zeros_like(self.tally))
