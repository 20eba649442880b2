"""Published, fetched, pinned, private, damaged, offline: against a hub on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from fake_hub import TOKEN, Hub

import dynvae
from dynvae.cli import main
from dynvae.errors import CheckpointError, ConfigError
from dynvae.models import DVAE, SRNN, VAE, build
from dynvae.pretrained import push

constants = pytest.importorskip("huggingface_hub.constants")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:httpx2")  # of how huggingface_hub calls it

NAME = "some-one/a-model"


def small(seed: int = 1, **config: Any) -> VAE:
    torch.manual_seed(seed)
    return VAE(x_dim=5, z_dim=2, **config)


def same(one: DVAE, other: DVAE) -> bool:
    weights = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return type(one) is type(other) and one.config == other.config and all(torch.equal(a, b) for a, b in weights)


def refused(match: str, name: str = NAME, **options: Any) -> None:
    with pytest.raises(CheckpointError, match=match) as caught:
        dynvae.load(name, **options)
    assert "\n" not in str(caught.value)


# ---- there and back --------------------------------------------------------------------------------------------------


def test_what_is_published_comes_back(server: Hub) -> None:
    model = small()
    done = model.push_to_hub(NAME, card={"license": "mit", "description": "Tiny."})
    assert done.url == f"{server.url}/{NAME}"
    assert done.revision == "main"
    files = server.repositories[NAME].commits[done.commit]
    assert set(files) == {".gitattributes", "config.json", "model.safetensors", "README.md"}
    text = files["README.md"].decode()
    assert yaml.safe_load(text.split("---")[1])["license"] == "mit"
    assert f'dynvae.load("{NAME}")' in text
    for loaded in (VAE.from_pretrained(NAME), DVAE.from_pretrained(NAME), dynvae.load(NAME)):
        assert same(model, loaded)
        assert not loaded.training


def test_only_the_three_files_are_fetched(server: Hub) -> None:
    small().push_to_hub(NAME)
    server.repositories[NAME].commit({"weights.bin": b"pickle", "hubconf.py": b"print('gotcha')"}, "main")
    assert same(small(), dynvae.load(NAME))
    assert not [line for line in server.asked if "resolve" in line and ("bin" in line or "py" in line)]


def test_revisions_are_branches_tags_and_commits(server: Hub) -> None:
    first = small(1).push_to_hub(NAME)
    second = small(2).push_to_hub(NAME, message="better")
    third = small(3).push_to_hub(NAME, revision="trial")
    server.repositories[NAME].tags["v1"] = first.commit
    assert third.revision == "trial"
    for revision, seed in ((None, 2), ("v1", 1), (first.commit, 1), (second.commit, 2), ("trial", 3)):
        assert same(small(seed), VAE.from_pretrained(NAME, revision=revision))
    assert same(small(1), dynvae.load(f"{NAME}@v1"))
    assert same(small(3), dynvae.load(f"{NAME}@trial"))
    refused("has no revision 'v9'; take a branch, a tag or a commit", f"{NAME}@v9")
    with pytest.raises(ConfigError, match="give one of them"):
        dynvae.load(f"{NAME}@v1", revision="trial")


def test_commands_take_names_of_the_hub(server: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    small(1).push_to_hub(NAME, revision="trial")
    assert main(["info", f"{NAME}@trial", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)[0]["config"]["x_dim"] == 5
    assert captured.err == ""
    assert main(["info", NAME]) == 2
    assert "is no dynvae model: it has no config.json" in capsys.readouterr().err


def test_the_class_is_checked(server: Hub, tmp_path: Path) -> None:
    small().push_to_hub(NAME)
    with pytest.raises(CheckpointError, match="is a VAE and no SRNN; load it with"):
        SRNN.from_pretrained(NAME)
    folder = build("srnn", x_dim=5, z_dim=2).save_pretrained(tmp_path / "srnn")
    assert isinstance(SRNN.from_pretrained(folder), SRNN)


# ---- what may go wrong -----------------------------------------------------------------------------------------------


def test_private_repositories_want_a_token(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    small().push_to_hub(NAME, private=True)
    assert same(small(), dynvae.load(NAME))
    monkeypatch.delenv("HF_TOKEN")
    hub_cache = Path(constants.HF_HUB_CACHE)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(hub_cache / "other"))
    refused("there is no such repository, or it is private; check the name, or set HF_TOKEN, or log in")
    assert same(small(), dynvae.load(NAME, token=TOKEN))


def test_publishing_wants_a_token_that_may(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointError, match="the token may not write there"):
        small().push_to_hub("somebody-else/a-model")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(CheckpointError, match="the hub does not know who asks: set HF_TOKEN, or log in") as caught:
        small().push_to_hub(NAME)
    assert "\n" not in str(caught.value)
    assert not server.repositories


@pytest.mark.parametrize("name", ["a-model", "a/b/c", "../a", "a b/c", f"{NAME}@v1", ""])
def test_names_that_are_none(server: Hub, name: str) -> None:
    with pytest.raises(ConfigError, match="is called organisation/name"):
        push(small(), name)
    assert not server.asked


def test_a_file_that_was_damaged_on_the_hub_is_refused(server: Hub) -> None:
    done = small().push_to_hub(NAME)
    weights = bytearray(server.repositories[NAME].commits[done.commit]["model.safetensors"])
    weights[-1] ^= 1
    server.repositories[NAME].commit({"model.safetensors": bytes(weights)}, "main")
    refused("is damaged or belongs to another model: its SHA-256 should be")


def test_a_repository_of_something_else(server: Hub) -> None:
    small().push_to_hub(NAME)
    repository = server.repositories[NAME]
    repository.branches["bare"] = repository.find("main") or ""
    repository.commits[repository.branches["bare"]] = {"README.md": b"a text"}
    refused("is no dynvae model: it has no config.json", f"{NAME}@bare")


def test_offline_what_is_in_the_cache_is_taken(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    small().push_to_hub(NAME)
    dynvae.load(NAME)
    asked = len(server.asked)
    assert same(small(), VAE.from_pretrained(NAME, local_files_only=True))
    refused(r"not in the cache, .* \(offline\)", "some-one/other", local_files_only=True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert same(small(), dynvae.load(NAME))
    refused(r"not in the cache, .* \(offline\)", "some-one/other")
    with pytest.raises(CheckpointError, match="HF_HUB_OFFLINE says not to ask the hub"):
        small().push_to_hub(NAME)
    assert len(server.asked) == asked


def test_a_hub_that_is_gone(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    small().push_to_hub(NAME)
    dynvae.load(NAME)
    server.shutdown()
    server.server_close()
    assert same(small(), dynvae.load(NAME))
    refused("'some-one/other' is no folder here and could not be fetched from the hub", "some-one/other")


def test_the_environment_is_heard(server: Hub, tmp_path: Path) -> None:
    """As users set it: HF_ENDPOINT, HF_TOKEN and HF_HOME before Python starts."""
    code = f"""
import torch, dynvae
from dynvae.models import VAE
torch.manual_seed(1)
model = VAE(x_dim=5, z_dim=2)
model.push_to_hub("{NAME}")
print(torch.equal(VAE.from_pretrained("{NAME}").weight, model.weight))
"""
    environment = {**os.environ, "HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": TOKEN,
                   "HF_HUB_DISABLE_XET": "1"}  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
