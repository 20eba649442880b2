"""``python -m benchmarks.enhancement``: speech enhancement by EM, beside the published samplers."""

from __future__ import annotations

import configparser
import copy
import importlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.command import Choices, main, numbers, pick
from benchmarks.measure import clock_of, interleave, ratio
from benchmarks.results import Row
from benchmarks.sounds import write_speech_like
from dynvae.audio import FrontEnd, read_audio
from dynvae.errors import ConfigError
from dynvae.metrics import si_sdr
from dynvae.models import DVAE
from dynvae.pretrained import load
from dynvae.pretrained.published import read_published
from dynvae.testtime import Enhancer, Preset, preset
from dynvae.testtime.esteps import EncoderTuning, Langevin

ITERATIONS = 100
RATE = 5e-3
"""Of the reference's Adam, which ours gets too."""


class PublishedSamplers:
    """The checkout of msaadeghii/ps-rvae-se, imported and run as it is, with the clip and the weights that it has.

    Args:
        path: the checkout.

    Raises:
        ConfigError: it is none.
    """

    def __init__(self, path: Path) -> None:
        weights = sorted((path / "trained_model").glob("*.pt"))
        if not (path / "src" / "se" / "em_algorithms.py").is_file() or not weights:
            raise ConfigError(f"{path} is not a checkout of msaadeghii/ps-rvae-se: it lacks src/se or weights")
        with _importing(path):
            self._algorithms = importlib.import_module("src.se.em_algorithms")
            build = importlib.import_module("src.model.rvae").build_RVAE
        settings = configparser.ConfigParser()
        settings.optionxform = str  # type: ignore[assignment,method-assign]
        settings.read(path / "trained_model" / "config.ini")
        self._model = build(settings, device="cpu")
        self._model.load_state_dict(torch.load(weights[0], map_location="cpu", weights_only=True))
        self.ours = read_published(weights[0])[0]
        self.noisy, self.clean = (read_audio(path / "data" / f"{name}.wav")[0] for name in ("x", "s"))

    def run(self, task: str, seed: int) -> NDArray[np.float32]:
        """The estimate of one algorithm, with the settings of its demonstration: K = 8, ten chains for LDEM."""
        front_end = self.ours.front_end
        assert isinstance(front_end, FrontEnd)
        level = np.abs(self.noisy).max()
        spectrum = front_end.stft(torch.from_numpy(self.noisy / level)).T.numpy()
        random = np.random.RandomState(seed)
        start = {"W": random.rand(len(spectrum), 8), "H": random.rand(8, spectrum.shape[1])}
        torch.manual_seed(seed)
        model = copy.deepcopy(self._model)
        options: dict[str, Any] = {"v": None, "g": np.ones(spectrum.shape[1]), "niter": ITERATIONS, "device": "cpu"}
        if task == "vem":
            tuned = [model.mlp_x_gx, model.rnn_g_x, model.mlp_z_gz, model.rnn_g_z, model.mlp_g_z]
            model.requires_grad_(False)
            weights = [weight for part in (*tuned, model.inf_mean, model.inf_logvar) for weight in part.parameters()]
            for weight in weights:
                weight.requires_grad_(True)
            options |= {"optimizer": torch.optim.Adam(weights, lr=RATE), "beta": 1.0}
        elif task == "ldem":
            options |= {"optimizer": "sgld", "num_samples": 10}
        algorithm = getattr(self._algorithms, task.upper())(X=spectrum, dvae=model, **start, **options)
        algorithm.run_EM()
        estimate = torch.from_numpy(algorithm.S_hat.T)
        return front_end.istft(estimate, len(self.noisy)).numpy()


@contextmanager
def _importing(path: Path) -> Iterator[None]:
    """Import ``src`` from a checkout; its utilities and librosa, which serve its evaluation alone, are left out."""
    utilities = ModuleType("src.utils")
    utilities.__path__ = [str(path / "src" / "utils")]
    utilities.EvalMetrics = None  # type: ignore[attr-defined]
    sys.modules["src.utils"] = utilities
    sys.modules.setdefault("librosa", ModuleType("librosa"))
    sys.path.insert(0, str(path))
    try:
        yield
    finally:
        sys.path.remove(str(path))


class Method(NamedTuple):
    """A way of ours, and the bundled prior where it is not the reference's RVAE."""

    preset: Preset
    prior: str = ""


def _vem() -> dict[str, Method]:
    published = preset("rvae-vem").replaced(iterations=ITERATIONS, estep=EncoderTuning(RATE, clip=None, redraw=True))
    return {"dynvae": Method(published), "one draw": Method(published.replaced(estep=EncoderTuning(RATE)))}


def _ldem() -> dict[str, Method]:
    published = preset("ldem")
    estep = published.em.estep
    assert isinstance(estep, Langevin)
    own = preset("fast").replaced(estep=Langevin(step=0.2, chains=4), iterations=30)
    return {
        "dynvae": Method(published),
        "4 chains": Method(published.replaced(estep=replace(estep, chains=4))),
        "4 chains, our steps": Method(own),
    }


TASKS: dict[str, Callable[[], dict[str, Method]]] = {
    "vem": _vem,
    "ldem": _ldem,
    "mhem": lambda: {"dynvae": Method(preset("mhem"))},
    "default": lambda: {
        "dynvae": Method(preset("default")),
        "fast": Method(preset("fast")),
        "vae": Method(preset("default"), "vae-speech"),
    },
}
"""Our ways by what they are compared with: ``dynvae`` is the same mathematics, the others vary it. The reference has
nothing like our default."""


@dataclass(frozen=True)
class Enhancement:
    """The whole way from a noisy recording to its speech, 100 iterations, for each algorithm.

    Ours is timed with the STFT and its inverse, the reference, too. SI-SDR is that of the last run.
    """

    purpose: str = "Time speech enhancement by EM with a recurrent VAE."

    def jobs(self, choices: Choices) -> list[Callable[[], list[Row]]]:
        """A contest for each algorithm and number of threads."""
        todo = pick("task", choices.tasks or tuple(TASKS), TASKS)
        return [
            partial(_contest, task, methods(), choices, threads)
            for threads in numbers(choices.threads or ("1", "2"))
            for task, methods in todo.items()
        ]


ENHANCEMENT = Enhancement()


def _contest(task: str, methods: dict[str, Method], choices: Choices, threads: int) -> list[Row]:
    torch.set_num_threads(threads)
    reference = choices.reference
    model, noisy, clean = _material(reference)
    found: dict[str, NDArray[np.float32]] = {}
    runs: dict[str, Callable[[], object]] = {}
    if reference is not None and task != "default":
        runs["reference"] = lambda: found.update(reference=reference.run(task, seed=0))
    for name, method in methods.items():
        enhancer = Enhancer(method.prior or model, method.preset)
        runs[name] = lambda name=name, enhancer=enhancer: found.update({name: enhancer(noisy, 16000).waveform})  # type: ignore[misc]
    samples = interleave(runs, choices.steps or 3, warmup=1)
    assert isinstance(model.front_end, FrontEnd)
    clock, frames = clock_of(threads), 1 + len(noisy) // model.front_end.hop_length
    return [
        Row(
            "enhancement",
            task,
            "rvae",
            name,
            1,
            frames,
            threads,
            clock,
            1000 * samples[name].median().wall,
            1000 * samples[name].median().cpu,
            len(samples[name]),
            samples[name].spread(clock),
            ratio=ratio(samples, name, clock),
            seconds=len(noisy) / 16000,
            si_sdr=si_sdr(clean, found[name]),
        )
        for name in runs
    ]


def _material(reference: PublishedSamplers | None) -> tuple[DVAE, NDArray[np.float32], NDArray[np.float32]]:
    """The model, a noisy recording and its speech: the reference's, or a bundled model and what is drawn."""
    if reference is not None:
        return reference.ours, reference.noisy, reference.clean
    model = load("rvae-speech")
    assert isinstance(model.front_end, FrontEnd)
    with tempfile.TemporaryDirectory() as folder:
        clean, _ = read_audio(
            write_speech_like(Path(folder) / "speech", model.front_end, files=1, seconds=1.0) / "0.wav"
        )
    noise = np.random.default_rng(0).normal(scale=np.std(clean), size=clean.shape).astype(np.float32)
    return model, clean + noise, clean


if __name__ == "__main__":
    sys.exit(main(ENHANCEMENT, reference=PublishedSamplers))
