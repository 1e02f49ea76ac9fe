"""Tests that the man page is that of the present options."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from emulator import __version__
from emulator.cli import make_parsers
from emulator.commands.manpage import render

PAGE = Path(__file__).parents[2] / "docs" / "podwire.1"


def test_the_man_page_is_made_from_the_parsers(request: pytest.FixtureRequest) -> None:
    text = render(*make_parsers(), __version__)
    if request.config.getoption("--update-golden"):
        PAGE.write_text(text)
    assert PAGE.read_text() == text, "options have changed: pytest tests/unit/test_manpage.py --update-golden"


@pytest.mark.skipif(not shutil.which("groff"), reason="groff renders man pages")
def test_it_renders_without_a_warning() -> None:
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-P-cbou", str(PAGE)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    for said in ("podwire [run] [OPTION]... [TARGET]...", "EXIT STATUS", "--captures DIR", "podwire capture"):
        assert said in done.stdout.replace("‐", "-")
