"""Tests that the table of docs/services.md is that of a run in every mode."""

from __future__ import annotations

import pytest

from emulator.proxy import MODES
from emulator.report.modes_markdown import render_table
from emulator.run.diff import run_modes
from emulator.run.run import Options
from tests.guest import with_guest
from tests.sandboxed import ROOT, scenario_of

pytestmark = [pytest.mark.kernel, pytest.mark.slow, with_guest]

PAGE = ROOT / "docs" / "services.md"


@pytest.fixture(scope="module")
def said() -> str:
    """Returns the table of a run."""
    scenarios = {mode: scenario_of("whose-address", proxy_mode=mode) for mode in MODES}
    return render_table(run_modes(scenarios, Options()))


def test_table_is_that_of_a_run(said: str, request: pytest.FixtureRequest) -> None:
    page = PAGE.read_text()
    text, _, table = page.partition("\n| ")
    if request.config.getoption("--update-golden"):
        PAGE.write_text(f"{text}\n{said}")
        table = said.removeprefix("| ")
    assert f"| {table}" == said, (
        "docs/services.md differs from the packets: if that is meant, run pytest --update-golden"
    )
