"""The ways to enhance speech that a table compares, by the words that call for them."""

from __future__ import annotations

__all__ = ["KINDS", "Method"]

import dataclasses
import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynvae.audio import AUDIO_SUFFIXES, read_audio
from dynvae.baselines import Dictionary, Enhancing, Filter, SpectralSubtraction, WienerFilter, load_mask
from dynvae.data import Corpus
from dynvae.errors import AudioError, ConfigError
from dynvae.pretrained.names import locate
from dynvae.pretrained.storage import CONFIG
from dynvae.testtime import PRESETS, Enhancer
from dynvae.testtime.enhancement import DEFAULT_PRIOR

KINDS: Mapping[str, tuple[str, str]] = {
    "noisy": ("Noisy", ""),
    "subtraction": ("Spectral subtraction", "none"),
    "wiener": ("Wiener filter", "none"),
    "nmf": ("NMF", "clean speech"),
    "mask": ("Mask network", "noisy and clean"),
    "files": ("", ""),
}
"""What is no preset of the engine: its label, and what has to be known to train it."""


@dataclass(frozen=True)
class Method:
    """One row of the table.

    Attributes:
        kind: a name of `KINDS`, or a preset of `dynvae.testtime.PRESETS`.
        source: what the kind needs: a prior for a preset, the run of a ``mask``, the corpus whose training split
            ``nmf`` learns from, the folder of ``files`` that others have enhanced.
        label: what the table calls it; by default made of the two.
        trained_on: the corpus of its training; by default what the model's card tells.
        supervision: what its training had to know; by default that of the kind.
        settings: of the engine, where they are not the preset's, such as ``iterations``.
    """

    kind: str
    source: str = ""
    label: str = ""
    trained_on: str = ""
    supervision: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, what: str | Mapping[str, Any]) -> Method:
        """A method out of a word such as ``rvae-vem:MODEL@CORPUS``, or of a mapping with the attributes' names.

        Raises:
            ConfigError: there is no such kind or attribute, or its source is missing.

        Example:
            >>> Method.of("mask:runs/mask@voicebank")
            Method(kind='mask', source='runs/mask', label='Mask network', trained_on='voicebank', \
supervision='noisy and clean', settings={})
        """
        if isinstance(what, str):
            word, _, corpus = what.partition("@") if what.count("@") == 1 else (what, "", "")
            kind, _, source = word.partition(":")
            given: dict[str, Any] = {"kind": kind, "source": source, "trained_on": corpus}
        else:
            given = dict(what)
        names = [each.name for each in dataclasses.fields(cls)]
        for name in given:
            if name not in names:
                near = get_close_matches(name, names, n=1)
                raise ConfigError(f"a method has no '{name}'; " + (
                    f"did you mean '{near[0]}'?" if near else f"there are {', '.join(names)}"
                ))  # fmt: skip
        return cls(**given)._complete()

    def _complete(self) -> Method:
        known = [*KINDS, *PRESETS]
        if self.kind not in known:
            near = get_close_matches(self.kind, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(known)}"
            raise ConfigError(f"there is no method '{self.kind}'; {hint}")
        if self.kind in ("nmf", "mask", "files") and not self.source:
            raise ConfigError(f"say what '{self.kind}' is made of, as in {self.kind}:FOLDER")
        if self.kind in ("noisy", "subtraction", "wiener") and self.source:
            raise ConfigError(f"'{self.kind}' is made of nothing; leave ':{self.source}' away")
        if self.settings and self.kind in KINDS:
            raise ConfigError(f"'{self.kind}' has no settings; presets of the engine have")
        source = self.source or (DEFAULT_PRIOR if self.kind in PRESETS else "")
        label, supervision = KINDS.get(self.kind, ("", "clean speech"))
        last = Path(source).name
        return dataclasses.replace(
            self,
            source=source,
            label=self.label or label or (last if self.kind == "files" else f"{self.kind}, {last}"),
            trained_on=self.trained_on or self._told_corpus(source),
            supervision=self.supervision or supervision,
        )

    def _told_corpus(self, source: str) -> str:
        """The corpus that the card of a model tells."""
        if self.kind == "nmf":
            return Path(source).name
        if self.kind not in PRESETS and self.kind != "mask":
            return ""
        card = json.loads((locate(source) / CONFIG).read_text(encoding="utf-8")).get("card") or {}
        data = (card.get("training") or {}).get("data") if isinstance(card.get("training"), Mapping) else None
        return ", ".join(card.get("datasets") or []) or (Path(str(data)).name if data else "")

    @property
    def folder(self) -> str:
        """The name of its folder."""
        return re.sub(r"[^\w.-]+", "-", self.label.lower()).strip("-") or "method"

    def identity(self) -> dict[str, Any]:
        """Everything that decides what comes out, as plain values; a model goes by the hash of its weights."""
        plain: dict[str, Any] = {"kind": self.kind, "source": self.source}
        if self.kind in PRESETS or self.kind == "mask":
            config = json.loads((locate(self.source) / CONFIG).read_text(encoding="utf-8"))
            plain["weights"] = config.get("sha256")
        return {**plain, "settings": {name: repr(value) for name, value in self.settings.items()}}

    def make(self, folder: Path) -> Enhancing:
        """Get it ready; what had to be learned for it is kept in the folder.

        Raises:
            DynvaeError: the model or corpus cannot be used.
        """
        if self.kind == "noisy":
            return _unchanged
        if self.kind == "subtraction":
            return Filter(SpectralSubtraction())
        if self.kind == "wiener":
            return Filter(WienerFilter())
        if self.kind == "mask":
            return Filter(load_mask(self.source))
        if self.kind == "nmf":
            return Filter(Dictionary.load(folder / _PATTERNS))
        if self.kind == "files":
            return functools.partial(_read, Path(self.source))
        enhancer = Enhancer(self.source, self.kind, **self.settings)
        return functools.partial(_engine, enhancer)

    def prepare(self, folder: Path) -> None:
        """Learn what `make` will need, once, before workers begin."""
        if self.kind == "nmf" and not (folder / _PATTERNS).is_file():
            from dynvae.baselines import learn_dictionary

            learn_dictionary(Corpus.open(self.source)).save(folder / _PATTERNS)


_PATTERNS = "patterns.safetensors"


def _unchanged(waveform: Any, sample_rate: int, *, seed: int = 0, name: str = "") -> NDArray[np.float32]:
    return np.asarray(waveform, np.float32)


def _engine(
    enhancer: Enhancer, waveform: Any, sample_rate: int, *, seed: int = 0, name: str = ""
) -> NDArray[np.float32]:
    return enhancer(waveform, sample_rate, seed=seed, name=name).waveform


def _read(folder: Path, waveform: Any, sample_rate: int, *, seed: int = 0, name: str = "") -> NDArray[np.float32]:
    """The file of the same name that somebody else has enhanced."""
    stem = Path(name).stem
    found = [path for suffix in sorted(AUDIO_SUFFIXES) if (path := folder / f"{stem}{suffix}").is_file()]
    if not found:
        raise AudioError(f"there is no {stem} in {folder}")
    estimate, _ = read_audio(found[0], sample_rate)
    if len(estimate) != len(waveform):
        raise AudioError(f"{found[0]}: {len(estimate)} samples, and {len(waveform)} in the noisy file")
    return estimate
