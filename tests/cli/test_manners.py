"""What every verb owes its user: examples that are true, JSON, pipes, one line for what goes wrong, completion."""

from __future__ import annotations

import io
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import soundfile
from sound_toys import saved_model, speech_like

from dynvae.cli import VERBS, main, verb_module
from dynvae.cli.progress import progress_of
from dynvae.cli.telling import count

ROOT = Path(__file__).resolve().parents[2]
WITHOUT_JSON = {"serve", "completion"}


def examples(verb: str) -> list[list[str]]:
    """The words of each example that follow ``dynvae``, without what the shell keeps for itself."""
    found = []
    for line in verb_module(verb).EXAMPLES:
        command = re.split(r"\s[<>|#]|\s\s#", line[line.index("dynvae ") :])[0]
        found.append(shlex.split(command)[1:])
    return found


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_examples_that_the_parser_takes(
    verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)  # where the recipes are
    for words in examples(verb):
        assert " ".join(words).startswith(verb), words
        rest = words[len(verb.split()) :]
        if "--help" not in rest:
            verb_module(verb).verb_parser(rest).parse_args(rest)
    with pytest.raises(SystemExit) as end:
        main([*verb.split(), "--help"])
    told = capsys.readouterr().out
    assert end.value.code == 0
    assert told.startswith(f"usage: dynvae {verb} ")
    assert "\nexamples:\n  " in told
    assert ("--json" in told) == (verb not in WITHOUT_JSON)
    assert max(map(len, told.partition("examples:")[0].splitlines())) < 250


def test_the_list_of_verbs_needs_no_torch() -> None:
    code = "import sys; from dynvae.cli import main; main(['--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0


def test_verbs_of_two_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "--help"]) == 0
    assert "data prepare" in capsys.readouterr().out
    assert main(["data"]) == 2
    assert main(["benchmark", "enhancment"]) == 2
    assert main(["dtaa", "make"]) == 2
    assert "there is no verb 'dtaa'" in capsys.readouterr().err


def test_what_the_system_refuses_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "taken").write_text("")
    soundfile.write(tmp_path / "a.wav", speech_like(0.3), 16000)
    model = str(saved_model(tmp_path / "model"))
    assert main(["resynthesize", model, str(tmp_path / "a.wav"), "--out", str(tmp_path / "taken" / "out")]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("dynvae resynthesize: ")
    assert "taken" in last


def test_the_bar_is_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    begun = []
    with progress_of("work", lambda: begun.append(1)) as report:
        assert not begun
        report(1, 2)
        report(2, 2)
    assert begun == [1]
    assert capsys.readouterr().err == ""
    assert (count(1, "file"), count(2, "file")) == ("1 file", "2 files")


@pytest.fixture
def pipes(monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]):
    def run(words: list[str], content: bytes = b"") -> tuple[int, bytes, str]:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
        code = main(words)
        out, err = capsysbinary.readouterr()
        return code, out, err.decode()

    return run


def test_sound_through_pipes(tmp_path: Path, pipes) -> None:
    model = str(saved_model(tmp_path / "model"))
    soundfile.write(tmp_path / "a.wav", speech_like(0.3), 16000)
    code, out, told = pipes(["resynthesize", model, "-"], (tmp_path / "a.wav").read_bytes())
    assert (code, told) == (0, "")
    sound, rate = soundfile.read(io.BytesIO(out))
    assert (len(sound), rate) == (len(speech_like(0.3)), 16000)
    assert pipes(["resynthesize", model, "-"], b"no sound")[::2] != (0, "")
    code, _, told = pipes(["resynthesize", model, "-"], b"no sound")
    assert code == 2
    assert told.startswith("dynvae resynthesize: standard input: ")
    code, out, _ = pipes(["generate", model, "-n", "1", "--seconds", "0.5", "--iterations", "2", "--out", "-"])
    assert code == 0
    assert soundfile.info(io.BytesIO(out)).duration == pytest.approx(0.5, abs=0.1)
    assert pipes(["generate", model, "-n", "2", "--out", "-"])[0] == 2


def test_boxes_through_pipes(pipes) -> None:
    boxes = "".join(f"{frame},-1,{10 + 2 * frame},20,30,80,0.9\n" for frame in range(1, 12))
    code, out, told = pipes(["track", "-", "--out", "-", "--method", "sort"], boxes.encode())
    assert code == 0
    assert {line.split(",")[1] for line in out.decode().splitlines()} == {"1"}
    assert "-: 1 tracks in 11 frames" in told
    code, _, told = pipes(["track", "-", "--out", "-"], b"1,2\n")
    assert code == 2
    assert "standard input" in told


def test_json_alone_is_on_standard_output(tmp_path: Path, pipes) -> None:
    model = str(saved_model(tmp_path / "model"))
    soundfile.write(tmp_path / "a.wav", speech_like(0.3), 16000)
    code, out, told = pipes(["resynthesize", model, str(tmp_path / "a.wav"), "--out", str(tmp_path / "out"), "--json"])
    assert code == 0
    assert json.loads(out)["files"] == [{"input": str(tmp_path / "a.wav"), "output": str(tmp_path / "out" / "a.wav")}]
    assert "writes 1 file to" in told
    words = ["generate", model, "-n", "1", "--seconds", "0.5", "--iterations", "2", "--out", str(tmp_path / "c")]
    code, out, _ = pipes([*words, "--json"])
    assert code == 0
    assert Path(json.loads(out)["clips"][0]).is_file()


def test_the_shell_completes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("shtab")
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "dynvae.bash"
    script.write_text(capsys.readouterr().out)
    asked = {
        ("enh",): "enhance",
        ("train", "srnn", "--model.z_d"): "--model.z_dim",
        ("benchmark", "enhancement", "--sn"): "--snrs",
        ("enhance", "--preset", "fa"): "fast",
    }
    for words, wanted in asked.items():
        line = " ".join(f"'{word}'" for word in ("dynvae", *words))
        command = f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words)}; _shtab_dynvae dynvae '{words[-1]}' x"
        done = subprocess.run(["bash", "-c", f'{command}; echo "${{COMPREPLY[@]}}"'], capture_output=True, text=True,
                              check=True)  # fmt: skip
        assert done.stdout.split() == [wanted]
