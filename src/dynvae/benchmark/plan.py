"""What a benchmark is to do: its settings, the rows of its table, and the jobs that make them."""

from __future__ import annotations

__all__ = ["RESULT", "ROWS", "BenchmarkConfig", "Job", "Row", "plan"]

import dataclasses
import inspect
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from dynvae.errors import ConfigError
from dynvae.metrics import METRICS
from dynvae.models import DVAE, PRESETS, ZOO
from dynvae.training import TrainConfig

Mode = Literal["teacher-forced", "generation"]
RESULT = "result.json"
"""What a run leaves in its folder when it is trained and measured."""
MODES: tuple[Mode, ...] = ("teacher-forced", "generation")


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        name: how commands call it.
        title: how the table calls it.
        model: a preset of :data:`dynvae.models.PRESETS`.
        init: the row whose trained weights it starts from; empty for none.
        free_running: scheduled sampling up to this probability, which it reaches half-way through its epochs.
    """

    name: str
    title: str
    model: str
    init: str = ""
    free_running: float = 0.0

    @property
    def kind(self) -> type[DVAE]:
        """The class of the model."""
        return ZOO[PRESETS[self.model][0]]


def _title(preset: str) -> str:
    kind, _, variant = preset.partition("-")
    title = {"hit": "HiT-DVAE", "light": "LigHT-DVAE"}.get(kind, kind.upper())
    return f"{title}-{variant}" if variant else title


_SEES_MORE = ("av-cvae", "av-dkf", "min-vae", "mvae", "mdvae")  # than sound

ROWS: dict[str, Row] = {
    **{name: Row(name, _title(name), name) for name, (kind, _) in PRESETS.items() if kind not in _SEES_MORE},
    "srnn-ss": Row("srnn-ss", "SRNN-SS", "srnn", init="srnn", free_running=1.0),
}
"""Every row there is: the presets that learn from sound alone, and the SRNN that goes on from its trained self with
scheduled sampling."""

_COST = {"vae": 1, "dkf": 5, "storn": 5, "rvae-causal": 7, "srnn": 8, "vrnn": 9, "rvae": 11, "kvae": 12, "dsae": 13}
_COST |= {name: 120 for name, (kind, _) in PRESETS.items() if kind in ("hit", "light")}
"""About the time of a training step on a CPU: long runs begin early, so that none is left alone at the end."""


@dataclass(frozen=True)
class BenchmarkConfig:
    """The settings of a benchmark.

    Args:
        data: folder of audio, manifest, or ``"builtin"``; it needs the splits train, valid and test.
        out: folder of the results; the runs are in ``out/runs``.
        models: rows of the table, in its order.
        seeds: of weights, crops and noise: one run of each row for each.
        modes: an autoregressive model is measured in each of them, others once.
        front_end: ``"64ms"`` or ``"32ms"``.
        train: how to train, but for the seed.
        rows: for each row, what differs: ``{"kvae": {"model": {...}, "train": {...}}}``.
        files: at most so many files of a split, spread evenly over it; all by default.
        latents: ``"sample"`` of the posterior or its ``"mean"``.
        metrics: scores to compute.
        examples: test files whose sound, spectrogram and latents are in the report.
        jobs: runs at a time, each in a process of its own; 0 chooses by the machine's cores.
        threads: threads of each of them; 0 shares the machine's cores between them.
    """

    data: str
    out: str
    models: tuple[str, ...] = tuple(ROWS)
    seeds: tuple[int, ...] = (0,)
    modes: tuple[Mode, ...] = MODES
    front_end: str = "64ms"
    train: TrainConfig = field(default_factory=TrainConfig)
    rows: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    files: Mapping[str, int] = field(default_factory=dict)
    latents: Literal["sample", "mean"] = "sample"
    metrics: tuple[str, ...] = tuple(METRICS)
    examples: int = 3
    jobs: int = 0
    threads: int = 0

    def __post_init__(self) -> None:
        _known("models", self.models, ROWS)
        _known("rows", self.rows, ROWS)
        _known("modes", self.modes, MODES)
        _known("metrics", self.metrics, METRICS)
        _known("files", self.files, ("train", "valid", "test"))
        for name in ("models", "seeds", "modes"):
            if not getattr(self, name):
                raise ConfigError(f"{name} is empty; give at least one")
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ConfigError(f"{name} names something twice: {', '.join(map(str, getattr(self, name)))}")
        for name, numbers in (
            ("seeds", self.seeds),
            ("examples, jobs or threads", (self.examples, self.jobs, self.threads)),
        ):
            if min(numbers) < 0:
                raise ConfigError(f"{name} must not be negative")
        if self.files and min(self.files.values()) < 1:
            raise ConfigError("files must be positive numbers")
        for name, row in self.rows.items():
            _known(f"rows.{name}", row, ("model", "train"))
            _known(f"rows.{name}.train", row.get("train") or {}, [f.name for f in dataclasses.fields(TrainConfig)])
            _known(f"rows.{name}.model", row.get("model") or {}, _arguments(ROWS[name].kind))


def _arguments(kind: type[DVAE]) -> list[str]:
    own = [*inspect.signature(kind.__init__).parameters, *inspect.signature(DVAE.__init__).parameters]
    return sorted(set(own) - {"self", "x_dim", "w_dim", "args", "kwargs"})


def _known(where: str, names: Iterable[str], known: Iterable[str]) -> None:
    known = list(known)
    for name in names:
        if name not in known:
            near = get_close_matches(str(name), known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(known)}"
            raise ConfigError(f"there is no '{name}' in {where}; {hint}")


@dataclass(frozen=True)
class Job:
    """One run of one row: train it, measure it. It is written down as JSON for the process that does it.

    Attributes:
        row: its name.
        seed: of everything random.
        folder: of the run.
        data: what `Corpus.open` takes, with absolute paths.
        front_end: by name.
        model: arguments of the model.
        init: folder of the run to start from; empty for none.
        train: settings of `TrainConfig`.
        modes: to measure it in.
        latents: at the measuring.
        metrics: to compute.
    """

    row: str
    seed: int
    folder: str
    data: str
    front_end: str
    model: Mapping[str, Any]
    init: str
    train: Mapping[str, Any]
    modes: tuple[str, ...]
    latents: str
    metrics: tuple[str, ...]

    @property
    def name(self) -> str:
        """Row and seed, as the folder is called."""
        return Path(self.folder).name

    @property
    def path(self) -> Path:
        """The folder."""
        return Path(self.folder)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return plain

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Job:
        """The inverse of :meth:`to_json`."""
        return cls(**{**plain, "modes": tuple(plain["modes"]), "metrics": tuple(plain["metrics"])})

    @property
    def identity(self) -> dict[str, Any]:
        """Plain values that stay the same when the folder of the benchmark is moved."""
        return {**self.to_json(), "folder": self.name, "init": Path(self.init).name}

    def training_settings(self) -> dict[str, Any]:
        """What must not have changed for a run to go on: all but its length and its manner of working."""
        length = ("epochs", "max_steps", "patience", "free_running_end", "kl_start", "kl_warmup")
        manner = ("save_minutes", "workers", "threads", "valid_frames")
        train = {name: value for name, value in self.train.items() if name not in length + manner}
        names = ("data", "front_end", "model", "init")
        return {**{name: self.identity[name] for name in names}, **train}


def plan(config: BenchmarkConfig, data: str) -> list[Job]:
    """The jobs of a benchmark in the order in which to begin them: what others start from, then the longest first.

    Args:
        config: the settings.
        data: the corpus, as `Corpus.open` takes it, with absolute paths.

    Raises:
        ConfigError: a row's own settings are out of range, or the folder holds a run with other settings.
    """
    runs = Path(config.out) / "runs"
    names = list(config.models)
    for name in config.models:  # what a row starts from is trained too, though the table does not ask for it
        if (source := ROWS[name].init) and source not in names:
            names.append(source)
    sources = {ROWS[name].init for name in names}
    names.sort(key=lambda name: (bool(ROWS[name].init), name not in sources, -_COST.get(name, 0)))
    jobs = [_job(config, data, ROWS[name], seed, runs) for seed in config.seeds for name in names]
    jobs.sort(key=lambda job: names.index(job.row))
    for job in jobs:
        _check_old(job)
    return jobs


def _job(config: BenchmarkConfig, data: str, row: Row, seed: int, runs: Path) -> Job:
    own = config.rows.get(row.name, {})
    scheduled: dict[str, Any] = {}
    changes = {**(own.get("train") or {}), "seed": seed}
    if row.free_running:
        epochs = changes.get("epochs", config.train.epochs)
        scheduled = {"free_running": row.free_running, "free_running_end": epochs / 2}
    train = dataclasses.replace(config.train, **{**scheduled, **changes})
    modes = config.modes if row.kind.dependencies.autoregressive else config.modes[:1]
    return Job(
        row=row.name,
        seed=seed,
        folder=str(runs / f"{row.name}-seed{seed}"),
        data=data,
        front_end=config.front_end,
        model={**PRESETS[row.model][1], **(own.get("model") or {})},
        init=str(runs / f"{row.init}-seed{seed}") if row.init else "",
        train=dataclasses.asdict(train),
        modes=modes,
        latents=config.latents,
        metrics=config.metrics,
    )


def _check_old(job: Job) -> None:
    """Refuse to go on with a run that was begun with other settings.

    Raises:
        ConfigError: it was.
    """
    file = job.path / "job.json"
    if not file.exists():
        return
    try:
        old = Job.from_json(json.loads(file.read_text(encoding="utf-8"))).training_settings()
    except (ValueError, TypeError, KeyError):
        raise ConfigError(f"{file} cannot be read; remove {job.folder}, or choose another --out") from None
    new = Job.from_json(job.to_json()).training_settings()
    for name, before in old.items():  # what an older version did not know had its default then
        if before != new.get(name):
            raise ConfigError(
                f"{job.folder} was begun with {name} = {before}, now it is {new.get(name)}; "
                "remove it, or choose another --out"
            )
