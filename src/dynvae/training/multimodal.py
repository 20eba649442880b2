"""Training on sound and lips together, or on made-up pairs: from a model's name and a corpus to a run."""

from __future__ import annotations

__all__ = ["train_multimodal"]

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dynvae.audio import read_audio
from dynvae.data import Corpus, collate
from dynvae.data.lips import lips_path, read_lips_of
from dynvae.data.sequences import SequenceCrops, Sequences
from dynvae.data.two_modalities import SIZES, TWO_MODALITIES, draw_pairs
from dynvae.errors import ConfigError, DataError
from dynvae.models import DVAE, VQVAE, Modalities, MultimodalDVAE, build
from dynvae.training.config import TrainConfig
from dynvae.training.folder import RunFolder
from dynvae.training.loaders import TrainingData
from dynvae.training.machine import Machine, own_randomness
from dynvae.training.run import Outcome, fit
from dynvae.training.speech import start_from
from dynvae.video.talking import TalkingView

LENGTH = 30
"""Frames of a made-up pair."""
TALKING: dict[str, Any] = {
    "likelihood": ["complex_gaussian", "fixed_gaussian"],
    "observation_std": [1.0, 0.3],
    "input_transform": ["log", "raw"],
}
"""Of a model of sound and lips, unless told otherwise."""
ALONE: dict[str, dict[str, Any]] = {
    name: {key: value[index] for key, value in TALKING.items()} for index, name in enumerate(("audio", "video"))
}
"""Of a model of one of the two."""
FEATURES: dict[str, Any] = {"likelihood": "fixed_gaussian", "observation_std": 1.0, "input_transform": "raw"}
"""Of a model in two stages."""
MADE_UP: dict[str, Any] = {"likelihood": "fixed_gaussian", "observation_std": 0.15}


def train_multimodal(
    name: str,
    *,
    data: str | os.PathLike[str] | Corpus,
    out: str | os.PathLike[str],
    view: TalkingView | None = None,
    modality: str | None = None,
    codecs: Mapping[str, str] | None = None,
    count: int = 1500,
    model: dict[str, Any] | None = None,
    init: str | None = None,
    train: TrainConfig | None = None,
    machine: Machine | None = None,
    resume: bool = False,
    progress: bool = False,
) -> Outcome:
    """Train a multimodal model of the zoo, or any on one modality.

    Args:
        name: a model or preset of :data:`dynvae.models.PRESETS`; one that is multimodal, unless there is a modality.
        data: a corpus of speech with lips (`dynvae.data.lips.lips_path`), which needs the splits train and valid; files
            without lips have a missing modality. Or ``"two-modalities"``: `dynvae.data.two_modalities.draw_pairs`.
        out: the folder of the run.
        view: what a frame of sound and lips is; the model carries it as its ``front_end``.
        modality: ``"audio"`` or ``"video"``: train on the frames of that alone, as a codec is.
        codecs: trained VQ-VAEs (folders or hub ids) by modality: the model is the second stage, on their features.
        count: how many made-up pairs; a tenth as many others for the validation.
        model: arguments of the model, but for ``x_dim``.
        init: a trained model (folder or hub id) to start from the weights of; it must have the same sizes.
        train: how to train; its seed decides made-up pairs, too.
        machine: where to train.
        resume: go on from the newest whole checkpoint in ``out``, if there is one.
        progress: show a bar on the terminal.

    Returns:
        The best validation and where the weights are.

    Raises:
        ConfigError: a setting or name is wrong, a codec does not fit, or ``out`` is in use or holds another run.
        DataError: the corpus cannot be used, or has no such split.
    """
    config, view = train or TrainConfig(), view or TalkingView()
    made_up = not isinstance(data, Corpus) and os.fspath(data) == TWO_MODALITIES
    if bool(made_up) + bool(modality) + bool(codecs) > 1:
        raise ConfigError("made-up pairs have no codecs, and neither has a model of one modality; give one of these")
    trained = _read_codecs(codecs, view) if codecs else {}
    with own_randomness():
        torch.manual_seed(config.seed)
        network = _network(name, None if made_up else view, modality, trained, model or {})
    if init is not None and not (resume and RunFolder(out).checkpoints.paths()):
        start_from(network, init)
    frames: dict[str, list[Tensor]] = {}
    names: dict[str, list[str]] = {}
    for split, number, seed in (("train", count, 2 * config.seed), ("valid", -(-count // 10), 2 * config.seed + 1)):
        if made_up:
            frames[split] = list(draw_pairs(number, LENGTH, seed=seed).x)
            names[split] = [str(index) for index in range(number)]
        else:
            found = _sequences(Corpus.open(data), split, view, modality)
            frames[split] = [network.encode(x.unsqueeze(0))[0] if trained else x for x in found.values()]  # type: ignore[operator]
            names[split] = list(found)
    crops = SequenceCrops(frames["train"], names["train"], config.frames, seed=config.seed)
    whole = Sequences(frames["valid"], names["valid"])
    material = TrainingData(crops, whole, whole.lengths, collate)
    facts = {
        "name": name,
        "data": str(data.root if isinstance(data, Corpus) else data),
        "task": "multimodal",
        "init": init,
        "count": count,
        "side": view.side,
        "rate": view.rate,
        "modality": modality,
        "codecs": dict(codecs or {}),
        "model": {key: value for key, value in network.config.items() if key not in ("x_dim", "codecs")},
    }
    return fit(network, material, out, config, machine, resume=resume, progress=progress, settings=facts)


def _network(
    name: str, view: TalkingView | None, modality: str | None, codecs: Mapping[str, VQVAE], model: dict[str, Any]
) -> DVAE:
    """An untrained model of made-up pairs (no view), of one modality, on codecs' features, or of sound and lips."""
    if view is None:
        return build(name, **{"x_dim": tuple(SIZES.values()), **MADE_UP, **model})
    if modality:
        size = dict(zip(ALONE, view.sizes, strict=True))[modality]
        network = build(name, **{"x_dim": size, **ALONE[modality], **model})
        network.front_end = view.audio if modality == "audio" else None
        return network
    if codecs:
        made = tuple(codec.z_dim for codec in codecs.values())
        parts = {key: codec.config for key, codec in codecs.items()}
        network = build(name, **{"x_dim": made, "codecs": parts, **FEATURES, **model})
        assert isinstance(network, MultimodalDVAE), "only these take codecs"
        network.adopt(codecs)
    else:
        network = build(name, **{"x_dim": view.sizes, **TALKING, **model})
    network.front_end = view
    return network


def _read_codecs(folders: Mapping[str, str], view: TalkingView) -> dict[str, VQVAE]:
    """The codecs of a model's first stage, in the order of the modalities.

    Raises:
        ConfigError: there is not one for each modality, or one is no VQ-VAE of such frames.
    """
    from dynvae.pretrained import load

    if set(folders) != set(ALONE):
        raise ConfigError(f"give a codec for each of {', '.join(ALONE)}, not for {', '.join(folders)}")
    codecs: dict[str, VQVAE] = {}
    for name, size in zip(ALONE, view.sizes, strict=True):
        codec = load(folders[name])
        if not isinstance(codec, VQVAE) or codec.x_dim != size or codec.front_end not in (None, view.audio):
            raise ConfigError(f"{folders[name]} is no VQ-VAE of {name} with {size} features a frame; train one with: "
                              f"dynvae train vq-vae --modality {name}, and the same rate and side")  # fmt: skip
        codecs[name] = codec
    return codecs


def _sequences(corpus: Corpus, split: str, view: TalkingView, modality: str | None) -> dict[str, Tensor]:
    """The frames of a split's utterances, by name; of one modality those that have it.

    Raises:
        DataError: a file cannot be read, or the modality is nowhere.
    """
    part = corpus.split(split)
    found = {item.name: talking_frames(view, item, corpus) for item in part}
    if modality:
        span = Modalities(tuple(ALONE), view.sizes).spans[modality]
        alone = {name: x[~x[:, span].isnan().all(-1), span] for name, x in found.items()}
        found = {name: x for name, x in alone.items() if len(x)}
    if not found:
        raise DataError(f"{corpus.root}: nothing in the split {split} has {modality}")
    return found


def talking_frames(view: TalkingView, item: Any, corpus: Corpus) -> Tensor:
    """The frames of an utterance, its lips NaN where it has none.

    Raises:
        DataError: a file cannot be read.
    """
    waveform, _ = read_audio(item.path, view.sample_rate)
    path = lips_path(item, corpus.root)
    frames = view.frames(torch.from_numpy(waveform), None if path is None else read_lips_of(path))
    if not len(frames):
        raise DataError(f"{item.path}: there is not a frame of sound and lips")
    return frames
