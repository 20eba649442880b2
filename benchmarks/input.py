"""``python -m benchmarks.input``: from sound files to batches of spectra."""

from __future__ import annotations

__all__ = ["INPUT"]

import itertools
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from benchmarks.command import Choices, main, numbers, shapes
from benchmarks.measure import Samples, clock_of, interleave, ratio
from benchmarks.reference import Crops as TheirCrops
from benchmarks.results import Row
from benchmarks.sounds import write_speech_like
from dynvae.audio import FrontEnd
from dynvae.data import Corpus, Crops, CropSampler, Utterance
from dynvae.data.corpus import sound_files
from dynvae.errors import DataError

Run = Callable[[], object]


@dataclass(frozen=True)
class Input:
    """Seconds of sound per second, for each stage.

    ``preparation``: every file is decoded, trimmed and kept, once before training. ``reading``: the samples of a batch
    of crops are gathered. ``stft``: they become power spectra. ``pipeline``: both together; the reference reads the
    whole file of each crop again.
    """

    purpose: str = "Time the way from sound files to batches of power spectra."

    def jobs(self, choices: Choices) -> list[Callable[[], list[Row]]]:
        """A job for each number of threads and size of a batch."""
        return [
            partial(_measure, choices, batch, time, threads)
            for threads in numbers(choices.threads or ("1",))
            for batch, time in shapes(choices.shapes or ("128x50",))
        ]


INPUT = Input()


def _measure(choices: Choices, batch: int, time: int, threads: int) -> list[Row]:
    torch.set_num_threads(threads)
    front_end, rows = FrontEnd(), []
    with tempfile.TemporaryDirectory() as scratch:
        folder = choices.data or write_speech_like(Path(scratch) / "sound", front_end)
        corpus = Corpus(folder, [Utterance(folder / name, str(name), "", "train") for name in sound_files(folder)])
        crops = Crops(corpus, front_end, time, samples="int16", cache=Path(scratch) / "cache")
        batches = list(CropSampler(crops, batch))
        if len(batches[0]) < batch:
            raise DataError(f"{folder} holds {len(crops)} crops of {time} frames, too few for a batch of {batch}")
        keys, waves = itertools.cycle(batches), crops.waves(batches[0])
        runs: dict[str, dict[str, Run]] = {
            "preparation": {"dynvae": lambda: Crops(corpus, front_end, time, samples="int16")},
            "reading": {"dynvae": lambda: crops.waves(next(keys))},
            "stft": {"dynvae": lambda: waves.power(front_end)},
            "pipeline": {"dynvae": lambda: crops.waves(next(keys)).power(front_end)},
        }
        if choices.reference is not None:
            theirs = TheirCrops(choices.reference, [utterance.path for utterance in corpus], time, front_end)
            runs["pipeline"] = {"reference": partial(theirs.batch, batch), **runs["pipeline"]}
        frames = sum(crops.bank.frames(index) for index in range(len(crops.bank)))
        for task, codes in runs.items():
            shape = (len(corpus), frames // len(corpus)) if task == "preparation" else (batch, time)
            samples = interleave(codes, choices.steps or 5)
            seconds = shape[0] * shape[1] * front_end.hop_length / front_end.sample_rate
            rows += [_row(task, code, shape, seconds, threads, samples) for code in codes]
    return rows


def _row(
    task: str, code: str, shape: tuple[int, int], seconds: float, threads: int, samples: dict[str, Samples]
) -> Row:
    clock, middle = clock_of(threads), samples[code].median()
    return Row(
        "input",
        "input",
        task,
        code,
        *shape,
        threads,
        clock,
        1000 * middle.wall,
        1000 * middle.cpu,
        len(samples[code]),
        samples[code].spread(clock),
        ratio=ratio(samples, code, clock),
        seconds=seconds,
    )


if __name__ == "__main__":
    sys.exit(main(INPUT))
