"""Video: files, the mouth in their frames, and its pictures in step with the frames of a sound's transform."""

from __future__ import annotations

from dynvae.video.alignment import Alignment, aligned
from dynvae.video.corruption import corrupted, pieces
from dynvae.video.files import VIDEO_SUFFIXES, VideoInfo, read_frames, read_soundtrack, video_info
from dynvae.video.lips import LIP_PIXELS, LIP_SIDE, Lips, read_lips
from dynvae.video.mouth import Tracking, find_lips
from dynvae.video.talking import TalkingView
from dynvae.video.writing import write_clip, write_strips

__all__ = [
    "LIP_PIXELS",
    "LIP_SIDE",
    "VIDEO_SUFFIXES",
    "Alignment",
    "Lips",
    "TalkingView",
    "Tracking",
    "VideoInfo",
    "aligned",
    "corrupted",
    "find_lips",
    "pieces",
    "read_frames",
    "read_lips",
    "read_soundtrack",
    "video_info",
    "write_clip",
    "write_strips",
]
