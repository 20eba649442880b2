"""A look at every file of a corpus, for what would make trouble later."""

from __future__ import annotations

__all__ = ["NOTES", "PROBLEMS", "SOUND_NOTES", "SOUND_PROBLEMS", "Finding", "Scan", "scan"]

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import soundfile

from dynvae.audio.files import open_audio
from dynvae.data.corpus import Corpus, Utterance
from dynvae.errors import AudioError
from dynvae.files import sha256_file

# What must be mended by hand, and what preparation takes care of: in the sound, and in the lips that belong to it.
SOUND_PROBLEMS = {
    "unreadable": "cannot be read as sound",
    "truncated": "damaged, or shorter than its header says",
    "non-finite": "holds NaN or infinity",
    "checksum": "is not the file of the manifest",
    "silence": "holds no sound",
    "clipping": "has flat peaks",
    "short": "shorter than one STFT window",
    "duplicate": "holds the samples of another file",
    "speaker": "the speaker is in several splits",
}
LIP_PROBLEMS = {
    "lips": "the lips or the video cannot be read",
    "faceless": "no face is seen anywhere in the video",
    "apart": "sound and video are of different length",
    "still": "the pictures of the mouth do not move",
}
SOUND_NOTES = {
    "rate": "is resampled when used",
    "channels": "is folded to one channel when used",
    "offset": "has an offset, which is removed when used",
}
LIP_NOTES = {
    "no lips": "there is neither video nor lips for the sound",
    "no sound": "the video has no sound track",
    "gaps": "no face in a part of the video, which counts as absent",
    "transposed": "the pictures look as if their rows were columns",
}
PROBLEMS, NOTES = SOUND_PROBLEMS | LIP_PROBLEMS, SOUND_NOTES | LIP_NOTES
_BLOCK = 1 << 18  # samples; memory does not grow with the length of a file
_OFFSET = 0.01  # of full scale
_FLAT = 3  # equal samples in a row at the peak
_QUIET = 0.05  # below this peak, equal samples in a row are rounding and not clipping


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be with one file."""

    file: str
    kind: str  # a key of PROBLEMS or NOTES
    detail: str


@dataclass
class Scan:
    """What a scan found out."""

    files: int = 0
    seconds: float = 0.0
    splits: dict[str, int] = field(default_factory=dict)
    speakers: int = 0
    rates: dict[int, int] = field(default_factory=dict)  # hertz: files
    channels: dict[int, int] = field(default_factory=dict)  # channels: files
    findings: list[Finding] = field(default_factory=list)

    def of(self, kinds: Iterable[str]) -> list[Finding]:
        """The findings of some kinds."""
        wanted = set(kinds)
        return [finding for finding in self.findings if finding.kind in wanted]

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        summary = {key: value for key, value in vars(self).items() if key != "findings"}
        return summary | {
            "problems": [asdict(finding) for finding in self.of(PROBLEMS)],
            "notes": [asdict(finding) for finding in self.of(NOTES)],
        }


@dataclass
class _Seen:
    """What one file showed; the sums grow block by block."""

    rate: int = 0
    channels: int = 0
    samples: int = 0
    bad: int = 0
    first_bad: int = -1
    total: float = 0.0
    peak: float = 0.0
    flat: int = 0
    content: str = ""
    problem: tuple[str, str] | None = None


def scan(
    corpus: Corpus,
    sample_rate: int = 16000,
    window_length: int = 1024,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Scan:
    """Examine every file of a corpus: header, samples and content.

    Args:
        corpus: what `Corpus.open` gives.
        sample_rate: the rate that a model will want, in hertz.
        window_length: of the STFT, in samples at that rate; a shorter file is a problem.
        workers: files examined at once.
        progress: called with the number of files done and of all.

    Returns:
        Counts, and the findings in the order of the files.
    """
    result = Scan(files=len(corpus), splits=corpus.splits, speakers=len([name for name in corpus.speakers if name]))
    rates: Counter[int] = Counter()
    channels: Counter[int] = Counter()
    first: dict[str, str] = {}
    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        for number, (utterance, seen) in enumerate(zip(corpus, pool.map(_examine, corpus), strict=True)):
            if seen.rate:
                rates[seen.rate] += 1
                channels[seen.channels] += 1
                result.seconds += seen.samples / seen.rate
            for kind, detail in _judge(seen, sample_rate, window_length):
                result.findings.append(Finding(utterance.name, kind, detail))
            if seen.content:
                twin = first.setdefault(seen.content, utterance.name)
                if twin != utterance.name:
                    result.findings.append(Finding(utterance.name, "duplicate", f"the same samples as {twin}"))
            if progress:
                progress(number + 1, len(corpus))
    result.rates, result.channels = dict(sorted(rates.items())), dict(sorted(channels.items()))
    result.findings += _shared_speakers(corpus)
    return result


def _examine(utterance: Utterance) -> _Seen:
    seen = _Seen()
    expected = utterance.extra.get("sha256")
    try:
        with open_audio(utterance.path) as file:
            seen.rate, seen.channels = file.samplerate, file.channels
            _listen(file, seen)
            if seen.samples < file.frames:
                seen.problem = ("truncated", f"{seen.samples} of {file.frames} samples are there")
        if expected and not seen.problem and sha256_file(utterance.path) != expected.lower():
            seen.problem = ("checksum", "the SHA-256 is not that of the manifest")
    except AudioError as error:
        text = str(error).removeprefix(f"{utterance.path}: ")
        seen.problem = ("truncated" if text.startswith("cut short") else "unreadable", text)
    except (soundfile.LibsndfileError, OSError) as error:
        seen.problem = ("truncated", f"after {seen.samples} samples ({error})")
    return seen


def _listen(file: soundfile.SoundFile, seen: _Seen) -> None:
    content = hashlib.blake2b(f"{file.samplerate} {file.channels}".encode(), digest_size=16)
    while len(block := file.read(_BLOCK, dtype="float32", always_2d=True)):
        finite = np.isfinite(block)
        if not finite.all():
            if not seen.bad:
                seen.first_bad = seen.samples + int(np.flatnonzero(~finite.all(axis=1))[0])
            seen.bad += int((~finite).sum())
            block = np.where(finite, block, 0)
        content.update(np.ascontiguousarray(block).data)
        seen.samples += len(block)
        seen.total += float(block.sum(dtype=np.float64)) / file.channels
        peak = float(np.abs(block).max())
        if peak >= seen.peak:
            # A block of a higher peak makes what was flat before it no clipping at all.
            seen.flat = (seen.flat if peak == seen.peak else 0) + _flat_samples(block, peak)
            seen.peak = peak
    if seen.samples and not seen.bad and seen.peak > 0:
        seen.content = content.hexdigest()


def _flat_samples(block: np.ndarray[Any, Any], peak: float) -> int:
    """How many samples stand in rows of equal ones at the peak."""
    total = 0
    for channel in block.T:
        for level in (peak, -peak):
            at = np.concatenate([[False], channel == level, [False]])
            edges = np.flatnonzero(np.diff(at))
            rows = edges[1::2] - edges[::2]
            total += int(rows[rows >= _FLAT].sum())
    return total


def _judge(seen: _Seen, sample_rate: int, window_length: int) -> Iterator[tuple[str, str]]:
    if seen.problem:
        yield seen.problem
    if not seen.samples or seen.problem:
        return
    if seen.bad:
        yield "non-finite", f"{seen.bad} samples are NaN or infinite, the first at index {seen.first_bad}"
    mean = seen.total / seen.samples
    needed = window_length / sample_rate
    if seen.samples / seen.rate < needed:
        yield "short", f"{1000 * seen.samples / seen.rate:.1f} ms, a window is {1000 * needed:.0f} ms"
        return
    if seen.peak == 0:
        yield "silence", "all samples are zero"
    elif abs(seen.peak - abs(mean)) <= 1e-7:
        yield "silence", f"all samples are {mean:.3g}"
    elif abs(mean) > _OFFSET:
        yield "offset", f"the mean is {mean:.3f}"
    elif seen.flat and seen.peak >= _QUIET:
        yield "clipping", f"{seen.flat} samples in rows at the peak of {seen.peak:.3f}"
    if seen.rate != sample_rate:
        yield "rate", f"{seen.rate} Hz, not {sample_rate} Hz"
    if seen.channels != 1:
        yield "channels", f"{seen.channels} channels"


def _shared_speakers(corpus: Corpus) -> Iterator[Finding]:
    splits: defaultdict[str, set[str]] = defaultdict(set)
    for utterance in corpus:
        splits[utterance.speaker].add(utterance.split)
    told = set()
    for utterance in corpus:
        name = utterance.speaker
        if name and name not in told and len(splits[name]) > 1:
            told.add(name)
            yield Finding(utterance.name, "speaker", f"{name} is in {', '.join(sorted(splits[name]))}")
