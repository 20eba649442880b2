"""A training run from beginning to end, and again from where it was stopped."""

from __future__ import annotations

__all__ = ["Outcome", "fit"]

import contextlib
import dataclasses
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dynvae.errors import CheckpointError, ConfigError, DynvaeError, require
from dynvae.files import atomic_write
from dynvae.models.base import DVAE
from dynvae.training.config import TrainConfig
from dynvae.training.folder import RunFolder
from dynvae.training.loaders import Steps, TrainingData, validation_loader
from dynvae.training.machine import Machine, accelerator, is_main, own_randomness, quiet, strategy, threads
from dynvae.training.statistics import settle
from dynvae.training.streams import Plan, StepSampler

logger = logging.getLogger(__name__)

COLLAPSED = 0.01
"""Nats per frame; a KL below says that the latents carry nothing."""


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
    main = is_main()
    with folder.lock() if main else contextlib.nullcontext():
        state = _prepare(folder, facts, plan, resume=resume, main=main)
        if state is not None and _finished(state, config, plan):
            logger.info("%s has come to its end at step %d; more epochs or patience continue it", out, state["step"])
            return Outcome(folder.path, state["step"], state["best"])
        if main:
            _write_config(folder, {**facts, **dataclasses.asdict(machine)})
            logger.info("writing to %s: %d crops, %d steps an epoch, up to %d steps", out, plan.items,
                        plan.steps_per_epoch, plan.total_steps)  # fmt: skip
        with quiet(), threads(config.threads), own_randomness(), _plain_errors(folder):
            return _run(model, data, folder, config, machine, plan, state, facts, progress, main)


def _prepare(
    folder: RunFolder, facts: dict[str, Any], plan: Plan, *, resume: bool, main: bool
) -> dict[str, Any] | None:
    """The state to go on from, if any, and a folder that is ready for it."""
    if main:
        if not resume and (folder.metrics.exists() or folder.checkpoints.paths()):
            raise ConfigError(f"{folder.path} holds a run already; continue it with --resume or choose another folder")
        folder.clean()
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
    if before["crops"] != plan.items:
        logger.warning("the run was begun with %d crops, there are %d now", before["crops"], plan.items)
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
    from dynvae.training.keeper import Interrupted, Keeper
    from dynvae.training.module import NotFiniteError, Training
    from dynvae.training.progress import Progress

    if machine.precision == "64-true":
        model.double()  # as Lightning will, but before a state is put into it
    if state is None:
        settle(model, data, begin=config.begin_at_mean and not facts.get("init"))
    module = Training(model, config, plan)
    if state is not None:
        module.restore(state, main=main)
    keeper = Keeper(folder, {**facts, "crops": plan.items}, state)
    trainer = _trainer(folder, machine, [keeper, *([Progress()] if progress and main else [])])
    sampler = StepSampler(
        data.crops,  # type: ignore[arg-type]
        plan,
        config.batch_size,
        config.seed,
        rank=trainer.global_rank,
        processes=trainer.world_size,
    )
    steps = Steps(module, sampler, data, config)
    signum = 0
    try:
        trainer.fit(module, steps, validation_loader(data, config, trainer.global_rank, trainer.world_size))
    except Interrupted as interruption:
        signum = interruption.signum
    except NotFiniteError as error:
        names = data.batch(sampler.batch(error.step)).names
        kept = next((str(path) for path in folder.checkpoints.paths()), "none yet")
        raise DynvaeError(
            f"{error} (epoch {plan.epoch(error.step):.2f}); files of its batch: "
            f"{', '.join(dict.fromkeys(map(str, names)))}; last good checkpoint: {kept}; "
            "scan the files with 'dynvae check', or lower train.lr"
        ) from error
    best = keeper.best
    if model.z_dim and not signum and best.get("kl", 1.0) + best.get("kl_w", 0.0) < COLLAPSED:
        logger.warning("the KL of the best weights is %.4f nats/frame: the latents carry nothing (posterior collapse); "
                       "try train.kl_warmup, train.free_bits or a smaller train.beta", best["kl"])  # fmt: skip
    return Outcome(folder.path, module.step, best, signum)


def _trainer(folder: RunFolder, machine: Machine, callbacks: list[Any]) -> Any:
    """Lightning's loop without its own files, bars, loggers and samplers."""
    import lightning.pytorch as pl
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    try:
        return pl.Trainer(
            accelerator=accelerator(machine),
            devices=machine.devices,
            num_nodes=machine.num_nodes,
            strategy=strategy(machine),
            precision=machine.precision,
            max_epochs=-1,
            callbacks=callbacks,
            default_root_dir=folder.path,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            inference_mode=False,
            use_distributed_sampler=False,
        )
    except (MisconfigurationException, ValueError, RuntimeError) as error:
        raise ConfigError(f"this machine cannot train so: {' '.join(str(error).split())}") from error


def _write_config(folder: RunFolder, facts: dict[str, Any]) -> None:
    plain = json.loads(json.dumps(facts))
    with atomic_write(folder.config) as temp:
        temp.write_text(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), encoding="utf-8")


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
