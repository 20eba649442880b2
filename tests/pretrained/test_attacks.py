"""Damaged and hostile model folders: one line each, no code run, no memory spent, no half-loaded model."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dynvae
from dynvae.errors import CheckpointError
from dynvae.models import DKF, DVAE

FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def make() -> DVAE:
    torch.manual_seed(2)
    return DKF(x_dim=4, z_dim=2, x_hidden=[3], rnn=3, z_hidden=[], encoder_hidden=[], decoder_hidden=[3])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dynvae.save(make(), tmp_path_factory.mktemp("whole"), card={"license": "mit"})


@pytest.fixture
def victim(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "victim"))


def refused(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        dynvae.load(folder)
    text = str(caught.value)
    assert str(folder) in text
    assert "\n" not in text
    assert len(text) < 1500
    return text


def load_or_none(folder: Path) -> DVAE | None:
    """The model, or None where it is refused as it should be; any other error comes out."""
    try:
        return dynvae.load(folder)
    except CheckpointError:
        refused(folder)
        return None


def with_weights(folder: Path, content: bytes) -> Path:
    """Weights of an attacker, who also writes the SHA-256 to match."""
    (folder / "model.safetensors").write_bytes(content)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


@FEW
@given(data=st.data())
def test_one_flipped_byte_of_the_weights(whole: Path, victim: Path, data: st.DataObject) -> None:
    content = bytearray((whole / "model.safetensors").read_bytes())
    offset = data.draw(st.integers(0, len(content) - 1))
    content[offset] ^= data.draw(st.integers(1, 255))
    (victim / "model.safetensors").write_bytes(bytes(content))
    text = refused(victim)
    assert hashlib.sha256(bytes(content)).hexdigest() in text
    assert hashlib.sha256((whole / "model.safetensors").read_bytes()).hexdigest() in text
    assert "fetch or save" in text


@FEW
@given(data=st.data())
def test_one_flipped_byte_that_an_attacker_signs(whole: Path, victim: Path, data: st.DataObject) -> None:
    """Then either the file is refused, or it is another model of the same shape; nothing else may come out."""
    content = bytearray((whole / "model.safetensors").read_bytes())
    header = 8 + struct.unpack("<Q", content[:8])[0]
    offset = data.draw(st.integers(0, header - 1))
    content[offset] ^= data.draw(st.integers(1, 255))
    with_weights(victim, bytes(content))
    model = load_or_none(victim)
    if model is not None:
        expected = make().state_dict()
        assert {key: value.shape for key, value in model.state_dict().items()} == {
            key: value.shape for key, value in expected.items()
        }


@FEW
@given(share=st.floats(0, 1, exclude_max=True), signed=st.booleans())
def test_a_cut_file(whole: Path, victim: Path, share: float, signed: bool) -> None:
    content = (whole / "model.safetensors").read_bytes()
    content = content[: int(share * len(content))]
    (victim / "model.safetensors").write_bytes(content)
    if signed:
        with_weights(victim, content)
    refused(victim)


@FEW
@given(data=st.data())
def test_one_flipped_byte_of_the_config(whole: Path, victim: Path, data: st.DataObject) -> None:
    """It may fall into the card; else the folder is refused. No other error comes out."""
    content = bytearray((whole / "config.json").read_bytes())
    offset = data.draw(st.integers(0, len(content) - 1))
    content[offset] ^= data.draw(st.integers(1, 255))
    (victim / "config.json").write_bytes(bytes(content))
    model = load_or_none(victim)
    if model is not None:
        assert all(torch.equal(value, model.state_dict()[key]) for key, value in make().state_dict().items())


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@FEW
@given(
    key=st.sampled_from(["format_version", "model", "arguments", "front_end", "sha256", "card", "dynvae_version"]),
    value=values,
)
def test_any_value_under_any_key(victim: Path, whole: Path, key: str, value: Any) -> None:
    config = json.loads((whole / "config.json").read_text(encoding="utf-8"))
    (victim / "config.json").write_text(json.dumps(config | {key: value}), encoding="utf-8")
    model = load_or_none(victim)
    if model is not None:
        assert isinstance(model, DKF)


@FEW
@given(
    name=st.sampled_from([*make().config, "v_dim", "self", "__class__", "args", "kwargs"]),
    value=values | st.integers(2**31, 2**70) | st.lists(st.integers(-5, 2**40), max_size=4),
)
def test_any_argument(victim: Path, whole: Path, name: str, value: Any) -> None:
    config = json.loads((whole / "config.json").read_text(encoding="utf-8"))
    config["arguments"][name] = value
    (victim / "config.json").write_text(json.dumps(config), encoding="utf-8")
    model = load_or_none(victim)
    if model is not None:
        assert isinstance(model, DKF)


def header(text: bytes, length: int | None = None, body: bytes = b"") -> bytes:
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def tensor(shape: list[int], begin: int, end: int, kind: str = "F32") -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}


HOSTILE = {
    "nothing": b"",
    "a length alone": struct.pack("<Q", 100),
    "a header of 16 exabytes": header(b"{}", 2**64 - 1),
    "a header of 100 megabytes": header(b"{}", 10**8),
    "a header that is no JSON": header(b"not json"),
    "a deep header": header(b'{"a":' * 50_000),
    "a tensor of 4 petabytes": header(json.dumps({"a": tensor([2**50], 0, 2**52)}).encode()),
    "an overflowing shape": header(json.dumps({"a": tensor([2**63, 2**63], 0, 4)}).encode(), body=b"0000"),
    "a tensor over the end": header(json.dumps({"a": tensor([4], 0, 16)}).encode(), body=b"0000"),
    "overlapping tensors": header(json.dumps({"a": tensor([1], 0, 4), "b": tensor([1], 0, 4)}).encode(), body=b"0000"),
    "a hole": header(json.dumps({"a": tensor([1], 4, 8)}).encode(), body=b"00000000"),
    "an unknown type": header(json.dumps({"a": tensor([1], 0, 4, "CODE")}).encode(), body=b"0000"),
    "a negative offset": header(json.dumps({"a": tensor([1], -4, 0)}).encode(), body=b"0000"),
    "no tensors": safetensors.torch.save({}),
    "foreign tensors": safetensors.torch.save({"conv.weight": torch.ones(3)}),
    "long names": safetensors.torch.save({"x" * 100_000: torch.ones(1)}),
    "a pickle": pickle.dumps(print),
    "a page of an error": b"<html><body>404 not found</body></html>",
    "a pointer of git-lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_weights_that_an_attacker_has_signed(victim: Path, kind: str) -> None:
    refused(with_weights(victim, HOSTILE[kind]))


def test_a_pytorch_file_in_place_of_the_weights_is_not_unpickled(victim: Path, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "owned",))

    torch.save({"a": Evil()}, tmp_path / "evil.pt")
    for content in ((tmp_path / "evil.pt").read_bytes(), pickle.dumps(Evil())):
        refused(with_weights(victim, content))
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("key", ["encoder.layers.0.bias", "transition.mean.weight"])
def test_missing_extra_and_misshapen_weights(victim: Path, key: str) -> None:
    state = make().state_dict()
    for changed in (
        {name: value for name, value in state.items() if name != key},
        state | {"other": torch.ones(1)},
        state | {key: state[key].flatten()[:1]},
        state | {key: state[key][..., None]},
        state | {key: state[key].bool()},
        state | {key: state[key].to(torch.complex64)},
    ):
        refused(with_weights(victim, safetensors.torch.save({k: v.contiguous() for k, v in changed.items()})))


KILLS = """
import os, random, signal, sys, time
import torch, dynvae
from dynvae.models import VAE

folder, seed = sys.argv[1], int(sys.argv[2])
random.seed(seed)
old, new = VAE(x_dim=5, z_dim=1), VAE(x_dim=257, z_dim=2)
began = time.monotonic()
for model in (old, new, old):
    dynvae.save(model, folder)
long = time.monotonic() - began
found = set()
for _ in range(50):
    child = os.fork()
    if not child:
        while True:
            dynvae.save(new, folder)
            dynvae.save(old, folder)
    time.sleep(random.uniform(0, 0.8 * long))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    found.add(dynvae.load(folder).z_dim)
dynvae.save(new, folder)
print(sorted(found), sorted(os.listdir(folder)))
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="this system has no fork")
def test_fifty_random_kills_while_saving(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLS, str(tmp_path / "model"), "7"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[1, 2] ['README.md', 'config.json', 'model.safetensors']\n"
