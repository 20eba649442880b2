"""Videos that are made for a test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dynvae.errors import require


def write_video(
    path: Path, pictures: NDArray[np.uint8], rate: int = 25, sound: NDArray[np.float32] | None = None
) -> Path:
    """A video of grey pictures ``(time, height, width)``, with a sound track at 16 kHz if there is sound."""
    av = require("av", "video")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.height, stream.width = pictures.shape[1:]
        stream.pix_fmt, stream.bit_rate = "yuv420p", 4_000_000
        track = None if sound is None else container.add_stream("pcm_s16le", rate=16000, layout="mono")
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(np.repeat(picture[..., None], 3, -1), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if track is not None:
            integers = np.rint(32767 * sound).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(integers, format="s16", layout="mono")
            frame.sample_rate = 16000
            container.mux(track.encode(frame))
            container.mux(track.encode())
    return path


def grid_face(shared: Path) -> NDArray[np.uint8]:
    """A frame of a real video with a face in it."""
    from dynvae.video import read_frames

    return next(read_frames(shared / "data/av/raw_video/s1_srih3a.mpg"))[1]
