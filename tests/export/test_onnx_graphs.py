"""Exported graphs compute what PyTorch does, at sizes that they have not seen, and what cannot be exported is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dynvae.errors import CheckpointError, ConfigError, DynvaeError, MissingExtraError
from dynvae.export import PARTS, export
from dynvae.models import DVAE, PRESETS, Latents, build

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
ort = pytest.importorskip("onnxruntime")

MULTIMODAL = ("mvae", "mdvae", "mmvae", "mopoe")
SEEING = ("av-cvae", "av-dkf", "min-vae", "v-vae", "av-vae")


def small(name: str, **config: Any) -> DVAE:
    torch.manual_seed(1)
    sizes: dict[str, Any] = {"x_dim": (6, 4) if name in MULTIMODAL else 6, "z_dim": 3}
    if name in SEEING:
        sizes["v_dim"] = 4
    if name == "hit" or name.startswith("light"):
        sizes |= {"w_dim": 2, "model_dim": 8, "layers": 1, "feed_forward": 8, "w_rnn": 4}
    return build(name, **{**sizes, **config}).eval()


def run(folder: Path, part: str, **given: Tensor) -> dict[str, Tensor]:
    """The outputs of an exported part."""
    session = ort.InferenceSession(folder / f"{part}.onnx", providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    found = session.run(None, {name: value.numpy() for name, value in given.items()})
    return dict(zip(names, map(torch.from_numpy, found), strict=True))


def streamed(folder: Path, part: str, frames: dict[str, Tensor]) -> dict[str, Tensor]:
    """The outputs of a step, frame after frame, its state handed on."""
    session = ort.InferenceSession(folder / f"{part}.onnx", providers=["CPUExecutionProvider"])
    batch, time = next(iter(frames.values())).shape[:2]
    state = {}
    for port in session.get_inputs():
        if port.name.startswith("state."):
            sizes = [batch, *(size if isinstance(size, int) else 0 for size in port.shape[1:])]
            state[port.name] = np.zeros(sizes, np.float32)
    names, rows = [output.name for output in session.get_outputs()], []
    for t in range(time):
        given = {name: value[:, t].numpy() for name, value in frames.items()}
        row = dict(zip(names, session.run(None, given | state), strict=True))
        state = {name: row[name.replace("state.", "next.", 1)] for name in state}
        rows.append(row)
    kept = [name for name in names if not name.startswith("next.")]
    return {name: torch.from_numpy(np.stack([row[name] for row in rows], 1)) for name in kept}


# ---- parity ----------------------------------------------------------------------------------------------------------


QUICK = [
    ("rvae", "decoder"), ("dsae", "encoder"),
    ("av-dkf", "step"), ("vsc", "filter"), ("vq-vae", "encoder"), ("mdvae", "step"),
]  # fmt: skip
"""Loops either way, lengths, latents of the sequence, conditions, codes, NaN; the tests of streams have the others."""


@pytest.mark.parametrize(("name", "part"), QUICK)
def test_graph_is_within_1e_5_of_pytorch(name: str, part: str, tmp_path: Path) -> None:
    done = export(small(name), tmp_path, [part])
    assert done.errors[part] <= 1e-5
    described = json.loads((tmp_path / "export.json").read_text(encoding="utf-8"))
    assert described["model"] == PRESETS[name][0]
    assert list(described["parts"]) == [part]


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_all_parts_of_every_member(name: str, tmp_path: Path) -> None:
    done = export(small(name), tmp_path)
    assert {"encoder", "decoder"} <= set(done.errors)
    assert set(done.errors) | set(done.refused) == set(PARTS)
    assert max(done.errors.values()) <= 1e-5


def test_the_floor_of_powers_is_kept(tmp_path: Path) -> None:
    """Constants such as 1e-10 are no zeros: a silent frame has a finite logarithm."""
    model = small("vae", input_transform="log")
    export(model, tmp_path, ["encoder"])
    x, noise = torch.zeros(1, 2, 6), torch.zeros(1, 2, 3)
    z = run(tmp_path, "encoder", x=x, noise=noise)["z"]
    assert torch.allclose(z, model.posterior(x, noise=Latents(noise)).latents.z, atol=1e-5)


def test_padding_changes_nothing(tmp_path: Path) -> None:
    export(small("dkf"), tmp_path, ["encoder"])
    x, noise = torch.rand(2, 7, 6), torch.randn(2, 7, 3)
    lengths = torch.tensor([7, 4])
    whole = run(tmp_path, "encoder", x=x, noise=noise, lengths=lengths)["z"]
    alone = run(tmp_path, "encoder", x=x[1:, :4], noise=noise[1:, :4], lengths=lengths[1:])["z"]
    assert torch.allclose(whole[1:, :4], alone, atol=1e-6)


# ---- streams -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "config"), [("vrnn", {}), ("srnn", {"backward_rnn": 0, "input_transform": "log"})])
def test_filter_frame_by_frame_is_the_encoder_of_the_whole(name: str, config: dict[str, Any], tmp_path: Path) -> None:
    model = small(name, **config)
    export(model, tmp_path, ["filter"])
    x, noise = torch.rand(2, 11, 6), torch.randn(2, 11, 3)
    frames = streamed(tmp_path, "filter", {"x": x, "noise": noise})
    posterior = model.posterior(x, noise=Latents(noise))
    assert torch.allclose(frames["z"], posterior.latents.z, atol=1e-5)
    assert torch.allclose(frames["z_std"], posterior.z.stddev, atol=1e-5)
    assert torch.allclose(frames["x_mean"], model.likelihood(posterior.latents, x).mean, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "config"), [("dkf", {"likelihood": "gaussian"}), ("light", {"span": 3})])
def test_steps_are_the_generation_of_the_model(name: str, config: dict[str, Any], tmp_path: Path) -> None:
    model = small(name, **config)
    export(model, tmp_path, ["step"])
    noise, w = torch.randn(2, 9, 3), torch.randn(2, model.w_dim) if model.w_dim else None
    shared = {} if w is None else {"w": w.unsqueeze(1).expand(-1, 9, -1)}
    frames = streamed(tmp_path, "step", {"noise": noise, **shared})
    state, wanted = model.start(2, w), []
    with torch.no_grad():
        for t in range(9):
            prior = model.step_prior(state)
            frame, state = model.step(state, z=prior.mean + prior.stddev * noise[:, t])
            wanted.append(frame.likelihood.mean)
    assert torch.allclose(frames["x_mean"], torch.stack(wanted, 1), rtol=1e-5, atol=1e-5)


# ---- what is written -----------------------------------------------------------------------------------------------


def test_description_and_metadata(tmp_path: Path) -> None:
    import onnx

    model = small("vae")
    done = export(model, tmp_path / "new" / "folder", ["decoder", "step"])
    assert sorted(path.name for path in done.folder.iterdir()) == ["decoder.onnx", "export.json", "step.onnx"]
    described = json.loads((done.folder / "export.json").read_text(encoding="utf-8"))
    assert described["parts"]["decoder"]["inputs"][0]["shape"] == ["batch", "time", 3]
    assert described["arguments"] == model.config
    graph = onnx.load(done.folder / "decoder.onnx")
    metadata = {entry.key: entry.value for entry in graph.metadata_props}
    assert metadata["dynvae.part"] == "decoder"
    assert metadata["dynvae.weights_sha256"] == described["weights_sha256"]
    assert [axis.dim_param for axis in graph.graph.input[0].type.tensor_type.shape.dim[:2]] == ["batch", "time"]
    assert model.weight.requires_grad


REFUSED = [
    ("kvae", "step", "Kalman filter, for whose Cholesky factors ONNX has no operator"),
    ("rvae", "step", r"sees later latents \('z\[1:T\]'\)"),
    ("dkf", "filter", r"sees later frames \('z\[t-1\], x\[t:T\]'\)"),
    ("mdvae", "filter", r"sees later frames \('x\[1:T\]'\)"),
    ("hit", "filter", r"sees later frames"),
    ("sdm-srnn", "step", "follow no Gaussian"),
    ("vq-vae", "step", "do not depend on each other: its decoder"),
    ("mvae", "filter", "do not depend on each other: its encoder"),
    ("vae", "everything", "there is no part 'everything'; there are encoder, decoder, step, filter"),
]


@pytest.mark.parametrize(("name", "part", "match"), REFUSED)
def test_what_cannot_be_exported_is_one_line(name: str, part: str, match: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=match) as caught:
        export(small(name), tmp_path, [part])
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_graph_that_differs_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(DynvaeError, match="the decoder's graph differs from PyTorch by"):
        export(small("vae"), tmp_path, ["decoder"], tolerance=0)
    assert not list(tmp_path.iterdir())


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be written"):
        export(small("vae"), tmp_path / "file", ["decoder"])


def test_missing_extra_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'dynvae\[export\]'"):
        export(small("vae"), tmp_path)
