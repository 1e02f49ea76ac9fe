"""Tests that the documents which messages cite can be read by ``podwire doc``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from emulator.cli import main
from emulator.commands.doc import documents
from emulator.model.reasons import Why
from emulator.objects.warnings import Code

ROOT = Path(__file__).parents[3]


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["doc", *words]) == 0
    return capsys.readouterr().out


def test_every_section_that_is_cited_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    for number in sorted({why.section for why in Why if why.section}):
        assert printed(capsys, "semantics", str(number)).startswith(f"## {number}. ")
    for code in Code:
        assert printed(capsys, code.value).startswith(f"## {code.value}\n")
    assert printed(capsys, "PW001", "PW002").count("## PW") == 2


def test_every_document_is_listed_and_printed(capsys: pytest.CaptureFixture[str]) -> None:
    listed = printed(capsys)
    for path in (ROOT / "docs").glob("*.md"):
        assert re.search(rf"^{path.stem} +\S", listed, re.MULTILINE)
        assert printed(capsys, path.stem) == path.read_text()
    assert printed(capsys, "docs/warnings.md") == printed(capsys, "warnings")
    assert printed(capsys, "flowcheck.schema.json").startswith("{")
    assert printed(capsys, "--path", "wireshark-profile") == f"{ROOT}/docs/wireshark-profile\n"


def test_what_the_program_cites_is_there() -> None:
    cited = {
        name
        for path in (ROOT / "emulator").rglob("*.py")
        for name in re.findall(r"podwire doc ([a-z-]+)", path.read_text())
    }
    assert {"semantics", "warnings"} <= cited <= {*documents(), "lists"}  # "podwire doc lists them"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["semantcs"], "there is no document 'semantcs' (did you mean semantics?)"),
        (["../README"], "there is no document '../README'"),
        (["PW999"], "warnings.md has no section 'PW999': there are PW001; PW002;"),
    ],
)
def test_what_is_not_there_is_said(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doc", *words]) == 2
    assert said in capsys.readouterr().err
