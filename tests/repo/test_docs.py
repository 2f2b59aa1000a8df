"""The documentation is true: its code runs, its links lead somewhere, its names exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ipex_quant.tools import list_fusions

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)( norun)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def code(page: Path, language: str) -> list[str]:
    """Code blocks of a page in one language, those marked `norun` left out."""
    blocks = BLOCK.findall(page.read_text(encoding="utf8"))
    return [text for found, norun, text in blocks if found == language and not norun]


def name(page: Path) -> str:
    """Test name of a page."""
    return str(page.relative_to(ROOT))


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if code(p, "python")], ids=name)
def test_python_blocks_run(page: Path, tmp_path: Path) -> None:
    """All Python blocks of a page, run in order in one fresh process."""
    script = tmp_path / "page.py"
    script.write_text("\n".join(code(page, "python")), encoding="utf8")
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{page.name}:\n{done.stdout}{done.stderr}"


def test_the_list_of_fusions_is_up_to_date() -> None:
    """docs/fusions.md is what its tool writes."""
    page = (ROOT / "docs" / "fusions.md").read_text(encoding="utf8")
    assert page == list_fusions.text(), "run python -m ipex_quant.tools.list_fusions"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file of the tree."""
    text = page.read_text(encoding="utf8")
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    missing = [t for t in targets if not (page.parent / t).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_named_files_exist(page: Path) -> None:
    """A path in backticks that starts with a folder of ours is there."""
    text = page.read_text(encoding="utf8")
    folders = "kernels|runtime|passes|python|include|bench|examples|tests|docs|cmake"
    named = re.findall(rf"`((?:{folders})/[\w./-]+)`", text)
    missing = [n for n in named if not (ROOT / n).exists()]
    assert not missing


def test_environment_variables_are_those_of_the_sources() -> None:
    """docs/debugging.md lists each variable that the code reads, and no other."""
    read = set()
    for folder in ("kernels", "runtime", "passes", "python"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in {".cpp", ".h", ".py"}:
                text = path.read_text(encoding="utf8")
                call = r'(?:getenv|variable|environ\S*?)[(\[]"(IPEX_QUANT_\w+)"'
                read |= set(re.findall(call, text))
    page = (ROOT / "docs" / "debugging.md").read_text(encoding="utf8")
    assert set(re.findall(r"`(IPEX_QUANT_[A-Z_]+)", page)) == read


@pytest.mark.parametrize("target", ["demo", "test", "lint", "format", "cpp-example", "bench"])
def test_make_targets_exist(target: str) -> None:
    """Commands of the README are targets of the Makefile."""
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf8"), re.MULTILINE)
