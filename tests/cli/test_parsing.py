"""Complaints of the parsers: one line, with the nearest name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from dynvae.cli.parsing import Parser, make_parser, nearest
from dynvae.errors import ConfigError


@dataclass
class Oven:
    """How to bake.

    Args:
        heat: degrees.
        minutes: how long; until it smells if none.
    """

    heat: float = 180.0
    minutes: int | None = None


@pytest.fixture
def parser() -> Parser:
    parser = make_parser("bake", "Bake a cake.")
    parser.add_argument("--config", action="config")
    parser.add_argument("--out-dir", type=str)
    parser.add_class_arguments(Oven, "oven")
    return parser


def test_overrides_win_over_the_file(parser: Parser, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("out_dir: here\noven:\n  heat: 200\n  minutes: 5\n")
    settings = parser.parse_args(["--config", str(tmp_path / "c.yaml"), "--oven.heat", "90"])
    assert (settings.out_dir, settings.oven.heat, settings.oven.minutes) == ("here", 90.0, 5)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--oven.heet", "3"], "there is no setting '--oven.heet'; did you mean '--oven.heat'?"),
        (["--oven.heet=3"], "there is no setting '--oven.heet'; did you mean '--oven.heat'?"),
        (["--minuts=3"], "there is no setting '--minuts'; did you mean '--oven.minutes'?"),
        (["--outdir", "x"], "there is no setting '--outdir'; did you mean '--out-dir'?"),
        (["--xyzzy"], "there is no setting '--xyzzy'; dynvae bake --help lists them"),
        (["--oven.h", "3"], "there is no setting '--oven.h'; did you mean '--oven.heat'?"),
        (["cake"], "there is no setting 'cake'; dynvae bake --help lists them"),
        (["--oven.heat", "hot"], "oven.heat: Expected a float. Got value: hot"),
        (["--oven.heat"], "argument --oven.heat: expected one argument"),
    ],
)
def test_command_line(parser: Parser, words: list[str], complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parser.parse_args(words)
    assert str(caught.value) == complaint


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("oven:\n  heet: 3\n", "there is no setting 'oven.heet'; did you mean 'oven.heat'?"),
        ("ofen:\n  heat: 3\n", "there is no setting 'ofen.heat'; did you mean 'oven.heat'?"),
        ("oven:\n  minutes: long\n", "oven.minutes"),
        ("oven: [\n", "config"),
    ],
)
def test_configuration_file(parser: Parser, tmp_path: Path, content: str, complaint: str) -> None:
    (tmp_path / "c.yaml").write_text(content)
    with pytest.raises(ConfigError) as caught:
        parser.parse_args(["--config", str(tmp_path / "c.yaml")])
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(parser: Parser) -> None:
    with pytest.raises(ConfigError, match=r"does not exist: '.*nowhere\.yaml'"):
        parser.parse_args(["--config", "nowhere.yaml"])


def test_nearest_looks_at_the_whole_and_then_at_the_last_part() -> None:
    assert nearest("train.lrr", ["train.lr", "model.rnn"]) == "train.lr"
    assert nearest("z_dims", ["train.lr", "model.z_dim"]) == "model.z_dim"
    assert nearest("qqq", ["train.lr"]) is None
