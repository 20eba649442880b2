"""``dynvae generate MODEL -n 8 --seconds 3``: draw new sound from a model."""

from __future__ import annotations

__all__ = ["run"]

import sys
from pathlib import Path
from typing import Any, Literal

from dynvae.audio import write_audio
from dynvae.cli.parsing import make_parser
from dynvae.errors import MissingExtraError
from dynvae.evaluation import PEAK, generate, save_spectrograms, speech_front_end
from dynvae.pretrained import load

DESCRIPTION = f"""Draw new sequences from a model: ancestral sampling of the power spectrogram, and a phase for it by
Griffin-Lim. --out gets a WAV file of each, with its peak at {PEAK} of full scale, and a sheet of their spectrograms."""


def run(arguments: list[str]) -> int:
    """Draw, write, and return 0.

    Raises:
        DynvaeError: the model or an option cannot be used.
    """
    parser = make_parser("generate", DESCRIPTION)
    add: Any = parser.add_argument
    add("model", type=str, help="a bundled name, a model's or a run's folder, or a name on the hub")
    add("-n", "--number", type=int, default=8, help="how many")
    add("--seconds", type=float, default=3.0, help="length of each")
    add("--out", type=str, default="generated", help="folder of the results")
    add("--seed", type=int, default=0, help="of all that is drawn")
    add("--feedback", type=Literal["mean", "sample"], default="mean",
        help="what a frame is, for the result and for the frames after it: its expected power, or a draw")  # fmt: skip
    add("--iterations", type=int, default=60, help="of Griffin-Lim")
    add("--device", type=str, default="cpu", help="where the model runs, e.g. cuda")
    settings = parser.parse_args(arguments)
    model = load(settings.model, device=settings.device)
    front_end = speech_front_end(model)
    waveforms, powers = generate(
        model,
        settings.number,
        settings.seconds,
        seed=settings.seed,
        feedback=settings.feedback,
        iterations=settings.iterations,
    )
    out = Path(settings.out)
    digits = len(str(settings.number))
    names = [f"sample-{index:0{digits}d}" for index in range(1, settings.number + 1)]
    for name, waveform in zip(names, waveforms, strict=True):
        write_audio(out / f"{name}.wav", waveform, front_end.sample_rate)
        print(out / f"{name}.wav")
    try:
        save_spectrograms(out / "samples.png", list(powers), names, front_end, columns=4)
        print(out / "samples.png")
    except MissingExtraError as error:
        print(f"dynvae generate: no sheet of spectrograms: {error}", file=sys.stderr)
    return 0
