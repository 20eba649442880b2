"""``dynvae train NAME --data DATA --out RUN``: train a model."""

from __future__ import annotations

__all__ = ["add_machine", "chosen_machine", "run", "say_plainly", "tell_outcome", "verb_parser", "with_saved_config"]

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from dynvae.audio import FRONT_ENDS
from dynvae.baselines import AutoregressiveLSTM
from dynvae.cli.parsing import Parser, demand, make_parser, read_yaml
from dynvae.cli.telling import notice, tell
from dynvae.data.lips import LipSettings
from dynvae.data.motion import is_motion
from dynvae.data.trajectories import TRAJECTORIES
from dynvae.data.two_modalities import TWO_MODALITIES
from dynvae.errors import ConfigError
from dynvae.models import PRESETS, ZOO, MultimodalDVAE
from dynvae.training import Machine, Outcome, TrainConfig, train, train_motion, train_multimodal, train_trajectories
from dynvae.training.machine import flush_denormals, is_main
from dynvae.training.multimodal import ALONE, FEATURES, MADE_UP, TALKING
from dynvae.video import TalkingView

DESCRIPTION = """Train a model on a corpus of speech (mvae, mdvae and the like: with lips), recorded motion, or made-up
trajectories or pairs. The folder of the run gets its settings (config.yaml, which --config takes), its log
(metrics.csv, and TensorBoard's where that is installed), checkpoints for --resume, and in model/ the weights that were
best on the validation split."""
EXAMPLES = (
    "dynvae train srnn --data speech --out runs/srnn --train.epochs 50 --model.z_dim 32",
    "dynvae train --out runs/srnn --resume                    # goes on where it was stopped",
    "dynvae train vae --config recipes/wsj0/config.yaml --data wsj0.csv@/corpora/wsj0 --out runs/vae",
    "dynvae train srnn --help                                 # with the settings of this model",
)


def run(arguments: list[str]) -> int:
    """Train, and return 0; 130 or 143 if a signal has stopped the run, whose state is then saved."""
    arguments = with_saved_config(arguments)
    name, task = _subject(arguments)
    settings = verb_parser(arguments).parse_args(arguments)
    settings.name = name  # a positional that is not given would hide the file's
    if name is None:
        raise ConfigError("give a model, e.g. dynvae train srnn; dynvae train --help tells the options")
    demand(settings, "train", "data", "out")
    if settings.codecs and task != "two stages":
        raise ConfigError(f"--codecs goes with a model of several modalities, such as mdvae, and not with {name}")
    flush_denormals()
    say_plainly()
    common: dict[str, Any] = {
        "out": settings.out,
        "model": settings.model.as_dict(),
        "init": settings.init,
        "train": TrainConfig(**settings.train.as_dict()),
        "machine": chosen_machine(settings),
        "resume": settings.resume,
        "progress": sys.stderr.isatty() and settings.progress,
    }
    if task == TRAJECTORIES:
        drawn = {key: settings[key] for key in ("count", "view", "jitter", "sway")}
        outcome = train_trajectories(settings.name, **common, **drawn)
    elif task in ("multimodal", "two stages", TWO_MODALITIES, *ALONE):
        pairs = {key: settings[key] for key in ("modality", "codecs", "count")}
        view = TalkingView(settings.rate, settings.side)
        outcome = train_multimodal(settings.name, data=settings.data, view=view, **pairs, **common)
    elif task == "motion":
        outcome = train_motion(settings.name, data=settings.data, turn=settings.turn, **common)
    else:
        sound = {"front_end": settings.front_end, "on_bad": settings.on_bad, "cache": settings.cache}
        sound["lips"] = LipSettings(**settings.lips.as_dict())
        outcome = train(settings.name, data=settings.data, **common, **sound)
    return tell_outcome(outcome, f"dynvae train --out {settings.out} --resume", "ELBO", as_json=settings.json)


def tell_outcome(outcome: Outcome, resume: str, score: str, *, as_json: bool) -> int:
    """Tell how a training has ended, and return the exit code.

    Args:
        outcome: of the training.
        resume: the command that goes on with it.
        score: what the best weights are best by.
        as_json: tell it as JSON.
    """
    code = 128 + outcome.signum if outcome.signum else 0
    if not is_main():
        return code
    best, weights = outcome.best, str(outcome.folder / "model")
    if outcome.signum:
        notice("train", f"stopped at step {outcome.step}; go on with: {resume}")
    lines = []
    if best and not outcome.signum:
        lines.append(f"best at epoch {best['epoch']:g}: validation {score} {best['elbo']:.3f} nats/frame; "
                     f"weights in {weights}")  # fmt: skip
    found = {"out": str(outcome.folder), "model": weights if best else None, "best": best or None,
             "step": outcome.step, "stopped": bool(outcome.signum)}  # fmt: skip
    tell(found, lines, as_json=as_json)
    return code


def verb_parser(arguments: Sequence[str] = ()) -> Parser:
    """The parser of the verb, with the settings of the model that the arguments name, if they name one.

    The data decide what its likelihood is, unless that is said.
    """
    name, task = _subject(arguments)
    parser = make_parser("train", DESCRIPTION, EXAMPLES)
    add: Any = parser.add_argument
    add("--config", action="config", help="a YAML file of settings; options that follow win over it")
    add("name", nargs="?", type=str, help=f"the model: {', '.join(PRESETS)}")
    add(
        "--data",
        type=str,
        help="folder of audio files, manifest (.csv, .jsonl), or 'builtin'; or recorded motion: a folder with "
        "skeleton.json and .npy or .npz files, data_3d_h36m.npz, or folders S1, S5, ... of exponential maps; or the "
        "word 'trajectories': boxes on made-up ways through a picture; or 'two-modalities': made-up pairs of sequences",
    )
    add("--task", type=Literal["auto", "speech", "motion", "trajectories", "multimodal"], default="auto",
        help="what the data are; auto goes by their form")  # fmt: skip
    add("--out", type=str, help="folder of the run")
    add("--front-end", type=Literal[tuple(FRONT_ENDS)], default="64ms", help="window of the STFT")
    add("--init", type=str, default=None, help="trained model to start from the weights of")
    add("--on-bad", type=Literal["error", "skip"], default="error",
        help="at a file that cannot be read: stop, or go on without it")  # fmt: skip
    add("--cache", type=Literal["exact", "int16", "none"], default="exact",
        help="prepared sound in the cache folder: exact (2 bytes a sample for 16-bit files at 16 kHz, 4 for others), "
        "int16 (2 bytes, with some noise for those others), or none: in the memory of every process")  # fmt: skip
    add("--turn", type=bool, default=False, help="motion: turn training crops about the vertical, by chance")
    add("--count", type=int, default=12_000, help="made-up data: how many sequences, and a part of that to validate on")
    add("--view", type=Literal["own", "picture"], default="own",
        help="trajectories: seen from one of a track's own boxes, or, as published, in the picture")  # fmt: skip
    add("--rate", type=float, default=25.0, help="sound and lips: pictures, and frames of sound, a second")
    add("--side", type=int, default=32, help="sound and lips: pixels of a picture in a row and in a column")
    add("--modality", type=Literal[tuple(ALONE)] | None, default=None,
        help="sound and lips: train any model on this one alone, e.g. a vq-vae as its codec")  # fmt: skip
    add("--codecs", type=dict[str, str], default={},
        help="sound and lips: trained VQ-VAEs, --codecs.audio RUN --codecs.video RUN; the model is the second stage, "
        "on their features: with mdvae, the VQ-MDVAE")  # fmt: skip
    add("--jitter", type=float, default=0.0, help="trajectories: noise on the edges, as a share of the box's size")
    add("--sway", type=float, default=0.0, help="trajectories: the camera's changes of velocity, in widths of the box")
    add("--resume", action="store_true", help="go on from the newest whole checkpoint of the run, if it has one")
    add("--progress", type=bool, default=True, help="a progress bar, where there is a terminal")
    add_machine(add)
    parser.add_class_arguments(TrainConfig, "train")
    parser.add_class_arguments(LipSettings, "lips", help="for models that see lips, as av-cvae does")
    if name is not None:
        kind, preset = PRESETS.get(name, (name, {}))
        parser.add_class_arguments(ZOO.get(kind, AutoregressiveLSTM), "model", skip={"x_dim", "codecs"})
        usual = {"speech": {}, "multimodal": TALKING, "two stages": FEATURES, TWO_MODALITIES: MADE_UP, **ALONE}
        defaults = {**usual.get(task, {"likelihood": "gaussian"}), **preset}
        parser.set_defaults({f"model.{key}": value for key, value in defaults.items()})
    return parser


def add_machine(add: Any) -> None:
    """Give a parser the options of `Machine`; ``add`` is its ``add_argument``."""
    machine = Machine()
    add("--accelerator", type=Literal["auto", "cpu", "gpu"], default=machine.accelerator, help="where to train")
    add("--devices", type=int, default=machine.devices, help="processes on each machine, one a GPU")
    add("--strategy", type=str, default=machine.strategy, help="of Lightning, e.g. ddp")
    add("--num-nodes", type=int, default=machine.num_nodes, help="machines")
    add("--precision", type=Literal["32-true", "bf16-mixed", "16-mixed", "64-true"], default=machine.precision,
        help="of the networks; likelihood and loss have at least 32 bits")  # fmt: skip


def chosen_machine(settings: Any) -> Machine:
    """What the options of `add_machine` say."""
    return Machine(settings.accelerator, settings.devices, settings.strategy, settings.num_nodes, settings.precision)


def with_saved_config(arguments: list[str]) -> list[str]:
    """With --resume, the settings of the run are the defaults."""
    if "--resume" not in arguments:
        return arguments
    out = _value(arguments, "--out")
    saved = None if out is None else Path(out) / "config.yaml"
    return ["--config", str(saved), *arguments] if saved is not None and saved.is_file() else arguments


def _subject(arguments: Sequence[str]) -> tuple[str | None, str]:
    """The model, if there is one yet, and the task: speech, motion, trajectories, multimodal or two-modalities."""
    config = _read_config(arguments)
    name = _model_name(arguments, config)
    return name, _task(arguments, config, name)


def _read_config(arguments: Sequence[str]) -> dict[str, Any]:
    """What the configuration file says, where there is one.

    Raises:
        ConfigError: it cannot be read.
    """
    config = _value(arguments, "--config", last=True)
    if config is None:
        return {}
    content = read_yaml(config, config)
    return content if isinstance(content, dict) else {}


def _model_name(arguments: Sequence[str], config: dict[str, Any]) -> str | None:
    """The model that the arguments name, found before they can be parsed, for its own arguments depend on it.

    Raises:
        ConfigError: there is no such model.
    """
    options = {"--resume"}
    words = [
        word
        for before, word in zip(["", *arguments], arguments, strict=False)
        if not word.startswith("-") and (not before.startswith("-") or before in options or "=" in before)
    ]
    name = words[0] if words else config.get("name")
    if name == "lstm" and _task(arguments, config) == TRAJECTORIES:
        return name
    if name is not None and name not in PRESETS:
        from dynvae.cli.parsing import nearest

        near = nearest(str(name), PRESETS)
        hint = f"did you mean '{near}'?" if near else f"there are {', '.join(PRESETS)}"
        raise ConfigError(f"there is no model '{name}'; {hint}")
    return name


def _task(arguments: Sequence[str], config: dict[str, Any], name: str | None = None) -> str:
    """What a run is on: as --task says, or by the kind of the model, or the form of the data."""
    task = _value(arguments, "--task", last=True) or config.get("task", "auto")
    data = _value(arguments, "--data", last=True) or config.get("data")
    modality = _value(arguments, "--modality", last=True) or config.get("modality")
    if modality in ALONE:
        return str(modality)
    if name in PRESETS and issubclass(ZOO[PRESETS[name][0]], MultimodalDVAE):
        if any(word.startswith("--codecs") for word in arguments) or config.get("codecs"):
            return "two stages"
        return TWO_MODALITIES if data == TWO_MODALITIES else "multimodal"
    if task != "auto":
        return str(task)
    return TRAJECTORIES if data == TRAJECTORIES else "motion" if is_motion(data) else "speech"


def _value(arguments: Sequence[str], option: str, *, last: bool = False) -> str | None:
    """The value of an option, given as ``--option value`` or ``--option=value``."""
    found = [after for word, after in zip(arguments, [*arguments[1:], ""], strict=False) if word == option]
    found += [word.partition("=")[2] for word in arguments if word.startswith(f"{option}=")]
    return found[-1 if last else 0] if found else None


class _StandardError(logging.StreamHandler[Any]):
    """Writes to what is standard error at that moment: under a progress bar, to the lines above it."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def say_plainly() -> None:
    """Have the library's messages written plainly to standard error."""
    handler = _StandardError()
    handler.setFormatter(logging.Formatter("%(message)s"))
    root = logging.getLogger("dynvae")
    root.handlers = [handler]
    root.setLevel(logging.INFO if is_main() else logging.ERROR)
    root.propagate = False
