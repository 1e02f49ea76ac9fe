"""Tests sections of documents, and their fit to a terminal."""

from __future__ import annotations

import pytest

from emulator.errors import UsageError
from emulator.report.document import reflow, section

TEXT = """\
# Title

Some words that are longer than
a line of twenty columns.

## 1. First things

- an item that goes
  on behind its end
- two

```sh
## a comment of a shell that stays one line
```

### Deeper

| a table | of two columns |

## 12. Last
end
"""


def test_a_section_ends_at_the_next_heading_of_its_rank() -> None:
    assert section("d", TEXT, "1").splitlines()[0] == "## 1. First things"
    assert section("d", TEXT, "1").splitlines()[-1] == "| a table | of two columns |"
    assert section("d", TEXT, "deeper").splitlines() == ["### Deeper", "", "| a table | of two columns |"]
    assert section("d", TEXT, "first") == section("d", TEXT, "1.")
    with pytest.raises(
        UsageError, match=r"d has no section '3': there are 1\. First things; Deeper; 12\. Last"
    ):
        section("d", TEXT, "3")


def test_paragraphs_and_items_are_folded_and_code_is_not() -> None:
    assert reflow(TEXT, 20).split("\n") == [
        "# Title",
        "",
        "Some words that are",
        "longer than a line",
        "of twenty columns.",
        "",
        "## 1. First things",
        "",
        "- an item that goes",
        "  on behind its end",
        "- two",
        "",
        "```sh",
        "## a comment of a shell that stays one line",
        "```",
        "",
        "### Deeper",
        "",
        "| a table | of two",
        "  columns |",
        "",
        "## 12. Last",
        "end",
        "",
    ]
