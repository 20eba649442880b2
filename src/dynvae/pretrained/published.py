"""Converting published weights: a PyTorch file, perhaps with its ``.ini`` beside it, becomes a model of ours."""

from __future__ import annotations

__all__ = ["convert", "read_published"]

import configparser
import hashlib
import io
import math
import os
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dynvae.audio import FRONT_ENDS, FrontEnd
from dynvae.errors import CheckpointError, ConfigError, DynvaeError
from dynvae.models import DVAE, ZOO
from dynvae.pretrained.storage import save
from dynvae.pretrained.translation import translate

_SPEECH = ("https://github.com/sleglaive/DVAE-speech", "mit")
_ENHANCEMENT = ("https://github.com/XiaoyuBIE1994/DVAE_SE", "gpl-3.0")
_AUDIOVISUAL = ("https://github.com/msaadeghii/av-dkf", "mit")
_MIXTURES = ("https://github.com/linxiaoyu1/MixDVAE", "gpl-3.0")
_CODEC = ("https://github.com/samsad35/code-mdvae", "cc-by-4.0")
_KNOWN = {
    "9a4f01fc710d": _SPEECH,  # DKF
    "080f1dec433e": _SPEECH,  # causal RVAE
    "7907fd7b398e": _SPEECH,  # non-causal RVAE
    "991a58635902": _SPEECH,  # SRNN
    "8f774da59a34": _SPEECH,  # STORN
    "740a83a5c88b": _SPEECH,  # VAE
    "8852bddd4c9c": _SPEECH,  # VRNN
    "ae2b0d5d473c": _SPEECH,  # causal RVAE of 2020, renamed
    "cc3e2334ff4b": _SPEECH,  # VAE of 2020, renamed
    "d44ecbd2bb75": _SPEECH,  # causal RVAE of 2020
    "5d952f1cec04": _SPEECH,  # VAE of 2020
    "c8a182e3fac2": _ENHANCEMENT,  # VoiceBank: DKF
    "c56e4d32e8e9": _ENHANCEMENT,  # RVAE
    "ff2fdfe3fda5": _ENHANCEMENT,  # SRNN
    "7fb5338981cb": _ENHANCEMENT,  # VAE
    "094569b41679": _ENHANCEMENT,  # WSJ0: DKF
    "ad4ec50d669e": _ENHANCEMENT,  # RVAE
    "bdd8b8518ff5": _ENHANCEMENT,  # SRNN
    "c1e9a91893d9": _ENHANCEMENT,  # VAE
    "2f1be0a84140": _AUDIOVISUAL,  # TCD-TIMIT: A-DKF
    "ddeea054a315": _AUDIOVISUAL,  # A-VAE
    "092c495470b1": _AUDIOVISUAL,  # AV-VAE, which has a prior that sees lips: an AV-CVAE
    "e5c36de8fb32": _CODEC,  # MEAD: VQ-VAE of speech
    "b124772714c5": _MIXTURES,  # CBF: SRNN of flutes
    "a3942039be28": _MIXTURES,  # WSJ0: SRNN of speech
    "918cbc4bac4a": _MIXTURES,  # SRNN of boxes
}
"""Where a file comes from and under which licence, by the beginning of its SHA-256."""

_RVAE_2020 = ("ae2b0d5d473c", "d44ecbd2bb75")
_BOUNDED_PROPOSAL = ("2f1be0a84140",)
"""DKFs whose transition proposes through a sigmoid; names and shapes of their weights are any other DKF's."""


def convert(
    file: str | os.PathLike[str],
    directory: str | os.PathLike[str],
    ini: str | os.PathLike[str] | None = None,
    window: str | None = None,
) -> DVAE:
    """Turn a file of published weights into a folder that `load` reads.

    Args:
        file: a state dict saved by PyTorch, in one of the layouts of :mod:`dynvae.pretrained.layouts`.
        directory: the folder to write.
        ini: the settings that were published with it; by default a file of the same name, or ``config.ini``, beside.
        window: key of :data:`dynvae.audio.FRONT_ENDS`; wins over what the settings and the number of bins tell.

    Returns:
        The model.

    Raises:
        CheckpointError: the file is corrupt, foreign, or does not go with its settings.
        ConfigError: there is no such window.
    """
    model, card = read_published(file, ini, window)
    save(model, directory, card)
    return model


def read_published(
    file: str | os.PathLike[str], ini: str | os.PathLike[str] | None = None, window: str | None = None
) -> tuple[DVAE, dict[str, Any]]:
    """The model of a file of published weights, and the card that says where it comes from; see `convert`."""
    file = Path(file)
    content, published = _read_weights(file)
    settings_file = _find_ini(file) if ini is None else Path(ini)
    settings = _Settings(settings_file)
    try:
        name, arguments, state = translate(published)
    except CheckpointError as error:
        raise CheckpointError(f"{file}: {error}") from error
    settings.check("name", "VAE" if name == "av-cvae" else ZOO[name].__name__, file)
    for key in ("x_dim", "z_dim"):
        settings.check(key, str(arguments[key]), file)
    if name != "vq-vae":  # which never had a file of settings
        arguments |= settings.arguments()
    if name == "dkf":  # only the code whose proposals are bounded writes vae_mode
        bounded = settings.get("Network", "vae_mode") == "A-DKF" or _digest(content)[:12] in _BOUNDED_PROPOSAL
        arguments["bounded_proposal"] = bounded
    try:
        with torch.device("meta"):
            model = ZOO[name](**arguments)
        model.load_state_dict(state, assign=True)
    except Exception as error:  # the constructors', for sizes that cannot be, and PyTorch's, for shapes that do not fit
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{file}: its weights do not fit together as a {name} ({reason})") from error
    model.front_end = _front_end(arguments["x_dim"], settings, window, file)
    return model.eval(), _card(model, file, content, settings)


def _read_weights(file: Path) -> tuple[bytes, dict[str, Tensor]]:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror}") from error
    try:
        if zipfile.is_zipfile(io.BytesIO(content)):  # PyTorch does not look at the checksums that it writes
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                if damaged := archive.testzip():
                    raise ValueError(f"the checksum of {damaged} is wrong")
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # PyTorch's, the unpickler's, zip's: a corrupt file can cause nearly any
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
        raise CheckpointError(
            f"{file} is damaged, or no PyTorch file that holds weights alone ({reason}); get it anew"
        ) from error
    for name in ("model_state_dict", "model"):  # a checkpoint of published training code
        if isinstance(loaded, dict) and isinstance(loaded.get(name), dict):
            loaded = loaded[name]
    if not isinstance(loaded, dict) or not loaded or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise CheckpointError(f"{file} holds no table of weights: a state dict of a published model is wanted")
    for key, value in loaded.items():
        if not isinstance(key, str) or value.layout != torch.strided or not value.is_floating_point():
            raise CheckpointError(f"{file}: {str(key)[:80]!r} is no table of real numbers")
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise CheckpointError(f"{file}: '{key[:80]}' claims {value.numel()} numbers and holds fewer")
        if not value.isfinite().all():
            raise CheckpointError(f"{file}: '{key[:80]}' has NaN or infinite values; get the file anew")
    return content, {key: value.detach() for key, value in loaded.items()}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _find_ini(file: Path) -> Path | None:
    names = (file.with_suffix(".ini"), file.with_name(file.stem.removesuffix("_converted") + ".ini"),
             file.with_name("config.ini"))  # fmt: skip
    return next((path for path in names if path.is_file()), None)


class _Settings:
    """The ``.ini`` of a published model, as far as it matters; there may be none.

    Raises:
        CheckpointError: the file cannot be read, or a value makes no sense.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.parser = configparser.ConfigParser(interpolation=None)
        if path is not None:
            try:
                self.parser.read_string(path.read_text(encoding="utf-8"))
            except (OSError, ValueError, configparser.Error) as error:
                reason = " ".join(str(error).split())[:200]
                raise CheckpointError(f"{path} is no file of settings: {reason}") from error

    def get(self, section: str, key: str) -> str:
        """The value without blanks, or an empty text."""
        return self.parser.get(section, key, fallback="").strip()

    def check(self, key: str, found: str, file: Path) -> None:
        """See that weights and settings belong together."""
        said = self.get("Network", key)
        if said and said.casefold() != found.casefold():
            raise CheckpointError(
                f"{file} has {key} {found}, but {self.path} says {said}; name the right one with --ini"
            )

    def number(self, section: str, key: str, default: float) -> float:
        text = self.get(section, key)
        try:
            value = float(text) if text else default
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise CheckpointError(f"{self.path}: {key} must be a number, not {text!r}")
        return value

    def arguments(self) -> dict[str, Any]:
        """What the shapes of the weights cannot tell about the model."""
        activation = self.get("Network", "activation") or "tanh"
        if activation not in ("tanh", "relu"):
            raise CheckpointError(f"{self.path}: there is no activation {activation!r}; there are tanh, relu")
        return {"activation": activation, "dropout": self.number("Network", "dropout_p", 0.0)}

    def front_end(self) -> FrontEnd | None:
        """The STFT; the published code rounds the window up to a power of two."""
        if not self.get("STFT", "wlen_sec"):
            return None
        if self.number("STFT", "zp_percent", 0.0):
            raise CheckpointError(f"{self.path}: zero-padded windows (zp_percent) have no equivalent here")
        rate = self.number("STFT", "fs", 16000)
        samples = self.number("STFT", "wlen_sec", 0.0) * rate
        if not 1 <= samples <= 2**20:
            raise CheckpointError(f"{self.path}: a window of {samples:g} samples makes no sense")
        window = 2 ** math.ceil(math.log2(samples))
        hop = int(self.number("STFT", "hop_percent", 0.25) * window)
        trim = self.get("STFT", "trim").casefold() in ("", "true", "yes", "on", "1")
        try:
            return FrontEnd(int(rate), window, hop, trim_db=30.0 if trim else None)
        except DynvaeError as error:
            raise CheckpointError(f"{self.path}: {error}") from error


def _front_end(bins: int, settings: _Settings, window: str | None, file: Path) -> FrontEnd | None:
    """By order given, by the settings, by the number of bins; None where nothing tells."""
    if window is not None and window not in FRONT_ENDS:
        raise ConfigError(f"there is no window '{window}'; there are {', '.join(FRONT_ENDS)}")
    front_end = settings.front_end() if window is None else FRONT_ENDS[window]
    if front_end is None:
        return next((it for it in FRONT_ENDS.values() if it.bins == bins), None)
    if front_end.bins != bins:
        raise CheckpointError(
            f"{file} works on {bins} bins, and a window of {front_end.window_length} samples gives {front_end.bins}"
        )
    return front_end


def _card(model: DVAE, file: Path, content: bytes, settings: _Settings) -> dict[str, Any]:
    digest = _digest(content)
    origin, licence = _KNOWN.get(digest[:12], ("unknown", ""))
    source = {"file": file.name, "sha256": digest, "origin": origin}
    source |= {
        label: value
        for label, section, key in (
            ("name given by its authors", "Network", "tag"),
            ("corpus", "DataFrame", "dataset_name"),
            ("beta", "Training", "beta"),
        )
        if (value := settings.get(section, key))
    }
    card: dict[str, Any] = {"title": f"{model.title}, published weights"}
    if licence:
        card["license"] = licence
    else:
        card["terms_of_use"] = "The licence of the weights is that of their source; it is not known here."
    card["tags"] = ["converted"] if model.front_end is None else ["speech", "converted"]
    card["source"] = source
    card["conversion"] = (
        "The weights are those of the source file, renamed and rearranged for dynvae without any further training; "
        "they stay under its licence."
    )
    if digest[:12] in _RVAE_2020:
        card["limits"] = (
            "The RVAE of 2020 did not run its encoder's LSTM over z at the first frame; this one does, as in the "
            "later benchmarks, so the first frames differ a little from the authors' first results."
        )
    return card
