"""The server, as programs meet it: results, and uploads that wish it ill, after each of which it is in good health."""

from __future__ import annotations

import gzip
import io
import json
import re
import struct
import urllib.error
import urllib.parse
import urllib.request
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from tests.app.browser import absent, fetch

from dynvae.video import write_clip

pytestmark = pytest.mark.skipif(bool(absent("gradio", "av", "cv2", "scipy")), reason="extras of the demo are absent")

RATE = 16000
Answer = tuple[str, Any]
"""What came of a call: "complete" and its data, "error" and its message, or "refused" and a status."""


class Visitor:
    """A program that uses the server."""

    def __init__(self, address: str) -> None:
        self.address = address

    def _post(self, path: str, body: bytes, kind: str) -> bytes:
        request = urllib.request.Request(f"{self.address}gradio_api/{path}", body, {"Content-Type": kind})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return bytes(answer.read())

    def upload(self, name: str, content: bytes) -> dict[str, Any]:
        """Upload a file, and get what names it in calls."""
        head = f'--xyz\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
        body = head.encode("utf-8", "surrogateescape") + content + b"\r\n--xyz--\r\n"
        (path,) = json.loads(self._post("upload", body, "multipart/form-data; boundary=xyz"))
        return {"path": path, "meta": {"_type": "gradio.FileData"}}

    def call(self, name: str, *data: Any) -> Answer:
        """Do work, and wait for it."""
        try:
            message = json.dumps({"data": data}).encode()
            event = json.loads(self._post(f"call/{name}", message, "application/json"))["event_id"]
        except urllib.error.HTTPError as error:
            return "refused", error.code
        text = fetch(f"{self.address}gradio_api/call/{name}/{event}").decode()
        events = [each.partition("\ndata: ") for each in text.split("\n\n") if "\ndata: " in each]
        kind, found = next((kind, json.loads(rest)) for kind, _, rest in events if not kind.endswith("heartbeat"))
        if kind.endswith("complete"):
            return "complete", found
        return "error", found["error"] if isinstance(found, dict) else found

    def send(self, name: str, content: bytes) -> Answer:
        """Upload something as noisy speech, and have it enhanced, quickly."""
        try:
            file = self.upload(name, content)
        except urllib.error.HTTPError as error:
            return "refused", error.code
        except urllib.error.URLError:  # the door was shut while we were still talking
            return "refused", 413
        return self.call("enhance", file, "vae-speech", "fast", 2)

    def sound(self, file: dict[str, Any]) -> tuple[np.ndarray, int]:
        """What a player would play."""
        return soundfile.read(io.BytesIO(fetch(f"{self.address}gradio_api/file={file['path']}")), always_2d=True)

    def healthy(self) -> bool:
        """Whether it shows its page and does its work: that which takes least."""
        boxes = b"".join(b"%d,-1,10,20,30,60,1\n" % frame for frame in range(1, 5))
        kind, found = self.call("track", self.upload("fine.txt", boxes), None, "SORT, without a model")
        return b"gradio" in fetch(self.address) and kind == "complete" and "1 tracks in 4 frames" in found[0]


def sound(
    seconds: float = 0.25, channels: int = 1, subtype: str = "PCM_16", kind: str = "WAV", rate: int = RATE,
    value: float | None = None,
) -> bytes:  # fmt: skip
    """A file of noise, or of a constant; with a NaN or an infinity in the middle of it."""
    samples = np.random.default_rng(0).normal(0, 0.1, (round(seconds * rate), channels))
    if value is not None:
        samples[:] = value if np.isfinite(value) else samples
        samples[len(samples) // 2] = value
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, subtype=subtype, format=kind)
    return buffer.getvalue()


def short(count: int) -> bytes:
    """So many samples."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.full(count, 0.1), RATE, subtype="PCM_16", format="WAV")
    return buffer.getvalue()


def pretending(rate: int = RATE, channels: int = 1, size: int | None = None) -> bytes:
    """A WAV file whose header says what somebody wants it to say."""
    data = bytes(2000)
    form = struct.pack("<HHIIHH", 1, channels, rate, (rate * 2) & 0xFFFFFFFF, 2, 16)
    told = len(data) if size is None else size
    return b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + \
           struct.pack("<I", told) + data  # fmt: skip


def bomb() -> bytes:
    """Two hours of silence in a few kilobytes."""
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", 8000, 1, format="FLAC") as file:
        for _ in range(120):
            file.write(np.zeros(8000 * 60, np.int16))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def visitor(address: str) -> Visitor:
    return Visitor(address)


REFUSED: dict[str, tuple[str, Any, str]] = {
    "truncated WAV": ("a.wav", lambda: sound()[:3000], "cut short"),
    "truncated FLAC": ("a.flac", lambda: sound(kind="FLAC")[:3000], "damaged|cut short|no samples"),
    "no byte": ("a.wav", lambda: b"", "empty"),
    "not sound": ("a.wav", lambda: np.random.default_rng(1).bytes(5000), "not a sound file"),
    "text": ("notes.wav", lambda: b"hello, this is no sound\n" * 100, "not a sound file"),
    "NaN": ("a.wav", lambda: sound(subtype="FLOAT", value=np.nan), "1 samples are NaN or infinite"),
    "infinity": ("a.wav", lambda: sound(subtype="DOUBLE", value=np.inf), "1 samples are NaN or infinite"),
    "a hundred channels": ("a.wav", lambda: sound(channels=100), "100 channels; at most 2"),
    "a rate of four gigahertz": ("a.wav", lambda: pretending(rate=4_000_000_000), "Hz|not a sound file|channels"),
    "a rate of one hertz": ("a.wav", lambda: pretending(rate=1), "a rate of 1 Hz"),
    "no channels": ("a.wav", lambda: pretending(channels=0), "not a sound file|channels"),
    "a size beyond the file": ("a.wav", lambda: pretending(size=1 << 30), "cut short"),
    "hours of silence": ("a.flac", bomb, r"7200\.0 s; at most 5 s"),
    "HTML": ("a.html", lambda: b"<html><script>alert(1)</script></html>", "not a sound file"),
    "SVG": ("a.svg", lambda: b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "not a sound file"),
    "a path": ("link.wav", lambda: b"/etc/passwd", "not a sound file"),
    "compressed zeros": ("a.wav.gz", lambda: gzip.compress(bytes(10_000_000)), "not a sound file"),
    "a picture that is a sound": ("a.gif", lambda: b"GIF89a" + sound(), "not a sound file"),
    "a pickle": ("model.pkl", lambda: b"\x80\x04cos\nsystem\n(S'id'\ntR.", "not a sound file"),
    "too long by a little": ("a.wav", lambda: sound(5.1), r"5\.1 s; at most 5 s"),
}
TAKEN: dict[str, tuple[str, Any, int]] = {
    "a name that is a path": ("../../../../etc/passwd", sound, RATE // 4),
    "a name of Windows": ("C:\\Windows\\system32\\a.wav", sound, RATE // 4),
    "a very long name": ("a" * 5000 + ".wav", sound, RATE // 4),
    "a name in Unicode": ("träumerei 🎵 \u202egnp.wav", sound, RATE // 4),
    "a name of dots": ("...", sound, RATE // 4),
    "a shell's name": ("$(reboot); rm -rf ~ | `id`.wav", sound, RATE // 4),
    "HTML in the name": ("<img src=x onerror=alert(1)>.wav", sound, RATE // 4),
    "one sample": ("a.wav", lambda: short(1), 1),
    "two samples": ("a.wav", lambda: short(2), 2),
    "silence": ("a.wav", lambda: sound(value=0.0), RATE // 4),
    "a constant": ("a.wav", lambda: sound(value=0.5), RATE // 4),
    "eight bits": ("a.wav", lambda: sound(subtype="PCM_U8"), RATE // 4),
    "two channels": ("a.wav", lambda: sound(channels=2), RATE // 4),
    "a high rate": ("a.wav", lambda: sound(rate=192_000), 48_000),
    "a low rate": ("a.ogg", lambda: sound(rate=8000, kind="OGG", subtype="VORBIS"), 2000),
    "sound under another name": ("picture.png", sound, RATE // 4),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_used_gets_one_line(visitor: Visitor, name: str) -> None:
    file, content, complaint = REFUSED[name]
    kind, message = visitor.send(file, content())
    assert kind == "error", message
    assert re.search(complaint, message), message
    assert "\n" not in message
    assert "/tmp" not in message
    assert "Traceback" not in message
    assert visitor.healthy()


@pytest.mark.parametrize("name", TAKEN)
def test_what_only_looks_odd_gets_a_result(visitor: Visitor, name: str) -> None:
    file, content, samples = TAKEN[name]
    kind, found = visitor.send(file, content())
    assert kind == "complete", found
    heard, _ = visitor.sound(found[1])
    assert len(heard) == samples
    assert np.isfinite(heard).all()
    path = Path(found[1]["path"])
    assert path.parts[:2] == Path(found[0]["path"]).parts[:2]
    assert visitor.healthy()


def test_huge_uploads_are_refused_at_the_door(visitor: Visitor) -> None:
    assert visitor.send("huge.wav", bytes(1_200_000)) == ("refused", 413)
    assert visitor.healthy()


def test_names_on_the_server_are_its_own(visitor: Visitor) -> None:
    one, two = (visitor.upload("../secret name.wav", sound())["path"] for _ in range(2))
    assert one != two
    assert "secret" not in one
    assert Path(one).suffix == ".wav"


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../../etc/passwd", "/proc/self/environ", "", "\0", "/tmp", __file__, "a" * 100_000]
)
def test_other_files_of_the_server_are_not_read(visitor: Visitor, path: str) -> None:
    kind, message = visitor.call("enhance", {"path": path, "meta": {"_type": "gradio.FileData"}}, "vae-speech")
    assert kind in ("error", "refused")
    assert "root:" not in str(message)
    with pytest.raises((urllib.error.HTTPError, OSError, ValueError)):
        fetch(f"{visitor.address}gradio_api/file={urllib.parse.quote(path) or 'x'}")
    assert visitor.healthy()


def test_other_hosts_are_not_asked(visitor: Visitor) -> None:
    file = {"path": "http://127.0.0.1:9/a.wav", "meta": {"_type": "gradio.FileData"}}
    assert visitor.call("enhance", file, "vae-speech", "fast", 2) == ("refused", 400)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        fetch(f"{visitor.address}gradio_api/file=http://127.0.0.1:9/a.wav")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("enhance", [None, "vae-speech", "default", 10]),
        ("enhance", [None, "nobody", "default", 10]),
        ("enhance", [None, "vae-speech", "nothing", 10]),
        ("generate", ["vae-speech", 1e9, 1, 0, "mean"]),
        ("generate", ["vae-speech", 1, 10**9, 0, "mean"]),
        ("generate", ["vae-speech", "long", 1, 0, "mean"]),
        ("generate", ["srnn-boxes", 1, 1, 0, "mean"]),
        ("generate", []),
        ("separate", [None, "vae-speech", "vae-speech", "none", 5]),
        ("explore", [None, None, "vae-speech", "swap", "all", 1]),
        ("track", [None, None, "srnn-boxes"]),
        ("lips", [None, "vae-speech"]),
    ],
)
def test_settings_that_cannot_be(visitor: Visitor, name: str, data: list[Any]) -> None:
    kind, message = visitor.call(name, *data)
    assert kind in ("error", "refused"), message
    assert "/tmp" not in str(message)
    assert visitor.healthy()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "there is not one box"),
        (b"1,2", "2 columns"),
        (b"\xff\xfe\x00", "no text"),
        (b"1000000,-1,1,1,5,5,1\n", "at most 50000 in 3000"),
        (b"1,-1,1,1,5,5,1\n" * 200, "more than 100 boxes in a frame"),
        (b"1,-1,1e300,1,5,5,1\n", "pixels away"),
    ],
)
def test_boxes_that_cannot_be(visitor: Visitor, content: bytes, complaint: str) -> None:
    kind, message = visitor.call("track", visitor.upload("det.txt", content), None, "srnn-boxes")
    assert kind == "error"
    assert complaint in message
    assert visitor.healthy()


def test_boxes_are_followed(visitor: Visitor) -> None:
    lines = "".join(f"{frame},-1,{10 + frame},20,30,60,1\n" for frame in range(1, 20))
    kind, found = visitor.call("track", visitor.upload("det.txt", lines.encode()), None, "srnn-boxes")
    assert kind == "complete"
    assert "1 tracks in 19 frames" in found[0]
    tracks = found[3]["value"] if "value" in found[3] else found[3]
    assert len(fetch(f"{visitor.address}gradio_api/file={tracks['path']}").splitlines()) == 19


def test_videos_without_sound_or_face_or_picture(visitor: Visitor, tmp_path: Path) -> None:
    write_clip(tmp_path / "mute.mp4", np.full((20, 48, 64), 90, np.uint8), 25.0, enlarge=2)
    file = visitor.upload("mute.mp4", (tmp_path / "mute.mp4").read_bytes())
    video = {"video": file, "subtitles": None}
    for payload in (file, video):
        kind, found = visitor.call("lips", payload, "no model: only look")
        if kind == "complete":
            break
    assert kind == "complete", found
    assert "a mouth in **0 %** of them. The video has no sound." in found[0]
    kind, message = visitor.call("lips", visitor.upload("film.mp4", sound()), "no model: only look")
    assert (kind, message) == ("error", "the video: there are no pictures in this file")
    assert visitor.healthy()


def test_who_comes_when_all_wait_is_turned_away(visitor: Visitor) -> None:
    file = visitor.upload("a.wav", sound(1.0))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: visitor.call("enhance", file, "vae-speech", "default", 10), range(8)))
    kinds = [kind for kind, _ in found]
    assert kinds.count("complete") >= 2
    assert all(answer == ("refused", 503) for answer in found if answer[0] != "complete")
    assert "refused" in kinds
    assert visitor.healthy()


def test_messages_that_are_none(visitor: Visitor) -> None:
    for body in (b"", b"{", b"[" * 5000, b'{"data": 3}', b"x" * 500_000):
        with pytest.raises(urllib.error.HTTPError):
            visitor._post("call/enhance", body, "application/json")
    assert visitor.healthy()


def test_a_reader_of_wave_files_agrees(visitor: Visitor) -> None:
    """What the player gets is plain 16-bit PCM at the rate and level of the upload."""
    kind, found = visitor.send("a.wav", sound(0.5, rate=22050))
    assert kind == "complete"
    with wave.open(io.BytesIO(fetch(f"{visitor.address}gradio_api/file={found[0]['path']}"))) as file:
        assert (file.getframerate(), file.getsampwidth(), file.getnframes()) == (22050, 2, 11025)
        level = np.frombuffer(file.readframes(11025), "<i2") / 32768
    assert level.std() == pytest.approx(0.1, rel=0.05)
