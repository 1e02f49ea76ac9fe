"""Checks the documents themselves: links, line length, and that the map names the rooms that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [
        ROOT / "README.md",
        ROOT / "captures" / "README.md",
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "tests").glob("*/README.md"),
    ]
)
# made by programs, a line a paragraph or a row
LONG_LINES = ("|", "![")


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_links_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", path.read_text())
    files = [link.partition("#")[0] for link in links if "://" not in link]
    assert [link for link in files if link and not (path.parent / link).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_anchors_are_headings(path: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)\s:]*)#([^)\s]+)\)", path.read_text()):
        text = ((path.parent / target) if target else path).read_text()
        headings = {
            re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).replace(" ", "-")
            for line in text.splitlines()
            if line.startswith("#")
        }
        assert anchor in headings, f"{target}#{anchor}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_lines_have_at_most_110_columns(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert [line for line in lines if len(line) > 110 and not line.startswith(LONG_LINES)] == []


def test_the_readme_is_a_page() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


def test_the_map_names_every_room() -> None:
    rooms = {f"{path.parent.name}/" for path in (ROOT / "emulator").glob("*/__init__.py")}
    table = re.findall(r"^\| `([a-z]+/)`", (ROOT / "docs" / "architecture.md").read_text(), re.MULTILINE)
    assert sorted(table) == sorted(rooms)


def test_the_map_names_files_that_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    named = re.findall(r"`([a-z_]+(?:/[a-z_]+)*\.py)`", text)
    assert named
    assert [name for name in named if not (ROOT / "emulator" / name).exists()] == []
