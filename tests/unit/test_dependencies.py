"""Tests that every library that podwire imports is pinned, has its reason, and is named wherever libraries
are.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from emulator.run.doctor import PACKAGES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
LINES = [
    line for line in (ROOT / "requirements.in").read_text().splitlines() if line and not line.startswith("#")
]
NAMES = {line.split()[0] for line in LINES}


def test_each_has_its_reason() -> None:
    assert [line for line in LINES if not re.fullmatch(r"[\w-]+ +# \w.+", line)] == []


def test_each_is_pinned_with_hashes() -> None:
    text = (ROOT / "requirements.txt").read_text()
    assert [
        n for n in NAMES if not re.search(rf"^{n}==\S+(?: ; .+)? \\\n +--hash=sha256:", text, re.M | re.I)
    ] == []


def test_the_documents_and_the_package_name_the_same() -> None:
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {line.partition(">=")[0] for line in package["dependencies"]} == NAMES
    table = (ROOT / "docs" / "contributing.md").read_text().partition("| package | reason |")[2]
    assert set(re.findall(r"^\| ([\w-]+) \|", table, re.M)) >= NAMES


def test_doctor_looks_for_each() -> None:
    modules = {"PyYAML": "yaml", "PyJWT": "jwt", "google-re2": "re2"}
    assert {modules.get(name, name.replace("-", "_").lower()) for name in NAMES} == set(PACKAGES)
