"""A training run from beginning to end, and again from where it was stopped."""

from __future__ import annotations

__all__ = ["Machine", "Outcome", "TrainingData", "fit"]

import contextlib
import dataclasses
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from torch.utils.data import DataLoader, Dataset

from dynvae.data.sampling import BatchByLength
from dynvae.errors import CheckpointError, ConfigError, DynvaeError, require
from dynvae.files import atomic_write
from dynvae.models.base import DVAE
from dynvae.training.config import TrainConfig
from dynvae.training.folder import RunFolder
from dynvae.training.streams import Plan, StepSampler

logger = logging.getLogger(__name__)

COLLAPSED = 0.01
"""Nats per frame; a KL below says that the latents carry nothing."""


@dataclass(frozen=True)
class Machine:
    """Where to train.

    Args:
        accelerator: auto takes a GPU if there is one.
        devices: processes on each machine, each with a GPU of its own if there are GPUs.
        strategy: of Lightning, e.g. ddp; auto takes ddp where there are several processes.
        num_nodes: machines.
        precision: 32-true, bf16-mixed, 16-mixed or 64-true; likelihood and loss have at least 32 bits.
    """

    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int = 1
    strategy: str = "auto"
    num_nodes: int = 1
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "64-true"] = "32-true"


@dataclass(frozen=True)
class TrainingData:
    """What a run trains and validates on.

    Args:
        crops: training items, by (epoch, index).
        utterances: validation items.
        lengths: frames of each validation item.
        collate: makes a batch, with ``x``, ``lengths`` and ``names``, of some items.
    """

    crops: Dataset[Any]
    utterances: Dataset[Any]
    lengths: Sequence[int]
    collate: Callable[[list[Any]], Any]


@dataclass(frozen=True)
class Outcome:
    """What a run has come to.

    Attributes:
        folder: where it is; ``folder / "model"`` holds the best weights.
        step: steps done.
        best: the validation of the best weights, nats per frame, with its ``step`` and ``epoch``.
        signum: the signal that stopped it before its end; 0 if it has come to its end.
    """

    folder: Path
    step: int
    best: dict[str, Any] = field(default_factory=dict)
    signum: int = 0


def fit(
    model: DVAE,
    data: TrainingData,
    out: str | os.PathLike[str],
    config: TrainConfig | None = None,
    machine: Machine | None = None,
    *,
    resume: bool = False,
    progress: bool = False,
    settings: dict[str, Any] | None = None,
) -> Outcome:
    """Train a model and keep its best weights, judged on the validation data under the final objective.

    Args:
        model: to be trained in place; it ends with the weights of the last step.
        data: what to train and to validate on.
        out: the folder of the run.
        config: how to train.
        machine: where to train.
        resume: go on from the newest whole checkpoint of the folder, if it has one. On a CPU the numbers are the
            same, bit for bit, as without the interruption.
        progress: show a bar on the terminal.
        settings: all else that ``config.yaml`` and the model's card should tell, e.g. the data and the model's name.

    Raises:
        ConfigError: the folder is in use or holds another run.
        CheckpointError: a checkpoint cannot be written, or none can be read.
        DynvaeError: loss or gradient are not finite; the text names the files of the batch.
    """
    require("lightning.pytorch", "train")
    config, machine = config or TrainConfig(), machine or Machine()
    processes = machine.devices * machine.num_nodes
    plan = Plan.make(config, data.crops, processes)  # type: ignore[arg-type]
    if not data.lengths:
        raise ConfigError("there is nothing to validate on; give the corpus a validation split")
    facts = {**(settings or {}), "train": dataclasses.asdict(config)}
    folder = RunFolder(out)
    main = int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0
    with folder.lock() if main else contextlib.nullcontext():
        state = _prepare(folder, facts, plan, resume=resume, main=main)
        if state is not None and _finished(state, config, plan):
            logger.info("%s has come to its end at step %d; more epochs or patience continue it", out, state["step"])
            return Outcome(folder.path, state["step"], state["best"])
        if main:
            _write_config(folder, {**facts, **dataclasses.asdict(machine)})
            logger.info("writing to %s: %d crops, %d steps an epoch, up to %d steps", out, plan.items,
                        plan.steps_per_epoch, plan.total_steps)  # fmt: skip
        with _quiet(), _threads(config.threads), torch.random.fork_rng(), _plain_errors(folder):
            return _run(model, data, folder, config, machine, plan, state, facts, progress, main)


def _prepare(
    folder: RunFolder, facts: dict[str, Any], plan: Plan, *, resume: bool, main: bool
) -> dict[str, Any] | None:
    """The state to go on from, if any, and a folder that is ready for it."""
    if main:
        if not resume and (folder.metrics.exists() or folder.checkpoints.paths()):
            raise ConfigError(f"{folder.path} holds a run already; continue it with --resume or choose another folder")
        folder.repair()
    state = folder.checkpoints.load() if resume else None
    if main and resume:
        folder.forget_after(0 if state is None else state["step"])
    if state is None:
        return None
    before = json.loads(state["facts"])
    for key in ("name", "model", "front_end"):
        if key in before and before[key] != json.loads(json.dumps(facts.get(key))):
            raise ConfigError(
                f"{folder.path} was begun with {key} = {before[key]}; it cannot go on with {facts.get(key)}"
            )
    if before["items"] != plan.items:
        logger.warning("the run was begun with %d crops, there are %d now", before["items"], plan.items)
    logger.info("going on from step %d", state["step"])
    return state


def _finished(state: dict[str, Any], config: TrainConfig, plan: Plan) -> bool:
    return state["step"] >= plan.total_steps or 0 < config.patience <= state["waited"]


def _run(
    model: DVAE,
    data: TrainingData,
    folder: RunFolder,
    config: TrainConfig,
    machine: Machine,
    plan: Plan,
    state: dict[str, Any] | None,
    facts: dict[str, Any],
    progress: bool,
    main: bool,
) -> Outcome:
    import lightning.pytorch as pl

    from dynvae.training.callbacks import Interrupted, Keeper, Progress
    from dynvae.training.module import NotFiniteError, Training

    module = Training(model, config, plan)
    if state is not None:
        module.restore(state, main=main)
    keeper = Keeper(folder, {**facts, "items": plan.items}, state)
    trainer = pl.Trainer(
        accelerator=_accelerator(machine),
        devices=machine.devices,
        num_nodes=machine.num_nodes,
        strategy=_strategy(machine),
        precision=machine.precision,
        max_epochs=-1,
        callbacks=[keeper, *([Progress()] if progress and main else [])],
        default_root_dir=folder.path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        inference_mode=False,
        use_distributed_sampler=False,
    )
    sampler = StepSampler(
        data.crops,  # type: ignore[arg-type]
        plan,
        config.batch_size,
        config.seed,
        rank=trainer.global_rank,
        processes=trainer.world_size,
    )
    steps = _Steps(module, sampler, data, config)
    signum = 0
    try:
        trainer.fit(module, steps, _validation_loader(data, config, trainer.global_rank, trainer.world_size))
    except Interrupted as interruption:
        signum = interruption.signum
    except NotFiniteError as error:
        names = data.collate([data.crops[key] for key in sampler.batch(error.step)]).names
        kept = next((str(path) for path in folder.checkpoints.paths()), "none yet")
        raise DynvaeError(
            f"{error} (epoch {plan.epoch(error.step):.2f}); files of its batch: "
            f"{', '.join(dict.fromkeys(map(str, names)))}; last good checkpoint: {kept}; "
            "scan the files with 'dynvae check', or lower train.lr"
        ) from error
    best = keeper.best
    if not signum and best.get("kl", 1.0) + best.get("kl_w", 0.0) < COLLAPSED:
        logger.warning("the KL of the best weights is %.4f nats/frame: the latents carry nothing (posterior collapse); "
                       "try train.kl_warmup, train.free_bits or a smaller train.beta", best["kl"])  # fmt: skip
    return Outcome(folder.path, module.step, best, signum)


class _Steps:
    """What lies between here and the next validation; to Lightning that is an epoch, of unknown length."""

    def __init__(self, module: Any, sampler: StepSampler, data: TrainingData, config: TrainConfig) -> None:
        self.module, self.sampler = module, sampler
        self.loader = DataLoader(
            data.crops,
            batch_sampler=sampler,
            collate_fn=data.collate,
            num_workers=config.workers,
            persistent_workers=config.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def __iter__(self) -> Iterator[Any]:
        self.sampler.start = self.module.step
        self.sampler.stop = self.sampler.plan.stop(self.module.step)
        yield from self.loader


def _validation_loader(data: TrainingData, config: TrainConfig, rank: int, processes: int) -> DataLoader[Any]:
    """Whole utterances, like lengths together, every ``processes``-th batch from the ``rank``-th on."""
    batches = list(BatchByLength(data.lengths, batch_size=config.batch_size, max_frames=config.valid_frames))
    return DataLoader(data.utterances, batch_sampler=batches[rank::processes], collate_fn=data.collate)


def _accelerator(machine: Machine) -> str:
    if machine.accelerator == "auto":
        return "gpu" if torch.cuda.is_available() else "cpu"
    return machine.accelerator


def _strategy(machine: Machine) -> Any:
    from lightning.pytorch.strategies import DDPStrategy

    several = machine.devices * machine.num_nodes > 1
    if machine.strategy == "ddp" or (machine.strategy == "auto" and several):
        backend = "nccl" if _accelerator(machine) == "gpu" else "gloo"
        # Buffers are constants or follow from the weights; sharing them would need equally many batches everywhere.
        return DDPStrategy(broadcast_buffers=False, gradient_as_bucket_view=True, process_group_backend=backend)
    return machine.strategy


def _write_config(folder: RunFolder, facts: dict[str, Any]) -> None:
    plain = json.loads(json.dumps(facts))
    with atomic_write(folder.config) as temp:
        temp.write_text(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), encoding="utf-8")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what Lightning says to everybody; errors still come through."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "lightning")]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"(lightning|torch\.utils\.tensorboard|tensorboard)(\..*)?")
        try:
            yield
        finally:
            for each, level in zip(loggers, levels, strict=True):
                each.setLevel(level)


@contextlib.contextmanager
def _threads(number: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if number is not None:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _plain_errors(folder: RunFolder) -> Iterator[None]:
    """Say in one line what the file system has refused."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{error.filename or folder.path} could not be written or read ({error.strerror or error}); "
            "mend that, then go on with --resume"
        ) from error
