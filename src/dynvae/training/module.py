"""The Lightning module: one step of training, one batch of validation, and nothing about files."""

from __future__ import annotations

__all__ = ["NotFiniteError", "Training", "Verdict"]

from typing import Any, NamedTuple, cast

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dynvae.audio import FrontEnd
from dynvae.condition import Condition
from dynvae.data import Waves, spectra
from dynvae.errors import ConfigError, DynvaeError
from dynvae.models import VSC
from dynvae.models.base import DVAE, ELBO, Latents
from dynvae.recurrence import executor
from dynvae.training.config import TrainConfig
from dynvae.training.objective import elbo_loss, linear
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
        objective: log-likelihood - β KL, which chooses the best weights; of it 1 - α, where there is an α, and α of the
            log-likelihood from the prior.
        elbo: log-likelihood - KL.
        from_prior: the log-likelihood of latents from the prior, where there is an α; else None.
        generation: the ELBO in generation mode, where scheduled sampling is on and does not end there; else None.
    """

    objective: float
    elbo: float
    log_likelihood: float
    kl: float
    kl_w: float
    generation: float | None
    from_prior: float | None = None


Ready = tuple[Tensor, Tensor | None, Condition | None]
"""A batch on its device: observations, lengths if they differ, and the condition if the model sees one."""


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
    """Sums of a validation: log-likelihood, KL of z, KL of w, frames; ELBO in generation mode; log-likelihood from the
    prior."""
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
        if config.slab_warmup and not isinstance(model, VSC):
            raise ConfigError(f"train.slab_warmup is for the vsc; a {type(model).__name__} has no slab")
        self.average: AveragedModel | None = None
        if config.ema > 0:
            self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.ema), use_buffers=True)
            self.average.requires_grad_(False)  # so that neither optimizer nor DDP takes its weights for parameters
        self.register_buffer("tally", torch.zeros(6, dtype=torch.float64), persistent=False)
        self.register_buffer("judged", torch.zeros(6, dtype=torch.float64), persistent=False)
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

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Ready:
        """Keep what the device needs. Full crops have no lengths, which spares the model its masks."""
        if isinstance(batch, Waves):
            front_end = self._front_end
            x, time = batch.samples, front_end.frames(batch.samples.shape[1] - front_end.window_length)
        else:
            x, time = batch.x, batch.x.shape[1]
        condition = getattr(batch, "condition", None) if self.model.condition_dim else None
        return x, None if int(batch.lengths.min()) == time else batch.lengths, condition

    def on_after_batch_transfer(self, batch: Ready, dataloader_idx: int) -> Ready:
        """Make spectra ``(batch, time, bins)`` of samples ``(batch, samples)``, on the device that they are on."""
        x, lengths, condition = batch
        return (spectra(x, lengths, self._front_end) if x.dim() == 2 else x), lengths, condition

    @property
    def _front_end(self) -> FrontEnd:
        front_end = self.model.front_end
        if not isinstance(front_end, FrontEnd):
            raise ConfigError("the data are sound, and the model has no front end for it; set model.front_end")
        return front_end

    def training_step(self, batch: Ready, index: int) -> Tensor:
        x, lengths, condition = batch
        settings, step, world = self.settings, self.step, self.trainer.world_size
        epoch = self.plan.epoch(step)
        torch.manual_seed(stream_seed(settings.seed, "dropout", step, self.global_rank))
        generator = seeded(self.device, settings.seed, "noise", step)
        noise = self._noise(x, generator)
        free_running = settings.free_running_at(epoch)
        options: dict[str, Any] = {}  # which not every model takes
        if settings.truncate:
            options["truncate"] = settings.truncate
        if condition is not None:
            options["condition"] = condition
        if settings.slab_warmup:
            options["slab"] = linear(epoch, settings.slab_warmup)
        if settings.alpha:
            options["prior_noise"] = self._noise(x, seeded(self.device, settings.seed, "prior noise", step)).z
        with executor(settings.executor, gemm_dtype=settings.gemm_dtype, segment=settings.segment):
            elbo = self.model.elbo(x, lengths, noise=noise, generator=generator, free_running=free_running, **options)
        loss = elbo_loss(
            elbo,
            kl_weight=settings.beta * settings.kl_weight(epoch),
            free_bits=settings.free_bits,
            alpha=settings.alpha,
            total=self._total,
        )
        self._batch = x, lengths
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
        for weight, columns in self._frozen:
            if weight.grad is not None:
                weight.grad[..., columns] = 0
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
        kept = [weight.detach()[..., columns].clone() for weight, columns in self._frozen]
        optimizer.step(closure=optimizer_closure)
        with torch.no_grad():
            for (weight, columns), before in zip(self._frozen, kept, strict=True):
                weight[..., columns] = before  # which momentum would have moved
            source = seeded(self.device, self.settings.seed, "codebook", self.step)
            self.model.after_step(*self._batch, generator=source, total=self._total)
        self.step += 1
        if self.average is not None:
            self.average.update_parameters(self.model)

    @property
    def _frozen(self) -> list[tuple[torch.nn.Parameter, slice]]:
        """The weights, or columns of them, that this step leaves as they are."""
        p = self.settings.freeze_sound
        if not p:
            return []
        drawn = torch.rand((), generator=seeded("cpu", self.settings.seed, "freeze", self.step))
        return self.model.sound_path() if float(drawn) < p else []

    # ---- validation ------------------------------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        self.judged.zero_()

    def validation_step(self, batch: Ready, index: int) -> None:
        model = self.best_model
        final = self.settings.free_running if model.autoregressive else 0.0
        elbo = self._validation_elbo(model, batch, index, final)
        loss = elbo_loss(elbo)
        self.judged[:4] += loss.sums
        self.judged[5] += loss.from_prior
        if 0 < final < 1:
            self.judged[4] += self._validation_elbo(model, batch, index, 1.0).total.sum()

    def _validation_elbo(self, model: DVAE, batch: Ready, index: int, free_running: float) -> ELBO:
        """With the same noise each time, so that validations compare."""
        number = index * self.trainer.world_size + self.global_rank
        generator = seeded(self.device, self.settings.seed, "validation", number)
        x, lengths, condition = batch
        options: dict[str, Any] = {} if condition is None else {"condition": condition}
        if self.settings.alpha:
            prior = seeded(self.device, self.settings.seed, "validation of the prior", number)
            options["prior_noise"] = model.draw_noise(x.shape[0], x.shape[1], prior).z
        with executor(self.settings.executor):
            return model.elbo(x, lengths, generator=generator, free_running=free_running, **options)

    def verdict(self) -> Verdict:
        """What the validation found, over all processes."""
        log_likelihood, kl, kl_w, frames, *rest = self._total(self.judged).tolist()
        log_likelihood, kl, kl_w, generation, from_prior = (v / frames for v in (log_likelihood, kl, kl_w, *rest))
        divergence, alpha = kl + kl_w, self.settings.alpha
        mixed = 0 < self.settings.free_running < 1 and self.model.autoregressive
        return Verdict(
            objective=(1 - alpha) * (log_likelihood - self.settings.beta * divergence) + alpha * from_prior,
            elbo=log_likelihood - divergence,
            log_likelihood=log_likelihood,
            kl=kl,
            kl_w=kl_w,
            generation=generation if mixed else None,
            from_prior=from_prior if alpha else None,
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
