"""Tests that the table of docs/services.md is that of a run in every mode."""

from __future__ import annotations

import pytest

from emulator.proxy import MODES
from tests.guest import with_guest
from tests.sandboxed import ROOT, podwire

pytestmark = [pytest.mark.kernel, pytest.mark.slow, with_guest]

PAGE = ROOT / "docs" / "services.md"


@pytest.fixture(scope="module")
def said() -> str:
    """Returns the table of a run."""
    result = podwire(
        "diff", "whose-address", "--modes", ",".join(MODES), "-o", "markdown", "--captures", "none"
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_table_is_that_of_a_run(said: str, request: pytest.FixtureRequest) -> None:
    page = PAGE.read_text()
    text, _, table = page.partition("\n| ")
    if request.config.getoption("--update-golden"):
        PAGE.write_text(f"{text}\n{said}")
        table = said.removeprefix("| ")
    assert f"| {table}" == said, (
        "docs/services.md differs from the packets: if that is meant, run pytest --update-golden"
    )
