"""``dynvae data lips SRC``: cut the mouths out of videos, and their sound, for training."""

from __future__ import annotations

__all__ = ["run", "verb_parser"]

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from dynvae.audio import AUDIO_SUFFIXES, FrontEnd, read_audio, write_audio
from dynvae.cli.parsing import Parser, make_parser
from dynvae.cli.progress import progress_of
from dynvae.cli.telling import count, notice, tell, writes
from dynvae.data.corpus import sound_files
from dynvae.errors import ConfigError, DataError, DynvaeError
from dynvae.video import VIDEO_SUFFIXES, Lips, Tracking, find_lips, read_lips, read_soundtrack

DESCRIPTION = """Find the mouth in every video below a folder, and write its crops as NAME.npz (67 x 67 grey pictures,
their times, and where no face was seen), beside the video or below --out; where no sound file of that name lies there,
also the sound track as NAME.wav. What is done is not done again. Exit code 1: some videos could not be used."""
EXAMPLES = (
    "dynvae data lips videos --out lips --workers 2",
    "dynvae data lips clip.mpg --plots   # and a picture of what was found",
)
RATE = FrontEnd().sample_rate


def run(arguments: list[str]) -> int:
    """Cut the lips out of videos, and return 0; 1 if some cannot be used."""
    options = verb_parser(arguments).parse_args(arguments)
    if options.workers < 1:
        raise ConfigError("--workers is positive")
    source = Path(options.source)
    root = source.parent if source.is_file() else source
    videos = [source] if source.is_file() else [root / name for name in sound_files(root, VIDEO_SUFFIXES)]
    if not videos:
        raise DataError(f"{source}: no videos in this folder; looked for {' '.join(sorted(VIDEO_SUFFIXES))}")
    out = root if options.out is None else Path(options.out)
    cut = partial(_cut, root=root, out=out, tracking=Tracking(**options.tracking.as_dict()), plots=options.plots)
    writes("data lips", f"the lips of {count(len(videos), 'video')}", out)
    failed, seen = {}, {}
    with progress_of("lips") as report:
        for done, (video, found) in enumerate(zip(videos, _each(cut, videos, options.workers), strict=True), start=1):
            if isinstance(found, str):
                failed[str(video)] = found
                notice("data lips", found)
            else:
                seen[str(video)] = found
                if not found:
                    notice("data lips", f"{video}: no face is seen anywhere")
            report(done, len(videos))
    share = float(np.mean(list(seen.values()) or [0.0]))
    line = f"{out}: lips of {len(seen)} of {len(videos)} videos; a face in {100 * share:.1f} % of the frames"
    tell({"out": str(out), "share_with_face": seen, "failed": failed}, [line], as_json=options.json)
    return int(bool(failed))


def verb_parser(arguments: Sequence[str] = ()) -> Parser:
    """The parser of the verb."""
    parser = make_parser("data lips", DESCRIPTION, EXAMPLES)
    parser.add_argument("source", type=str, help="a video, or a folder of them")
    parser.add_argument("--out", type=str, default=None, help="folder of the results; by default beside the videos")
    parser.add_argument("--plots", action="store_true", help="also draw crops and presence, as NAME.lips.png")
    parser.add_argument("--workers", type=int, default=1, help="videos at a time")
    parser.add_class_arguments(Tracking, "tracking")
    return parser


def _each(cut: partial[float | str], videos: list[Path], workers: int) -> Iterator[float | str]:
    if workers == 1:
        yield from map(cut, videos)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(cut, videos)


def _cut(video: Path, root: Path, out: Path, tracking: Tracking, plots: bool) -> float | str:
    """Do one video; the share of its frames that have a face, or what is wrong with it."""
    place = out / video.relative_to(root)
    target, sound = place.with_suffix(".npz"), _sound(video, place)
    try:
        lips = read_lips(target) if target.is_file() else find_lips(video, tracking)
        if not target.is_file():
            lips.save(target)
        if not sound.is_file():
            waveform, rate = read_soundtrack(video)
            write_audio(sound, waveform / max(1.0, float(np.abs(waveform).max(initial=0))), rate)
        if plots:
            _draw(lips, sound, place.with_name(f"{place.stem}.lips.png"))
    except DynvaeError as error:
        return str(error)
    return float(lips.present.mean())


def _sound(video: Path, place: Path) -> Path:
    """The sound file beside the lips, or where it will be."""
    there = sorted(path for path in place.parent.glob(f"{video.stem}.*") if path.suffix.lower() in AUDIO_SUFFIXES)
    return there[0] if there else place.with_suffix(".wav")


def _draw(lips: Lips, sound: Path, path: Path) -> None:
    from dynvae.report.lips import lips_figure
    from dynvae.report.style import save

    save(lips_figure(lips, read_audio(sound, RATE)[0], FrontEnd()), path)
