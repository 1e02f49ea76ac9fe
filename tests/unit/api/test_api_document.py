"""Tests that docs/api.md lists the resources that are served."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator.api.resources import ALL_VERBS, RESOURCES, Resource

PAGE = Path(__file__).parents[3] / "docs" / "api.md"
BEGIN = "<!-- begin of what pytest tests/unit/api/test_api_document.py --update-golden writes -->\n"
END = "<!-- end of it -->\n"


def row(one: Resource) -> str:
    verbs = "all" if set(one.verbs) == set(ALL_VERBS) else ", ".join(one.verbs)
    missing = sorted(set(ALL_VERBS) - set(one.verbs))
    if len(missing) == 1:
        verbs = f"all but {missing[0]}"
    cells = (one.apiVersion, one.plural, one.kind, verbs, ", ".join(sorted(one.subresources)))
    return f"| {' | '.join(cells)} |\n"


def test_the_document_lists_every_resource(request: pytest.FixtureRequest) -> None:
    head = "| version | resource | kind | verbs | subresources |\n|---|---|---|---|---|\n"
    table = head + "".join(map(row, RESOURCES))
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    whole = before + BEGIN + table + END + after
    if request.config.getoption("--update-golden"):
        PAGE.write_text(whole)
    assert PAGE.read_text() == whole, "pytest tests/unit/api/test_api_document.py --update-golden"
