"""A saved model comes back bit for bit, or an error of one line says why not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import yaml

import dynvae
from dynvae.audio import FRONT_ENDS
from dynvae.errors import CheckpointError, ConfigError
from dynvae.models import DVAE, PRESETS, VAE, build
from dynvae.pretrained import storage


def small(name: str = "vae", **config: Any) -> DVAE:
    torch.manual_seed(1)
    return build(name, **{"x_dim": 5, "z_dim": 2, **config})


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config.update(changes)
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not ...}), encoding="utf-8")


def replace_weights(folder: Path, content: bytes) -> None:
    """Put other weights in place, with the SHA-256 to match, as an attacker would."""
    (folder / "model.safetensors").write_bytes(content)
    edit(folder, sha256=storage.hashlib.sha256(content).hexdigest())


def refused(folder: Path, match: str) -> str:
    with pytest.raises(CheckpointError, match=match) as caught:
        dynvae.load(folder)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 1200
    return text


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return dynvae.save(small(), tmp_path / "a model")


@pytest.mark.parametrize("name", PRESETS)
def test_every_model_comes_back_bit_for_bit(name: str, tmp_path: Path) -> None:
    model = small(name, dropout=0.1)
    model.front_end = FRONT_ENDS["32ms"]
    state = torch.random.get_rng_state()
    loaded = dynvae.load(dynvae.save(model, tmp_path))
    assert torch.equal(state, torch.random.get_rng_state())
    assert type(loaded) is type(model)
    assert loaded.config == model.config
    assert loaded.front_end == model.front_end
    assert not loaded.training
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    for (key, value), (other_key, other) in zip(model.state_dict().items(), loaded.state_dict().items(), strict=True):
        assert key == other_key
        assert torch.equal(value, other)
    x = torch.rand(2, 3, 5)
    noise = model.draw_noise(2, 3)
    assert torch.equal(model.eval().elbo(x, noise=noise).total, loaded.elbo(x, noise=noise).total)


def test_precision_is_kept(tmp_path: Path) -> None:
    loaded = dynvae.load(dynvae.save(small().double(), tmp_path))
    assert {value.dtype for value in loaded.state_dict().values()} == {torch.float64}


def test_the_same_model_makes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        dynvae.save(small("srnn"), tmp_path / name, card={"license": "mit"})
    for file in ("config.json", "model.safetensors", "README.md"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_saving_over_a_model_leaves_three_files(saved: Path) -> None:
    (saved / "model-0123456789abcdef.safetensors").write_bytes(b"left by a killed writer")
    dynvae.save(small("dkf"), saved)
    assert sorted(path.name for path in saved.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert type(dynvae.load(saved)).__name__ == "DKF"


def test_a_run_folder_is_a_model(tmp_path: Path) -> None:
    dynvae.save(small(), tmp_path / "run" / "model")
    assert dynvae.load(tmp_path / "run").x_dim == 5


def test_the_card_has_front_matter_and_figures(tmp_path: Path) -> None:
    card = {
        "license": "cc-by-4.0",
        "tags": ["speech"],
        "datasets": ["librispeech"],
        "metrics": {"si_sdr": 9.5},
        "attribution": "Trained on LibriSpeech — Panayotov et al., 2015.",
    }
    dynvae.save(small(), tmp_path, card=card)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    header = yaml.safe_load(text.split("---\n")[1])
    assert header["license"] == "cc-by-4.0"
    assert header["library_name"] == "dynvae"
    assert "speech" in header["tags"]
    assert header["datasets"] == ["librispeech"]
    assert header["metrics"] == ["si_sdr"]
    assert "| si_sdr | 9.5 |" in text
    assert "Panayotov" in text
    assert json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))["card"] == card


def test_what_cannot_be_saved_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    class Mine(VAE): ...

    with pytest.raises(ConfigError, match="ZOO"):
        dynvae.save(Mine(x_dim=5, z_dim=2), tmp_path / "new")
    with pytest.raises(ConfigError, match="JSON"):
        dynvae.save(small(), tmp_path / "new", card={"metrics": {"si_sdr": float("nan")}})
    with pytest.raises(ConfigError, match="bytes"):
        dynvae.save(small(), tmp_path / "new", card={"description": "long " * 100_000})
    assert not (tmp_path / "new").exists()


class Killed(BaseException):
    pass


def test_a_kill_at_any_step_leaves_the_old_model_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stop the writer before and after each renaming, which is all that a reader can see of it."""
    old, new = small("vae"), small("vae", hidden=[7])
    replace = Path.replace
    seen = []
    for moment in range(9):
        folder = dynvae.save(old, tmp_path / str(moment))
        count = 0

        def stop_there(path: Path, target: Path, moment: int = moment) -> Path:
            nonlocal count
            if count == moment:
                raise Killed
            replace(path, target)
            if count + 1 == moment:
                raise Killed
            count += 2
            return target

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", stop_there)
            try:
                dynvae.save(new, folder)
            except Killed:
                seen.append(dynvae.load(folder).config["hidden"])
        assert dynvae.load(dynvae.save(new, folder)).config["hidden"] == [7]
    assert seen == [[128]] * 3 + [[7]] * 5


def test_an_error_of_the_disk_leaves_the_old_model(saved: Path) -> None:
    """A process may write only 4096 bytes a file: the new weights do not fit."""
    code = (
        "import resource, signal, sys, dynvae; from dynvae.models import VAE\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: dynvae.save(VAE(), sys.argv[1])\n"
        "except dynvae.errors.CheckpointError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(saved)], capture_output=True, text=True, check=True)
    assert "could not be written (File too large)" in done.stdout
    assert dynvae.load(saved).x_dim == 5
    assert sorted(path.name for path in saved.iterdir()) == ["README.md", "config.json", "model.safetensors"]


# ---- what is refused -----------------------------------------------------------------------------------------------


def test_missing_weights_and_missing_config(saved: Path, tmp_path: Path) -> None:
    (saved / "model.safetensors").unlink()
    refused(saved, "model.safetensors is missing")
    (saved / "config.json").unlink()
    refused(saved, "no saved model")
    refused(tmp_path / "nowhere at all", "no model or folder")


def test_a_newer_format_asks_for_an_update(saved: Path) -> None:
    edit(saved, format_version=99)
    refused(saved, "format version 99.*pip install -U")


@pytest.mark.parametrize("version", [0, -1, 1.0, True, "1", None, ...])
def test_a_format_that_never_was_is_refused(saved: Path, version: Any) -> None:
    edit(saved, format_version=version)
    refused(saved, "format")


def test_an_unknown_class_gets_the_nearest_name(saved: Path) -> None:
    edit(saved, model="sernn")
    refused(saved, "did you mean 'srnn'")


@pytest.mark.parametrize("name", ["os.system", "VAE", "dynvae.models.VAE", "__import__('os')", "", "../vae"])
def test_classes_come_from_a_closed_registry(saved: Path, name: str) -> None:
    edit(saved, model=name)
    refused(saved, "no model")


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"x_dimm": 5}, "did you mean 'x_dim'"),
        ({"self": 5}, "no argument 'self'"),
        ({"x_dim": "5"}, "do not make a model"),
        ({"x_dim": -5}, "positive"),
        ({"likelihood": "os.system"}, "no likelihood"),
        ({"activation": "os.system"}, "no activation"),
        ({"hidden": [0.5]}, "do not make a model"),
        ({"hidden": [1] * 5000}, "5000 layers"),
        ({"x_dim": 10**12, "z_dim": 10**6}, "wants|do not make a model"),
        ({"x_dim": 6}, "encoder.*wants"),
        ({"hidden": [128, 128]}, "misses weights"),
        ({"hidden": []}, "unknown weights"),
    ],
)
def test_arguments_that_do_not_fit(saved: Path, arguments: dict[str, Any], match: str) -> None:
    edit(saved, arguments={"x_dim": 5, "z_dim": 2} | arguments)
    refused(saved, match)


def test_layers_by_the_million_are_not_built(tmp_path: Path) -> None:
    folder = dynvae.save(small("srnn"), tmp_path)
    edit(folder, arguments={"rnn_layers": 10**9})
    refused(folder, "layers")


@pytest.mark.parametrize(
    "changes",
    [
        {"arguments": []},
        {"arguments": ...},
        {"model": 3},
        {"model": ["vae"]},
        {"sha256": "00"},
        {"sha256": "G" * 64},
        {"sha256": None},
        {"front_end": "64ms"},
        {"front_end": {"window_length": -2}},
        {"front_end": {"windows_length": 2}},
        {"front_end": {"window_length": [1]}},
        {"unknown_key": 1},
        {"model ": "vae"},
    ],
)
def test_a_config_that_is_not_ours(saved: Path, changes: dict[str, Any]) -> None:
    edit(saved, **changes)
    refused(saved, "config.json")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe",
        b'{"format_version": 1',
        b'{"format_version": NaN}',
        b"[" * 100_000,
        b'{"a":' * 40_000,
        b" " * (2**18 + 1),
        b'{"format_version": ' + b"9" * 6000 + b"}",
    ],
    ids=["empty", "null", "list", "binary", "cut", "nan", "deep list", "deep object", "huge", "long number"],
)
def test_a_config_that_is_a_bomb_or_no_config(saved: Path, content: bytes) -> None:
    (saved / "config.json").write_bytes(content)
    refused(saved, "config.json")


def test_shapes_and_kinds_of_weights_are_checked(saved: Path) -> None:
    state = dict(dynvae.load(saved).state_dict())
    replace_weights(saved, safetensors.torch.save({**state, "encoder.layers.0.bias": torch.zeros(3)}))
    refused(saved, r"encoder.layers.0.bias is torch.float32 \(3,\).*wants torch.float32 \(128,\)")
    replace_weights(saved, safetensors.torch.save({**state, "encoder.layers.0.bias": torch.zeros(128).long()}))
    refused(saved, "int64")


# ---- formats of the past -------------------------------------------------------------------------------------------


def test_the_first_format_still_loads() -> None:
    """A model as the first release wrote it; this folder never changes."""
    model = dynvae.load(Path(__file__).parent / "golden" / "format-1")
    likelihood = model.resynthesize(torch.ones(1, 2, 3), latents="mean")
    expected = json.loads((Path(__file__).parent / "golden" / "format-1-output.json").read_text(encoding="utf-8"))
    torch.testing.assert_close(likelihood.mean, torch.tensor(expected), rtol=1e-5, atol=1e-6)


def test_older_formats_go_through_every_migration(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rename_argument(config: dict[str, Any], state: dict[str, torch.Tensor]) -> None:
        config["arguments"]["hidden"] = config["arguments"].pop("layers")

    def rename_weights(config: dict[str, Any], state: dict[str, torch.Tensor]) -> None:
        for key in [key for key in state if key.startswith("enc.")]:
            state[key.replace("enc.", "encoder.")] = state.pop(key)

    model = dynvae.load(saved)
    old = {key.replace("encoder.", "enc."): value for key, value in model.state_dict().items()}
    replace_weights(saved, safetensors.torch.save(old))
    config = json.loads((saved / "config.json").read_text(encoding="utf-8"))
    config["arguments"]["layers"] = config["arguments"].pop("hidden")
    edit(saved, arguments=config["arguments"])
    monkeypatch.setattr(storage, "FORMAT_VERSION", 3)
    monkeypatch.setattr(storage, "MIGRATIONS", {1: rename_argument, 2: rename_weights})
    loaded = dynvae.load(saved)
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in model.state_dict().items())
