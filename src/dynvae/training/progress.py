"""The progress bar of a training run."""

from __future__ import annotations

__all__ = ["Progress"]

import time
from typing import Any

import lightning.pytorch as pl


class Progress(pl.Callback):
    """A bar on the terminal with the split of the loss; it looks at the device twice a second, not each step."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self.bar = Bar(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            TextColumn("{task.fields[split]}"), console=Console(stderr=True), refresh_per_second=2,
        )  # fmt: skip
        self._shown = 0.0

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        self._task = self.bar.add_task("train", total=module.plan.total_steps, completed=module.step, split="")
        self.bar.start()

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if time.monotonic() - self._shown < 0.5 and not module.plan.validates(module.step):
            return
        self._shown = time.monotonic()
        log_likelihood, kl, kl_w, frames, *_ = module.tally.tolist()
        divergence, frames = kl + kl_w, max(frames, 1.0)
        split = (
            f"{(log_likelihood - divergence) / frames:.1f} = {log_likelihood / frames:.1f} - {divergence / frames:.1f}"
        )
        self.bar.update(self._task, completed=module.step, split=f"{split} nats/frame")

    def teardown(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        self.bar.stop()

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        self.bar.stop()
