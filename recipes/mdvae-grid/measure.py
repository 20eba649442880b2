"""The figures of this recipe: what an MDVAE, in one stage or two, makes of clips that it has not been trained on.

python recipes/mdvae-grid/measure.py RUN/model speakers.csv@GRID
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor

from dynvae.audio import read_audio
from dynvae.data import Corpus
from dynvae.evaluation.swaps import Probe
from dynvae.evaluation.talking import analyse, decode, hidden, sound_of, talking_view
from dynvae.metrics import pesq_raw
from dynvae.models import MDVAE
from dynvae.pretrained import load
from dynvae.training.multimodal import talking_frames

GREY = 255 * 0.165  # grey levels in a unit of what the model sees
GAP = (25, 50)  # frames without lips: a second


def main(folder: str, data: str) -> None:
    model = load(folder)
    view = talking_view(model)
    assert isinstance(model, MDVAE)
    corpus = Corpus.open(data)
    items = {s: list(corpus.split(s)) for s in ("train", "test")}
    clips = {s: [(item.speaker, talking_frames(view, item, corpus)) for item in items[s]] for s in items}
    lips = {s: [(who, x[:, view.sizes[0] :]) for who, x in part] for s, part in clips.items()}
    mean = {who: torch.cat([x for w, x in lips["train"] if w == who]).mean(0) for who in {w for w, _ in lips["train"]}}
    moves = torch.cat([x - mean[who] for who, x in lips["train"] if who == "s1"])
    axes = torch.linalg.eigh(moves.T @ moves).eigenvectors[:, -3:].flip(1)
    names = [*(["codecs alone"] if model.codecs else []), "both"]
    pairs: dict[str, list[tuple[str, Tensor, Tensor]]] = {n: [] for n in (*names, "lips from sound", "gap", "held")}
    sound: dict[str, list[Tensor]] = {n: [] for n in (*names, "sound from lips", "mean spectrum")}
    pesq: dict[str, list[float]] = {n: [] for n in names}
    average = torch.cat([view.power(x) for _, x in clips["train"]]).add(1e-10).log().mean(0)
    for item, (who, x) in zip(items["test"], clips["test"], strict=True):
        truth, power = x[:, view.sizes[0] :], (view.power(x) + 1e-10).log()
        whole = {"codecs alone": model.decode(model.encode(x[None]))[0], "both": decode(model, analyse(model, x))}
        blind = decode(model, analyse(model, model.observed.hidden(x, "video")))
        mute = decode(model, analyse(model, model.observed.hidden(x, "audio")))
        gap = decode(model, analyse(model, hidden(model, x, [f"video:{GAP[0] / 25}-{GAP[1] / 25}"], view.rate)))
        inside = slice(*GAP)
        waveform = torch.from_numpy(read_audio(item.path, view.sample_rate)[0])
        clean = sound_of(view, x, waveform)  # as the model hears it
        for name in names:
            pairs[name].append((who, whole[name][:, view.sizes[0] :], truth))
            pesq[name].append(pesq_raw(clean, sound_of(view, whole[name], waveform)))
        pairs["lips from sound"].append((who, blind[:, view.sizes[0] :], truth))
        pairs["gap"].append((who, gap[inside, view.sizes[0] :], truth[inside]))
        pairs["held"].append((who, truth[GAP[0] - 1].expand(GAP[1] - GAP[0], -1), truth[inside]))
        for name, made in (*((name, whole[name]) for name in names), ("sound from lips", mute)):
            sound[name].append(((view.power(made) + 1e-10).log() - power).square().mean(-1).sqrt().mean())
        sound["mean spectrum"].append((average - power).square().mean(-1).sqrt().mean())
    print(
        "lips: RMSE in grey levels, that of the speaker's mean picture, correlation of the first 3 principal components"
    )
    for name, items in pairs.items():
        error = torch.cat([made - true for _, made, true in items]).square().mean().sqrt() * GREY
        still = torch.cat([true - mean[who] for who, _, true in items]).square().mean().sqrt() * GREY
        made = torch.cat([(made - mean[who]) @ axes for who, made, _ in items])
        true = torch.cat([(true - mean[who]) @ axes for who, _, true in items])
        alike = [float(torch.corrcoef(torch.stack([made[:, i], true[:, i]]))[0, 1]) for i in range(3)]
        print(f"  {name:<16} {error:6.2f} {still:6.2f}  {' '.join(f'{r:.2f}' for r in alike)}")
    print("sound: log-spectral distance in dB; PESQ (raw) with the clip's own phase")
    for name, values in sound.items():
        heard = f"  {sum(pesq[name]) / len(pesq[name]):.2f}" if name in pesq else ""
        print(f"  {name:<16} {float(torch.stack(values).mean()) * 4.343:5.2f}{heard}")
    speakers = sorted(mean)
    parts = []
    for split in ("train", "test"):
        ws = torch.cat([analyse(model, x).w for _, x in clips[split]])  # type: ignore[misc]
        parts.append((ws, torch.tensor([speakers.index(who) for who, _ in clips[split]])))
    told = Probe.fit(*parts[0])(parts[1][0])
    for index in parts[1][1].unique().tolist():
        rows = parts[1][1] == index
        print(
            f"speaker {speakers[index]} by a linear probe on w: {int((told == index)[rows].sum())} of {int(rows.sum())}"
        )
    print("nats a frame that each stream takes from the observations (KL):")
    with torch.no_grad():
        kl = torch.cat([model.elbo(model.encode(x[None])).kl[0] for _, x in clips["test"]]).mean(0)
    print("  " + ", ".join(f"{name} {float(kl[span].sum()):.1f}" for name, span in model.streams.items()))


if __name__ == "__main__":
    main(*sys.argv[1:3])
