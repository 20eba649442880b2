"""The published code, imported from a checkout and run as it is: nothing of it is copied or changed here.

The checkout is that of XiaoyuBIE1994/DVAE. Its scripts switch anomaly detection on; the steps here do not.
"""

from __future__ import annotations

__all__ = ["Crops", "Reference"]

import configparser
import contextlib
import importlib
import importlib.util
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.utils.data import default_collate

from benchmarks.cases import Case
from dynvae.audio import FrontEnd
from dynvae.errors import ConfigError
from dynvae.models import KVAE

Run = Callable[[], object]


class Reference:
    """The models and losses of a checkout, and the steps that its scripts take with them.

    Args:
        path: the folder that holds ``dvae`` and ``config``.

    Raises:
        ConfigError: there is no such checkout.
    """

    def __init__(self, path: Path) -> None:
        if not (path / "dvae" / "model").is_dir():
            raise ConfigError(f"{path} is not a checkout of the reference: it has no dvae/model")
        self.path = path
        with _importing(path):
            self._models = importlib.import_module("dvae.model")
            self._scheduled = importlib.import_module("dvae.model_ss")
            self._kvae = importlib.import_module("dvae.model.kvae")
        # Its package of utilities wants packages for evaluation; the losses alone want none.
        spec = importlib.util.spec_from_file_location("reference_losses", path / "dvae" / "utils" / "loss.py")
        assert spec is not None
        assert spec.loader is not None
        self._losses = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self._losses)

    def build(self, case: Case) -> nn.Module:
        """Its model of a case, by its own configuration file, or in our sizes where it has none."""
        model: nn.Module
        if not case.config:
            model = self._build_kvae(case.build())
        else:
            config = configparser.ConfigParser()
            config.optionxform = str  # type: ignore[assignment,method-assign]
            config.read(self.path / "config" / "speech" / case.config)
            kind = config["Network"]["name"]
            make = self._scheduled.build_SRNN_ss if case.free_running else getattr(self._models, f"build_{kind}")
            model = make(cfg=config, device="cpu")
        return model.train()

    def _build_kvae(self, ours: Any) -> nn.Module:
        assert isinstance(ours, KVAE)
        settings = ours.config
        model: nn.Module = self._kvae.KVAE(
            x_dim=settings["x_dim"],
            a_dim=settings["z_dim"],
            z_dim=settings["state_dim"],
            dense_x_a=list(settings["encoder_hidden"]),
            dense_a_x=list(settings["decoder_hidden"]),
            K=settings["mixtures"],
            dim_RNN_alpha=settings["mixture_rnn"],
        )
        return model

    def loss(self, case: Case, model: Any, x: Tensor) -> Tensor:
        """The loss of its training, with the full weight of the divergence.

        Args:
            case: the model's.
            model: from :meth:`build`.
            x: power spectra ``(time, batch, bins)``; KVAE wants ``(batch, bins, time)``.
        """
        loss: Tensor
        if isinstance(model, self._kvae.KVAE):
            with _unchecked_laws():
                model(x, compute_loss=True)
            loss = model.loss[0]
            return loss
        log_variance = model(x, case.free_running) if case.free_running else model(x)
        loss = self._losses.loss_ISD(x, log_variance.exp())
        loss = loss + self._losses.loss_KLD(model.z_mean, model.z_logvar, model.z_mean_p, model.z_logvar_p)
        if hasattr(model, "v_mean"):
            loss = loss + self._losses.loss_KLD(model.v_mean, model.v_logvar, model.v_mean_p, model.v_logvar_p)
        return loss / (x.shape[0] * x.shape[1])

    def training(self, case: Case, model: nn.Module, x: Tensor, anomaly: bool = False) -> Run:
        """A step of training on ``x``, ``(batch, time, bins)``; its own scripts detect anomalies."""
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
        own = self._own_layout(model, x)

        def step() -> None:
            with torch.autograd.set_detect_anomaly(anomaly):
                loss = self.loss(case, model, own)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

        return step

    def analysis(self, case: Case, model: Any, x: Tensor) -> Run:
        """Analysis and resynthesis of ``x``, ``(batch, time, bins)``: from power spectra to their model."""
        own = self._own_layout(model, x)
        arguments = (own, case.free_running) if case.free_running else (own,)
        transformed = not isinstance(model, self._kvae.KVAE)

        @torch.no_grad()
        def run() -> Tensor:
            out: Tensor = model(*arguments)
            return out.exp() if transformed else out

        return run

    def _own_layout(self, model: nn.Module, x: Tensor) -> Tensor:
        order = (0, 2, 1) if isinstance(model, self._kvae.KVAE) else (1, 0, 2)
        return x.permute(order).contiguous()

    def generation(self, model: Any, batch: int, time: int) -> Run | None:
        """Generation of sequences with the model's own networks, frame by frame where frames need each other.

        The reference has no such function; this is the one that its networks allow. Where they can take all frames at
        once, they do. None for KVAE, whose networks give nothing to generate from.
        """
        draw = _GENERATORS.get(type(model).__name__)
        if draw is None:
            return None
        noise = model.reparameterization

        @torch.no_grad()
        def run() -> Tensor:
            return draw(model, noise, batch, time)

        return run


def _independent(model: Any, noise: Any, batch: int, time: int) -> Tensor:
    """VAE, RVAE: independent latents, then all frames."""
    out: Tensor = model.generation_x(torch.randn(time, batch, model.z_dim))
    return out.exp()


def _markov(model: Any, noise: Any, batch: int, time: int) -> Tensor:
    """DKF: the chain of latents, then all frames."""
    z, path = torch.zeros(batch, model.z_dim), []
    for _ in range(time):
        z = noise(*model.generation_z(z))
        path.append(z)
    out: Tensor = model.generation_x(torch.stack(path))
    return out.exp()


def _prior_chain(model: Any, noise: Any, batch: int, time: int) -> Tensor:
    """DSAE: a recurrent network over the latents, then all frames."""
    z, state, path = torch.zeros(1, batch, model.z_dim), None, []
    for _ in range(time):
        h, state = model.rnn_prior(z, state)
        z = noise(model.prior_mean(h), model.prior_logvar(h))
        path.append(z[0])
    out: Tensor = model.generation_x(torch.randn(batch, model.v_dim), torch.stack(path))
    return out.exp()


def _storn(model: Any, noise: Any, batch: int, time: int) -> Tensor:
    """STORN: independent latents; each frame needs the last."""
    drive = model.mlp_z_h(torch.randn(time, batch, model.z_dim))
    x, state, frames = torch.zeros(1, batch, model.x_dim), None, []
    for t in range(time):
        h, state = model.rnn_h(torch.cat([drive[t : t + 1], model.mlp_xtm1_h(x)], -1), state)
        x = model.gen_out(model.mlp_h_x(h)).exp()
        frames.append(x[0])
    return torch.stack(frames)


def _srnn(model: Any, noise: Any, batch: int, time: int) -> Tensor:
    """SRNN: each frame and its latent need the last ones."""
    x, z, state, frames = torch.zeros(1, batch, model.x_dim), torch.zeros(1, batch, model.z_dim), None, []
    output = model.gen_logvar if hasattr(model, "gen_logvar") else model.gen_out
    for _ in range(time):
        h, state = model.rnn_h(model.mlp_x_h(x), state)
        z = noise(*model.generation_z(h, z))
        x = output(model.mlp_hz_x(torch.cat([h, z], -1))).exp()
        frames.append(x[0])
    return torch.stack(frames)


def _vrnn(model: Any, noise: Any, batch: int, time: int) -> Tensor:
    """VRNN: each frame and its latent need the last ones."""
    h = c = torch.zeros(1, batch, model.dim_RNN)
    frames = []
    for _ in range(time):
        seen = model.feature_extractor_z(noise(*model.generation_z(h)))
        x = model.generation_x(seen, h).exp()
        h, c = model.recurrence(model.feature_extractor_x(x), seen, h, c)
        frames.append(x[0])
    return torch.stack(frames)


_GENERATORS: dict[str, Callable[[Any, Any, int, int], Tensor]] = {
    "VAE": _independent,
    "RVAE": _independent,
    "DKF": _markov,
    "DSAE": _prior_chain,
    "STORN": _storn,
    "SRNN": _srnn,
    "SRNN_ss": _srnn,
    "VRNN": _vrnn,
}


@contextlib.contextmanager
def _importing(path: Path) -> Iterator[None]:
    sys.path.insert(0, str(path))
    try:
        yield
    finally:
        sys.path.remove(str(path))


@contextlib.contextmanager
def _unchecked_laws() -> Iterator[None]:
    """Let KVAE's covariances pass, which rounding leaves less symmetric than torch now asks for."""
    checked = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(checked)


class Crops:
    """The reference's data set: crops of sound files as power spectra.

    Args:
        reference: the checkout.
        files: the sound files.
        frames: of a crop.
        front_end: the STFT.
    """

    def __init__(self, reference: Reference, files: Sequence[Path], frames: int, front_end: FrontEnd) -> None:
        with _importing(reference.path), _older_libraries():
            module = importlib.import_module("dvae.dataset.speech_dataset")
        settings = {
            "fs": front_end.sample_rate,
            "nfft": front_end.window_length,
            "hop": front_end.hop_length,
            "wlen": front_end.window_length,
            "win": front_end.window(torch.empty(0)),
            "trim": False,
        }
        self._items = module.SpeechSequencesFull([str(file) for file in files], frames, settings, True)
        self._order = itertools.cycle(range(len(self._items)))

    def batch(self, size: int) -> Tensor:
        """So many crops."""
        with _older_libraries():
            return default_collate([self._items[next(self._order)] for _ in range(size)])


@contextlib.contextmanager
def _older_libraries() -> Iterator[None]:
    """What the data set expects of older libraries: ``torch.stft`` in real pairs, and librosa, which nothing needs."""
    stft = torch.stft

    def paired(*args: Any, **kwargs: Any) -> Tensor:
        return torch.view_as_real(stft(*args, **(kwargs | {"return_complex": True})))

    sys.modules.setdefault("librosa", ModuleType("librosa"))
    torch.stft = paired
    try:
        yield
    finally:
        torch.stft = stft
