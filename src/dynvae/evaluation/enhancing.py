"""Enhancement of sound files from disk to disk: what the workers of ``dynvae enhance`` do."""

from __future__ import annotations

__all__ = ["Enhancing", "FileEnhancer", "FileJob"]

import contextlib
import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynvae.audio import AudioInfo, FrontEnd, read_audio, write_audio
from dynvae.audio.blocks import Kept, Writer, read_blocks, survey
from dynvae.condition import Condition
from dynvae.data.lips import LipSettings, condition_of, read_lips_of
from dynvae.errors import AudioError, ConfigError, DataError
from dynvae.metrics import score
from dynvae.pretrained import load
from dynvae.testtime.em import Progress
from dynvae.testtime.enhancement import Enhanced, Enhancer
from dynvae.testtime.long import Chunks, enhance_in_chunks
from dynvae.testtime.mixture import PriorMixture
from dynvae.testtime.online import Online
from dynvae.testtime.presets import Preset
from dynvae.testtime.prior import DVAEPrior
from dynvae.testtime.streaming import StreamingEnhancer
from dynvae.video import VIDEO_SUFFIXES, Lips, read_soundtrack
from dynvae.work import Item

Sound = NDArray[np.float32]
SCORE_RATE = 16000
_NOTABLE = 0.995
PLOTTED = 30.0
"""Seconds of a file that are drawn at most."""


@dataclass(frozen=True)
class Enhancing:
    """All that decides what becomes of a file.

    Attributes:
        prior: name or folder of the model; or of several that are at work in turn: ``vae-mm:A,B`` (each frame by
            itself) or ``sw-vae:A,B`` (a chain), see `dynvae.testtime.PriorMixture`.
        preset: the method.
        online: enhance as a stream instead, in this way.
        chunks: how long recordings are cut.
        seed: of all random numbers.
        float_samples: write 32-bit floating-point WAV instead of the format of the input.
        metrics: scores to compute where clean speech is given.
        plots: draw spectrograms and noise, and the lips.
        device: where the model runs.
        lips: how the lips come to the frames, for a prior that sees them.
    """

    prior: str
    preset: Preset
    online: Online | None = None
    chunks: Chunks = field(default_factory=Chunks)
    seed: int = 0
    float_samples: bool = False
    metrics: tuple[str, ...] = ("si_sdr",)
    plots: bool = False
    device: str = "cpu"
    lips: LipSettings = field(default_factory=LipSettings)


@dataclass(frozen=True)
class FileJob:
    """One file: where it comes from and goes to, its clean speech and its lips, if they are known.

    The source may be a video, of which the sound track is enhanced; the lips may be of any form that
    `dynvae.video.read_lips` reads, also the same video.
    """

    source: Path
    target: Path
    clean: Path | None = None
    lips: Path | None = None


class FileEnhancer:
    """Enhances files, in memory that does not grow with them; the `Work` of items whose payload is a `FileJob`.

    Args:
        way: what to do.
        progress: told how a chunk goes.

    Raises:
        DynvaeError: the prior cannot be used in this way.
    """

    def __init__(self, way: Enhancing, progress: Progress | None = None) -> None:
        self.way, self.progress = way, progress
        mixture, names = parts_of(way.prior)
        self.models = [load(name, way.device) for name in names]
        self.model = self.models[0]
        sizes = {model.condition_dim for model in self.models if model.condition_dim}
        if len(sizes) > 1 or (mixture and way.online is not None):
            why = "see lips of different sizes" if len(sizes) > 1 else "cannot work on a stream"
            raise ConfigError(f"the models of '{way.prior}' {why}")
        self.sees = max(sizes, default=0)
        """Numbers in a frame of lips; 0 where the prior sees none."""
        self.engine = self._engine(mixture) if way.online is None else self.stream()
        self.front_end = self.engine.front_end

    def _engine(self, mixture: str) -> Enhancer:
        way = self.way
        if not mixture:
            return Enhancer(self.model, way.preset, device=way.device)
        priors = [DVAEPrior(model, feedback=way.preset.feedback, energy=way.preset.energy) for model in self.models]
        together = PriorMixture.switching(priors) if mixture == "sw-vae" else PriorMixture(priors)
        front_end = self.model.front_end
        if not isinstance(front_end, FrontEnd) or any(model.front_end != front_end for model in self.models):
            raise ConfigError(f"the models of '{way.prior}' have not the same front end")
        return Enhancer(together, way.preset, front_end=front_end, device=way.device)

    def stream(self, rate: int = 16000, channels: int = 1) -> StreamingEnhancer:
        """An enhancer of one stream.

        Args:
            rate: in hertz.
            channels: how many.
        """
        assert self.way.online is not None
        return StreamingEnhancer(
            self.model, rate, channels, self.way.online, seed=self.way.seed, device=self.way.device
        )

    def __call__(self, items: Sequence[Item]) -> Iterator[dict[str, Any]]:
        """Enhance the files of items, and tell of each what there is to tell."""
        return (self.enhance(item.payload) for item in items)

    def enhance(self, job: FileJob) -> dict[str, Any]:
        """Enhance a file: first it is read once to see whether it can be used, then again, piece by piece.

        Returns:
            What is to be told of it, plain enough for JSON.

        Raises:
            AudioError: the file cannot be used, or the result cannot be written.
        """
        with heard(job.source) as sound:
            return self._enhance(job, sound)

    def _enhance(self, job: FileJob, sound: Path) -> dict[str, Any]:
        """Enhance a file whose sound is in another, if it is a video."""
        info = survey(sound)
        kept = Kept.of(info, job.target.suffix, float_samples=self.way.float_samples)
        course = _Course()
        wall, cpu = time.perf_counter(), time.process_time()
        lips = None if job.lips is None else read_lips_of(job.lips)
        condition = None if lips is None else self._condition(lips, info, job)
        with Writer(job.target, kept, info.sample_rate, info.channels) as writer:
            for piece in self._pieces(sound, info, course, str(job.source), condition):
                writer.write(piece)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        found: dict[str, Any] = {
            "input": str(job.source), "output": str(job.target), "seconds": info.seconds,
            "sample_rate": info.sample_rate, "channels": info.channels, "format": f"{kept.format} {kept.subtype}",
            "real_time_factor": wall / info.seconds, "processor_factor": cpu / info.seconds,
            "clipped": writer.clipped, **course.told(),
        }  # fmt: skip
        if condition is not None:
            found |= {"lips": str(job.lips), "frames_with_lips": float(condition.present.float().mean())}
        found["notices"] = list(self._notices(found, info, kept))
        if job.clean is not None:
            found["scores"] = {name: self._scores(job.clean, path)
                               for name, path in (("noisy", sound), ("enhanced", job.target))}  # fmt: skip
        if self.way.plots:
            self._draw(job, sound, info, course.first, lips)
        return found

    def _condition(self, lips: Lips, info: AudioInfo, job: FileJob) -> Condition:
        """The lips on the frames of the prior."""
        frames = self.front_end.frames(round(info.seconds * self.front_end.sample_rate))
        try:
            return condition_of(lips, frames, self.front_end, self.sees, self.way.lips)
        except ConfigError as error:
            raise DataError(f"{job.lips}: {error}") from None

    def _pieces(
        self, source: Path, info: AudioInfo, course: _Course, name: str, condition: Condition | None
    ) -> Iterator[Sound]:
        blocks = read_blocks(source)
        if isinstance(self.engine, Enhancer):
            yield from enhance_in_chunks(
                self.engine, blocks, info.sample_rate, info.samples, chunks=self.way.chunks, seed=self.way.seed,
                name=name, progress=self.progress, told=course,
                **({} if condition is None else {"condition": condition}),
            )  # fmt: skip
            return
        stream = self.stream(info.sample_rate, info.channels)
        course.latency = stream.latency
        for block in blocks:
            yield stream.push(block)
        yield np.atleast_2d(stream.flush())

    def _notices(self, found: dict[str, Any], info: AudioInfo, kept: Kept) -> Iterator[str]:
        if info.sample_rate != self.front_end.sample_rate:
            yield f"{info.sample_rate} Hz, resampled to the prior's {self.front_end.sample_rate} Hz and back"
        if silent := found.get("silent_channels"):
            which = "the file" if len(silent) == info.channels else f"channel {', '.join(map(str, silent))}"
            yield f"{which} is silent, and stays so"
        if found.get("collapsed_chunks"):
            yield (f"in {found['collapsed_chunks']} of {found['chunks']} chunks hardly any speech was left, and the "
                   "last healthy estimate is given: listen to it")  # fmt: skip
        if found["clipped"]:
            yield f"{found['clipped']} samples beyond full scale were clipped; --float keeps them"
        if self.sees and "lips" not in found:
            yield "there are no lips for it; it is enhanced by sound alone"
        if found.get("frames_with_lips", 1.0) < _NOTABLE:
            yield f"no lips in {100 * (1 - found['frames_with_lips']):.0f} % of the frames, which are enhanced by sound"
        if not self.way.float_samples and (kept.format, kept.subtype) != (info.format, info.subtype):
            yield f"written as {kept.format} {kept.subtype} instead of {info.format} {info.subtype}"

    def _scores(self, clean: Path, estimate: Path) -> dict[str, Any]:
        """Scores of the mean of the channels at 16 kHz; of a failure, its reason."""
        try:
            reference, judged = (read_audio(path, SCORE_RATE)[0] for path in (clean, estimate))
            scores = score(reference, judged, SCORE_RATE, self.way.metrics)
        except AudioError as error:
            return {name: str(error) for name in self.way.metrics}
        return {name: found.reason if found.failed else found.value for name, found in scores.items()}

    def _draw(self, job: FileJob, sound: Path, info: AudioInfo, first: Enhanced | None, lips: Lips | None) -> None:
        from dynvae.report.enhancement import enhancement_figure
        from dynvae.report.style import save

        size = 1 << 14
        count = int(np.ceil(PLOTTED * info.sample_rate / size))
        noisy, speech = (
            np.concatenate([block[0] for block in itertools.islice(read_blocks(path, size), count)])
            for path in (sound, job.target)
        )
        figure = enhancement_figure(noisy, speech, info.sample_rate, self.front_end, first)
        save(figure, picture_of(job.target))
        if lips is not None and lips.values.dtype == np.uint8:
            from dynvae.report.lips import lips_figure

            heard_at, _ = read_audio(sound, self.front_end.sample_rate)
            save(lips_figure(lips, heard_at, self.front_end), job.target.with_name(f"{job.target.name}.lips.png"))


MIXTURES = ("vae-mm", "sw-vae")


def parts_of(prior: str) -> tuple[str, list[str]]:
    """The kind of a mixture, empty for a single model, and the names of its models.

    Example:
        >>> parts_of("sw-vae:runs/vae,runs/av-cvae"), parts_of("rvae-speech")
        (('sw-vae', ['runs/vae', 'runs/av-cvae']), ('', ['rvae-speech']))
    """
    kind, colon, rest = prior.partition(":")
    names = [name.strip() for name in rest.split(",")]
    if not colon or kind not in MIXTURES:
        return "", [prior]
    if len(names) < 2 or not all(names):
        raise ConfigError(f"a mixture is of two models or more, as in {kind}:A,B; not '{prior}'")
    return kind, names


@contextlib.contextmanager
def heard(source: Path) -> Iterator[Path]:
    """A sound file with what a source sounds like: itself, or the sound track of a video, as long as it is needed.

    Raises:
        DataError: the video cannot be read, or has no sound.
    """
    if source.suffix.lower() not in VIDEO_SUFFIXES:
        yield source
        return
    sound, rate = read_soundtrack(source, mono=False)
    with tempfile.TemporaryDirectory(prefix="dynvae-") as folder:
        path = Path(folder) / "sound.wav"
        write_audio(path, sound / max(1.0, float(np.abs(sound).max())), rate)
        yield path


def picture_of(target: Path) -> Path:
    """Where the plots of a result are."""
    return target.with_name(f"{target.name}.png")


class _Course:
    """Collects what is told of chunks."""

    def __init__(self) -> None:
        self.first: Enhanced | None = None
        self.chunks = self.collapsed = 0
        self.silent: NDArray[np.bool_] = np.zeros(0, bool)
        self.latency: float | None = None

    def __call__(self, number: int, count: int, noisy: Sound, found: Enhanced) -> None:
        self.silent = found.silent if number == 1 else self.silent & found.silent
        self.first = found if number == 1 else self.first
        self.chunks, self.collapsed = count, self.collapsed + int(found.collapsed.any())

    def told(self) -> dict[str, Any]:
        if self.latency is not None:
            return {"latency": self.latency}
        return {
            "chunks": self.chunks,
            "collapsed_chunks": self.collapsed,
            "silent_channels": [int(index) + 1 for index in np.flatnonzero(self.silent)],
        }
