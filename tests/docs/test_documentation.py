"""What the documentation says of files, verbs and settings is so; that it builds, `make docs` finds out."""

from __future__ import annotations

import fnmatch
import importlib.util
import os
import re
import subprocess
from pathlib import Path

import pytest

from dynvae.cli import VERBS
from dynvae.models import PRESETS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
WRITTEN_BY_THE_BUILD = ("repository/", "reference/generated/")
PAGES = [
    page
    for page in sorted(DOCS.rglob("*.md"))
    if not page.relative_to(DOCS).as_posix().startswith((*WRITTEN_BY_THE_BUILD, "_"))
]
TEXTS = [
    *PAGES,
    *sorted(ROOT.glob("*.md")),
    *sorted(ROOT.glob("recipes/*/*.md")),
    *sorted(ROOT.glob("benchmarks/**/*.md")),
]
CODE = re.compile(r"^(```|~~~).*?^\1 *$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
PICTURE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)|^```\{(?:image|figure)\} (\S+)", re.MULTILINE)
LARGEST_PICTURE = 150_000  # bytes


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def prose(path: Path) -> str:
    return CODE.sub("", path.read_text(encoding="utf-8"))


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MyST make them, and those that it names itself."""
    text = CODE.sub(lambda found: found[0].strip("`") if found[1] is None else "", path.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    slugs = {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in plain}
    return slugs | set(re.findall(r"^\(([\w-]+)\)=", text, re.MULTILINE))


@pytest.mark.parametrize("page", TEXTS, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link) or "reference/generated/" in os.path.normpath(page.parent / target):
            continue
        found = (page.parent / target) if target else page
        assert found.exists(), f"{name(page)}: there is no {link}"
        if anchor and found.suffix == ".md":
            assert anchor in anchors(found), f"{name(page)}: {target or 'it'} has no heading {anchor}"


@pytest.mark.parametrize("page", TEXTS, ids=name)
def test_pictures_are_there(page: Path) -> None:
    for found in PICTURE.findall(page.read_text(encoding="utf-8")):
        picture = page.parent / (found[0] or found[1])
        if not re.match(r"[a-z]+:", found[0] or found[1]):
            assert picture.is_file(), f"{name(page)}: there is no picture {picture}"


def test_pictures_are_small() -> None:
    pictures = [path for path in DOCS.rglob("*.png") if not name(path).startswith("docs/reference/generated")]
    assert not [name(path) for path in pictures if path.stat().st_size > LARGEST_PICTURE]


@pytest.mark.parametrize("page", TEXTS, ids=name)
def test_no_page_names_a_place_of_one_machine(page: Path) -> None:
    assert not re.findall(r"(?<![\w.])/(?:work|tmp|root|home)/\S*", page.read_text(encoding="utf-8"))


def test_every_page_is_in_a_table_of_contents() -> None:
    listed: set[str] = set()
    for page in PAGES:
        for block in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            entries = [line for line in block.splitlines() if line and not line.startswith(":")]
            folder = page.parent.relative_to(DOCS).as_posix()
            listed |= {os.path.normpath(f"{folder}/{entry}") for entry in entries}
    for page in PAGES:
        path = page.relative_to(DOCS).with_suffix("").as_posix()
        near = [entry for entry in listed if fnmatch.fnmatch(path, entry) and entry.count("/") == path.count("/")]
        assert near or path == "index", f"docs/{path}.md is in no toctree"


def test_every_verb_has_its_page(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("setting_pages", DOCS / "_ext" / "setting_pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pages = module.pages()
    for verb in VERBS:
        page = pages[f"cli/{verb.replace(' ', '-')}"]
        assert page.startswith(f"# dynvae {verb}\n"), verb
        assert "\n: " in page, f"dynvae {verb} has no option"
    assert "`train.kl_warmup`" in pages["settings"]
    assert "`model.z_dim`" in pages["settings"]


def test_environment_variables_are_told() -> None:
    told = (DOCS / "reference" / "environment.md").read_text(encoding="utf-8")
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py")]
    read = {found for text in sources for found in re.findall(r"environ(?:\.get\(|\[)\"(DYNVAE_\w+)", text)}
    assert read
    assert not {variable for variable in read if f"`{variable}`" not in told}


@pytest.mark.parametrize("page", [DOCS / "explanation" / "demands.md", DOCS / "reference" / "seeds.md"], ids=name)
def test_tests_that_are_named_exist(page: Path) -> None:
    files = {path.name for path in (ROOT / "tests").rglob("*.py")}
    text = page.read_text(encoding="utf-8")
    for found in re.findall(r"`(tests/[\w/.]+)`", text):
        assert (ROOT / found).exists(), f"{name(page)}: there is no {found}"
    assert set(re.findall(r"`(test_\w+\.py)`", text)) <= files


def test_every_demand_has_a_verdict() -> None:
    rows = re.findall(r"^\| (\d+) \| [^|]+ \| (\w[\w ]*) \| ", (DOCS / "explanation" / "demands.md").read_text(), re.M)
    assert [int(number) for number, _ in rows] == list(range(1, 26))
    assert {verdict for _, verdict in rows} <= {"met", "partly", "not met"}


def test_every_model_is_in_the_readme_or_the_family() -> None:
    text = "".join((ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "docs/explanation/family.md"))
    variants = {key for key in PRESETS if key.startswith("light-")}  # of an ablation; the zoo's page has them
    assert not {key for key in PRESETS.keys() - variants if f"`{key}`" not in text}


def test_the_script_for_clusters_can_be_read_by_bash() -> None:
    script = DOCS / "how-to" / "slurm.sh"
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert os.access(script, os.X_OK)
