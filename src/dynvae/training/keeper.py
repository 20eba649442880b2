"""What happens round the steps: judging, logging, saving, stopping."""

from __future__ import annotations

__all__ = ["Interrupted", "Keeper"]

import contextlib
import json
import logging
import math
import os
import platform
import signal
import time
from collections.abc import Iterator
from typing import Any

import lightning.pytorch as pl
import torch

import dynvae
from dynvae.training.folder import RunFolder
from dynvae.training.module import Training, Verdict

logger = logging.getLogger(__name__)


class Interrupted(BaseException):
    """The run was asked to stop, and its state is saved.

    Attributes:
        signum: the signal that asked.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


class Keeper(pl.Callback):
    """Judges each validation, keeps the best weights, the log and the checkpoints, and stops the run when it is time.

    Args:
        folder: where all is kept.
        facts: settings of the run, for checkpoints and for the card of the best model.
        state: what an earlier part of the run has left, to go on from.
    """

    def __init__(self, folder: RunFolder, facts: dict[str, Any], state: dict[str, Any] | None = None) -> None:
        self.folder = folder
        self.facts = facts
        self.best: dict[str, Any] = {"objective": float("-inf"), "step": 0, "epoch": 0.0}
        self.waited = 0
        self.seconds = 0.0
        self._trained = self._carried = 0.0  # seconds before the validation; frames before this part of the run
        self._begin = 0 if state is None else state["step"] + 1
        if state is not None:
            self.best, self.waited, self.seconds = dict(state["best"]), state["waited"], state["seconds"]
        self.asked = 0
        """The signal that asks to stop; 0 if none has come."""
        self._mark = self._begun = time.monotonic()
        self._saved = float("-inf")  # so that the first validation leaves a checkpoint
        self._writer: Any = None
        self._stack = contextlib.ExitStack()

    # ---- signals ---------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        def ask(signum: int, frame: Any) -> None:
            if self.asked:  # asked twice: leave at once
                os._exit(128 + signum)
            self.asked = signum

        previous = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        # Lightning's own handlers, set by now, would skip the saving; it puts back the original ones at its end.
        with contextlib.suppress(ValueError):  # not in the main thread: then signals are somebody else's
            self._stack.enter_context(self._signals())
        self._mark = self._begun = time.monotonic()
        self._carried = float(module._total(module.tally)[3])

    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._trained = time.monotonic() - self._mark

    # ---- steps -----------------------------------------------------------------------------------------------------

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if module.device.type != "cpu" and module.step % 50 == 0:
            module.check_finite()
        if module.plan.validates(module.step):
            return  # whatever is to be saved, is saved with the verdict
        since = max(self._saved, self._begun)
        due = time.monotonic() - since >= 60 * module.settings.save_minutes
        signum, save = self._agree(trainer, module, self.asked, int(due))
        if signum or save:
            self._save(trainer, module)
        if signum:
            raise Interrupted(signum)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: Any) -> None:
        """After each validation: an epoch of Lightning's is what lies between two of them."""
        module.check_finite()
        verdict = module.verdict()
        tally = module._total(module.tally).tolist()
        module.tally.zero_()
        frames_per_second = (tally[3] - self._carried) / max(self._trained, 1e-9)
        self._carried = 0.0
        now = time.monotonic()
        self.seconds += now - self._mark
        self._mark = now
        improved = self._judge(trainer, module, verdict)
        over = module.step >= module.plan.total_steps or self._out_of_patience(module)
        if trainer.is_global_zero:
            self._log(module, verdict, tally, frames_per_second, improved)
        due = over or time.monotonic() - self._saved >= 60 * module.settings.save_minutes
        signum, save = self._agree(trainer, module, self.asked, int(due))
        if signum or save:
            self._save(trainer, module)
        if over:
            trainer.should_stop = True
        elif signum:
            raise Interrupted(signum)

    def _judge(self, trainer: pl.Trainer, module: Training, verdict: Verdict) -> bool:
        epoch = module.plan.epoch(module.step)
        if verdict.objective > self.best["objective"]:
            self.best = {**verdict._asdict(), "step": module.step, "epoch": epoch}
            self.waited = 0
            if trainer.is_global_zero:
                self.folder.save_best(module.best_model, self._card())
            return True
        if not math.isfinite(verdict.objective):
            logger.warning("the validation at step %d is not finite; these weights are passed over", module.step)
        if epoch > module.settings.settled:  # while schedules still move, waiting would be unfair
            self.waited += 1
        return False

    def _card(self) -> dict[str, Any]:
        """What people should know of the best weights; the model's own arguments stand elsewhere."""
        known = {key: value for key, value in self.facts.items() if key not in ("name", "model", "train")}
        environment = {"dynvae": dynvae.__version__, "python": platform.python_version(), "torch": torch.__version__,
                       "system": platform.system(), "machine": platform.machine()}  # fmt: skip
        return {
            "training": known,
            "settings": self.facts["train"],
            "validation": self.best,
            "environment": environment,
        }

    def _out_of_patience(self, module: Training) -> bool:
        return 0 < module.settings.patience <= self.waited

    def _agree(self, trainer: pl.Trainer, module: Training, signum: int, due: int) -> tuple[int, int]:
        """All processes stop and save together, when any of them must."""
        if trainer.world_size == 1:
            return signum, due
        import torch.distributed

        request = torch.tensor([signum, due], device=module.device)
        torch.distributed.all_reduce(request, op=torch.distributed.ReduceOp.MAX)
        signum, due = request.tolist()
        return signum, due

    def _save(self, trainer: pl.Trainer, module: Training) -> None:
        module.check_finite()
        state = module.snapshot()
        if trainer.is_global_zero:
            seconds = self.seconds + time.monotonic() - self._mark
            self.folder.checkpoints.save(
                {**state, "best": self.best, "waited": self.waited, "seconds": seconds, "facts": json.dumps(self.facts)}
            )
        self._saved = time.monotonic()

    # ---- log -------------------------------------------------------------------------------------------------------

    def _log(
        self, module: Training, verdict: Verdict, tally: list[float], frames_per_second: float, improved: bool
    ) -> None:
        log_likelihood, kl, kl_w, frames, norm, steps = tally
        frames, steps = max(frames, 1.0), max(steps, 1.0)
        epoch = module.plan.epoch(module.step - 1)  # the last step done, as the schedules saw it
        row: dict[str, Any] = {
            "step": module.step,
            "epoch": round(module.plan.epoch(module.step), 4),
            "train_elbo": (log_likelihood - kl - kl_w) / frames,
            "train_log_likelihood": log_likelihood / frames,
            "train_kl": kl / frames,
            "valid_objective": verdict.objective,
            "valid_elbo": verdict.elbo,
            "valid_log_likelihood": verdict.log_likelihood,
            "valid_kl": verdict.kl,
        }
        if module.model.w_dim:
            row |= {"train_kl_w": kl_w / frames, "valid_kl_w": verdict.kl_w}
        if verdict.generation is not None:
            row["valid_elbo_generation"] = verdict.generation
        if verdict.from_prior is not None:
            row["valid_log_likelihood_from_prior"] = verdict.from_prior
        row |= {
            "best": int(improved),
            "kl_weight": module.settings.kl_weight(epoch),
            "free_running": module.settings.free_running_at(epoch),
            "lr": module.settings.lr_at(module.step - 1, module.plan.total_steps),
            "grad_norm": norm / steps,
            "seconds": round(self.seconds, 2),
            "frames_per_second": round(frames_per_second),
        }
        self.folder.append(row)
        if self._writer is not None:
            for name, value in row.items():
                if name not in ("step", "epoch"):
                    group, _, rest = name.partition("_")
                    tag = f"{group}/{rest}" if group in ("train", "valid") else name
                    self._writer.add_scalar(tag, value, module.step)
        logger.info(
            "epoch %g  step %d  train %.2f = %.2f - %.2f  valid %.2f = %.2f - %.2f nats/frame  %.0f frames/s%s",
            row["epoch"], module.step, row["train_elbo"], row["train_log_likelihood"], (kl + kl_w) / frames,
            verdict.elbo, verdict.log_likelihood, verdict.kl + verdict.kl_w, row["frames_per_second"],
            "  best" if improved else "",
        )  # fmt: skip

    def setup(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        if trainer.is_global_zero:
            with contextlib.suppress(ImportError):
                from torch.utils.tensorboard import SummaryWriter

                self._writer = SummaryWriter(str(self.folder.path / "tensorboard"), purge_step=self._begin)

    def teardown(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        self._close()

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        self._stack.close()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
