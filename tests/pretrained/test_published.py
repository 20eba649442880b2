"""Published layouts, rebuilt here from their description, become the same functions in our models."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import dynvae
from dynvae.audio import FRONT_ENDS, FrontEnd, read_audio
from dynvae.audio.stft import power_of
from dynvae.errors import CheckpointError, ConfigError
from dynvae.models import DVAE, Latents, build
from dynvae.pretrained import convert
from dynvae.pretrained.published import read_published
from dynvae.pretrained.translation import translate

Weights = dict[str, Tensor]

# Our networks by their published names: networks whose last layer splits into several, whole networks, and LSTMs.
NAMES: dict[str, dict[str, str]] = {
    "vae": {"encoder": "mlp_x_z inf_mean inf_logvar", "decoder": "mlp_z_x gen_out"},
    "dkf": {
        "x_net": "mlp_x_gx",
        "x_rnn": "rnn_gx",
        "z_net": "mlp_ztm1_g mlp_ztm1_g.linear_last",
        "encoder": "mlp_g_z inf_mean inf_logvar",
        "transition.gate": "mlp_gate",
        "transition.proposal": "mlp_z_prop",
        "transition.mean": "prior_mean",
        "transition.variance": "prior_logvar.1",
        "decoder": "mlp_z_x gen_out",
    },
    "storn": {
        "x_net": "mlp_x_g",
        "encoder_rnn": "rnn_g",
        "encoder": "mlp_g_z inf_mean inf_logvar",
        "z_net": "mlp_z_h",
        "past_net": "mlp_xtm1_h",
        "decoder_rnn": "rnn_h",
        "decoder": "mlp_h_x gen_out",
    },
    "vrnn": {
        "x_net": "feature_extractor_x",
        "z_net": "feature_extractor_z",
        "rnn": "rnn",
        "encoder": "mlp_hx_z inf_mean inf_logvar",
        "prior_net": "mlp_h_z prior_mean prior_logvar",
        "decoder": "mlp_hz_x gen_out",
    },
    "srnn": {
        "x_net": "mlp_x_h",
        "forward_rnn": "rnn_h",
        "hx_net": "mlp_hx_g",
        "backward_rnn": "rnn_g",
        "encoder": "mlp_gz_z inf_mean inf_logvar",
        "prior_net": "mlp_hz_z prior_mean prior_logvar",
        "decoder": "mlp_hz_x gen_logvar",
    },
    "rvae": {
        "x_net": "mlp_x_gx",
        "x_rnn": "rnn_g_x",
        "z_net": "mlp_z_gz",
        "z_rnn": "rnn_g_z",
        "encoder": "mlp_g_z inf_mean inf_logvar",
        "latent_net": "mlp_z_h",
        "decoder_rnn": "rnn_h",
        "decoder": "mlp_h_x gen_logvar",
    },
    "dsae": {
        "x_net": "mlp_x",
        "v_rnn": "rnn_g_v",
        "v_encoder": "mlp_gv_v inf_v_mean inf_v_logvar",
        "z_rnn": "rnn_g_xv",
        "z_net": "mlp_gxv_gz",
        "encoder_rnn": "rnn_g_z",
        "encoder": "none inf_z_mean inf_z_logvar",
        "prior_rnn": "rnn_prior",
        "prior_net": "none prior_mean prior_logvar",
        "decoder": "mlp_vz_x gen_out",
    },
}
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "vae": [{}, {"hidden": [6, 4]}],
    "dkf": [{}, {"bidirectional": True, "rnn_layers": 2, "z_hidden": []}, {"x_hidden": [], "encoder_hidden": []}],
    "storn": [{}, {"rnn_layers": 3, "z_hidden": [], "past_hidden": []}],
    "vrnn": [{}, {"rnn_layers": 2}, {"encoder_hidden": [4], "prior_hidden": [3], "decoder_hidden": [5, 4]}],
    "srnn": [{}, {"rnn_layers": 2, "encoder_hidden": [], "prior_hidden": [], "hx_hidden": []}],
    "rvae": [{"causal": True}, {"causal": True, "rnn_layers": 2, "encoder_hidden": [4], "x_hidden": [6]}],
    "dsae": [{"v_dim": 2}, {"rnn_layers": 2, "v_hidden": [4], "z_hidden": [3], "x_hidden": [6]}],
}
CASES = [(name, settings) for name, several in SETTINGS.items() for settings in several]


def small(name: str, **settings: Any) -> DVAE:
    torch.manual_seed(3)
    return build(name, **{"x_dim": 5, "z_dim": 3, **settings}).eval()


def publish(model: DVAE, name: str) -> Weights:
    """The weights under their published names (all but those of the non-causal RVAE, which are rearranged as well)."""
    out: Weights = {}
    for key, value in model.state_dict().items():
        module, _, rest = key.partition(".layers.")
        if not rest:
            module, _, rest = key.rpartition(".")
        theirs, *last = NAMES[name][module].split()
        where = rest.split(".")
        if len(where) == 3:  # layer, direction, tensor of a recurrent network
            suffix = "_reverse" if where[1] == "1" else ""
            out[f"{theirs}.{where[2][:-1]}{where[0]}{suffix}"] = value
        elif len(where) == 1:
            out[f"{theirs}.{rest}"] = value
        elif theirs in ("mlp_gate", "mlp_z_prop"):
            out[f"{theirs}.linear{int(where[0]) + 1}.{where[1]}"] = value
        elif last and f"{module}.layers.{int(where[0]) + 1}.bias" not in model.state_dict():
            for head, part in zip(last, value.chunk(len(last)), strict=True):
                out[f"{head}.{where[1]}"] = part.clone()
        else:
            out[f"{theirs}.linear{where[0]}.{where[1]}"] = value
    return out


def write(path: Path, weights: object) -> Path:
    torch.save(weights, path)
    return path


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_every_layout_comes_back(name: str, settings: dict[str, Any], tmp_path: Path) -> None:
    model = small(name, **settings)
    convert(write(tmp_path / "model.pt", publish(model, name)), tmp_path / "out")
    loaded = dynvae.load(tmp_path / "out")
    assert loaded.front_end is None
    ours = {key: value for key, value in model.config.items() if key in loaded.config}
    assert {key: loaded.config[key] for key in ours} == ours
    assert loaded.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in loaded.state_dict().items())


class PublishedRVAE(nn.Module):
    """The non-causal RVAE as the benchmark describes it: the encoder's LSTM over x runs on the reversed sequence."""

    def __init__(self, x: int, z: int, hidden: int, layers: int, dense: int | None) -> None:
        super().__init__()
        self.rnn_g_x = nn.LSTM(x, hidden, layers, bidirectional=True)
        self.rnn_g_z = nn.LSTM(z, hidden, layers)
        size = 3 * hidden
        if dense:
            self.mlp_g_z = nn.Sequential()
            self.mlp_g_z.add_module("linear0", nn.Linear(size, dense))
            self.mlp_g_z.add_module("activation0", nn.Tanh())
            size = dense
        else:
            self.mlp_g_z = nn.Sequential(nn.Identity())
        self.inf_mean, self.inf_logvar = nn.Linear(size, z), nn.Linear(size, z)
        self.rnn_h = nn.LSTM(z, hidden, layers, bidirectional=True)
        self.gen_out = nn.Linear(2 * hidden, x)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and log-variance of q along its means, and the decoder's output, from ``(time, batch, feature)``."""
        g_x = self.rnn_g_x(x.flip(0))[0].flip(0)
        z = x.new_zeros(1, x.shape[1], self.inf_mean.out_features)
        state, means, log_variances = None, [], []
        for frame in g_x:
            g_z, state = self.rnn_g_z(z, state)
            g = self.mlp_g_z(torch.cat([frame, g_z[0]], -1))
            means.append(self.inf_mean(g))
            log_variances.append(self.inf_logvar(g))
            z = means[-1][None]
        mean = torch.stack(means)
        return mean, torch.stack(log_variances), self.gen_out(self.rnn_h(mean)[0])


@pytest.mark.parametrize("dense", [None, 6])
@pytest.mark.parametrize("layers", [1, 2, 3])
@torch.no_grad()
def test_the_bidirectional_lstm_of_the_rvae_runs_on_the_reversed_sequence(layers: int, dense: int | None) -> None:
    torch.manual_seed(5)
    theirs = PublishedRVAE(5, 3, 4, layers, dense).double()
    name, arguments, state = translate(theirs.state_dict())
    ours = build(name, **arguments).double()
    ours.load_state_dict(state)
    x = torch.rand(7, 2, 5, dtype=torch.float64)
    mean, log_variance, output = theirs(x)
    posterior = ours.posterior(x.transpose(0, 1), noise=Latents(torch.zeros(2, 7, 3, dtype=torch.float64)))
    torch.testing.assert_close(posterior.z.mean.transpose(0, 1), mean)
    torch.testing.assert_close(posterior.z.variance.log().transpose(0, 1), log_variance)
    found = ours.likelihood(posterior.latents, x.transpose(0, 1)).log_variance  # type: ignore[attr-defined]
    torch.testing.assert_close(found.transpose(0, 1), output)


OLDER = {
    "vae": {"mlp_x_z.linear": "encoder_layers.", "mlp_z_x.linear": "decoder_layers.",
            "inf_mean": "latent_mean_layer", "inf_logvar": "latent_logvar_layer", "gen_out": "output_layer"},
    "rvae": {"rnn_g_x": "enc_rnn_s", "rnn_g_z": "enc_rnn_z", "mlp_g_z": "enc_dense", "inf_mean": "enc_mean",
             "inf_logvar": "enc_logvar", "rnn_h": "dec_rnn", "gen_logvar": "dec_logvar"},
}  # fmt: skip


@pytest.mark.parametrize("name", OLDER)
def test_the_names_of_2020(name: str) -> None:
    model = small(name, **({"causal": True, "encoder_hidden": [4]} if name == "rvae" else {"hidden": [6, 4]}))
    weights = publish(model, name)
    for new, old in OLDER[name].items():
        weights = {key.replace(new, old): value for key, value in weights.items()}
    assert any(key.startswith(("enc_", "encoder_")) for key in weights)
    found, _, state = translate(weights)
    assert found == name
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_a_checkpoint_of_the_published_training(tmp_path: Path) -> None:
    weights = publish(small("srnn"), "srnn")
    file = write(tmp_path / "a.pt", {"epoch": 3, "model_state_dict": weights, "optim_state_dict": {"lr": 1e-3}})
    assert read_published(file)[0].config["z_dim"] == 3


# ---- settings ------------------------------------------------------------------------------------------------------

INI = """
[STFT]
wlen_sec = {seconds}
hop_percent = 0.5
fs = 16000
zp_percent = 0
trim = {trim}
[Network]
name = {name}
x_dim = {x_dim}
z_dim = 3
activation = {activation}
dropout_p = {dropout}
tag = {name}
[Training]
beta = 1e-2
[DataFrame]
dataset_name = WSJ0
"""


def ini(path: Path, **changes: Any) -> Path:
    values = {"seconds": "32e-3", "trim": "True", "name": "VAE", "x_dim": 257, "activation": "tanh", "dropout": 0}
    path.write_text(INI.format(**(values | changes)), encoding="utf-8")
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "ein Modell.pt", publish(small("vae", x_dim=257), "vae"))


def test_the_front_end_from_the_number_of_bins(file: Path) -> None:
    assert read_published(file)[0].front_end == FRONT_ENDS["32ms"]
    assert read_published(file, window="32ms")[0].front_end == FRONT_ENDS["32ms"]
    with pytest.raises(CheckpointError, match="257 bins, and a window of 1024 samples gives 513"):
        read_published(file, window="64ms")
    with pytest.raises(ConfigError, match="64ms, 32ms"):
        read_published(file, window="48ms")


def test_settings_beside_the_file_are_found(file: Path) -> None:
    ini(file.with_suffix(".ini"), seconds="20e-3", trim="False", activation="relu", dropout=0.25)
    model, card = read_published(file)
    assert model.front_end == FrontEnd(16000, 512, 256, trim_db=None)  # 320 samples are rounded up to 512
    assert model.config["activation"] == "relu"
    assert model.config["dropout"] == 0.25
    assert card["source"]["corpus"] == "WSJ0"
    assert card["source"]["file"] == "ein Modell.pt"


def test_settings_of_a_converted_file_and_of_a_folder(tmp_path: Path) -> None:
    weights = publish(small("vae", x_dim=257), "vae")
    for folder, name, other in (("a", "x_converted.pt", "x.ini"), ("b", "VAE_final_epoch65.pt", "config.ini")):
        (tmp_path / folder).mkdir()
        ini(tmp_path / folder / other, activation="relu")
        assert read_published(write(tmp_path / folder / name, weights))[0].config["activation"] == "relu"


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"name": "SRNN"}, "has name VAE, but .* says SRNN"),
        ({"x_dim": 513}, "has x_dim 257, but"),
        ({"activation": "os.system"}, "no activation"),
        ({"seconds": "64e-3"}, "gives 513"),
        ({"seconds": "long"}, "wlen_sec must be a number"),
        ({"seconds": "nan"}, "wlen_sec must be a number"),
        ({"seconds": "1e300"}, "makes no sense"),
        ({"seconds": "-1"}, "makes no sense"),
        ({"dropout": "much"}, "dropout_p must be a number"),
        ({"dropout": "7"}, "do not fit together"),
        ({"name": "[broken"}, "says"),
    ],
)
def test_settings_that_do_not_go_with_the_file(file: Path, changes: dict[str, Any], match: str) -> None:
    with pytest.raises(CheckpointError, match=match) as caught:
        read_published(file, ini(file.with_name("other.ini"), **changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"no section = 1", b"[a]\n[a]\n", b"\xff\xfe\x00", b"[Network\nname"])
def test_settings_that_are_no_settings(file: Path, content: bytes) -> None:
    path = file.with_name("other.ini")
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="no file of settings"):
        read_published(file, path)
    with pytest.raises(CheckpointError, match="no file of settings"):
        read_published(file, file.with_name("missing.ini"))


def test_the_a_dkf_proposes_through_a_sigmoid(tmp_path: Path) -> None:
    """Its weights have the names and shapes of any other DKF's: its settings tell."""
    weights = publish(small("dkf"), "dkf")
    file = write(tmp_path / "A-DKF.pt", weights)
    assert not read_published(file)[0].config["bounded_proposal"]
    file.with_suffix(".ini").write_text("[Network]\nvae_mode = A-DKF\nname = DKF\n", encoding="utf-8")
    convert(file, tmp_path / "out")
    model = dynvae.load(tmp_path / "out")
    z = torch.randn(1, 4, 3)
    before = torch.nn.functional.pad(z, (0, 0, 1, 0))[:, :-1]

    def linear(name: str, x: Tensor) -> Tensor:
        return torch.nn.functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    gate, proposal = (linear(f"{it}.linear2", linear(f"{it}.linear1", before).relu()).sigmoid()
                      for it in ("mlp_gate", "mlp_z_prop"))  # fmt: skip
    law = model.prior(Latents(z), torch.zeros(1, 4, 5)).base_dist  # type: ignore[attr-defined]
    torch.testing.assert_close(law.mean, (1 - gate) * linear("prior_mean", before) + gate * proposal)
    variance = torch.nn.functional.softplus(linear("prior_logvar.1", proposal.relu()))
    torch.testing.assert_close(law.variance, variance)


# ---- files that are not what they should be ------------------------------------------------------------------------


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path("owned").touch, ())


def foreign() -> dict[str, object]:
    weights = publish(small("srnn"), "srnn")
    one_wide = {key: value for key, value in weights.items() if not key.startswith("inf_mean")}
    return {
        "none": None,
        "list": [torch.ones(3)],
        "empty": {},
        "numbers": {"a": 1},
        "integers": {"a": torch.ones(3).long()},
        "sparse": {"a": torch.eye(3).to_sparse()},
        "number as key": {3: torch.ones(3)},
        "foreign": {"conv.weight": torch.ones(3)},
        "missing": one_wide,
        "extra": weights | {"mlp_extra.linear0.weight": torch.ones(2, 2)},
        "wrong shape": weights | {"mlp_hz_x.linear0.weight": torch.ones(2, 2)},
        "no matrix": weights | {"rnn_h.weight_hh_l0": torch.ones(2)},
        "unequal heads": weights | {"inf_mean.weight": torch.ones(9, 9)},
        "unequal layers": weights | {f"rnn_h.{part}_l1": torch.ones(2, 2)
                                     for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")},
        "scalars": {key: torch.tensor(1.0) for key in weights},
        "nan": weights | {"inf_mean.bias": torch.full((3,), torch.nan)},
        "claimed": weights | {"inf_mean.bias": torch.ones(1).expand(10**12)},
        "two names for one": weights | {"gen_out.bias": torch.ones(5)},
        "half bidirectional": {
            **PublishedRVAE(5, 3, 4, 1, None).state_dict(),
            **{f"rnn_h.{part}_l0_reverse": None for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")},
        },
    }  # fmt: skip


@pytest.mark.parametrize("kind", foreign())
def test_foreign_files_are_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    weights = foreign()[kind]
    if isinstance(weights, dict):
        weights = {key: value for key, value in weights.items() if value is not None}
    file = write(tmp_path / "foreign.pt", weights)
    with pytest.raises(CheckpointError, match=r"foreign\.pt") as caught:
        convert(file, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700
    assert not (tmp_path / "out").exists()


def test_code_in_a_file_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Evil()))
    write(tmp_path / "zip.pt", {"a": Evil()})
    for name in ("plain.pt", "zip.pt"):
        with pytest.raises(CheckpointError, match="damaged, or no PyTorch file"):
            read_published(tmp_path / name)
    assert not (tmp_path / "owned").exists()


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    content = write(tmp_path / "whole.pt", publish(small("dkf"), "dkf")).read_bytes()
    file = tmp_path / "cut.pt"
    for size in (0, 1, 10, 100, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:size])
        with pytest.raises(CheckpointError, match="damaged"):
            read_published(file)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_published(tmp_path / "nowhere.pt")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_published(tmp_path)


def test_one_flipped_byte_in_a_zipped_file_is_found(tmp_path: Path) -> None:
    """PyTorch does not look at the checksums of its own files."""
    content = bytearray(write(tmp_path / "whole.pt", publish(small("dkf"), "dkf")).read_bytes())
    with zipfile.ZipFile(io.BytesIO(bytes(content))) as archive:
        inside = next(it for it in archive.infolist() if it.file_size > 400 and "/data/" in it.filename)
    content[inside.header_offset + 300] ^= 1
    (tmp_path / "flipped.pt").write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match="damaged"):
        read_published(tmp_path / "flipped.pt")


# ---- the published files themselves --------------------------------------------------------------------------------


def test_the_card_names_origin_and_licence(shared: Path, tmp_path: Path) -> None:
    for file, origin, licence in (
        ("dvae-speech/STORN.pt", "sleglaive/DVAE-speech", "mit"),
        ("dvae-se/vb_vae.pt", "XiaoyuBIE1994/DVAE_SE", "gpl-3.0"),
        ("av-dkf/A-DKF.pt", "msaadeghii/av-dkf", "mit"),
    ):
        convert(shared / "checkpoints" / file, tmp_path / "out")
        card = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))["card"]
        assert card["source"]["origin"].endswith(origin)
        assert card["license"] == licence
        text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
        assert f"license: {licence}" in text
        assert "without any further training" in text


def test_without_settings_the_same_model(shared: Path, tmp_path: Path) -> None:
    for folder in ("dvae-speech", "dvae-se"):
        for file in sorted((shared / "checkpoints" / folder).glob("*.pt")):
            alone = tmp_path / file.name
            alone.write_bytes(file.read_bytes())
            (with_ini, _), (without, _) = read_published(file), read_published(alone)
            assert with_ini.config == without.config
            assert with_ini.front_end == without.front_end


@torch.no_grad()
def test_the_published_a_dkf_explains_clean_speech(shared: Path) -> None:
    """Found by its digest, as no settings lie beside it; without the sigmoid its divergence is in the millions."""
    model, _ = read_published(shared / "checkpoints/av-dkf/A-DKF.pt")
    assert isinstance(model.front_end, FrontEnd)
    waveform, _ = read_audio(shared / "reference/dvae/s.wav")
    power = power_of(model.front_end.stft(torch.from_numpy(waveform / abs(waveform).max())))[None]
    bound = model.elbo(power, generator=torch.Generator().manual_seed(0))
    assert bound.terms()["kl"].item() == pytest.approx(19.6, rel=0.1)


def test_weights_of_other_projects_are_refused(tmp_path: Path) -> None:
    torch.save(
        {"features.0.weight": torch.zeros(4, 3, 3, 3), "classifier.bias": torch.zeros(10)}, tmp_path / "other.pt"
    )
    with pytest.raises(CheckpointError, match=r"other\.pt"):
        read_published(tmp_path / "other.pt")
