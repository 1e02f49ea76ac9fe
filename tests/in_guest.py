"""Runs tests and says how each went, for :mod:`tests.guest`:  python -m tests.in_guest FILE  (the tests' ids,
one a line; a line of JSON each).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TextIO

import pytest


class _Reporter:
    def __init__(self, out: TextIO) -> None:
        self._out = out

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or not report.passed:
            # a tuple is a skip's place and reason
            why = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
            print(json.dumps([report.nodeid, report.outcome, why]), file=self._out, flush=True)


def main() -> int:
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)  # whatever else is printed is for people
        ids = Path(sys.argv[1]).read_text().splitlines()
        return pytest.main(
            ["-o", "addopts=", "-p", "no:xdist", "-p", "no:cacheprovider", "-q", *ids],
            plugins=[_Reporter(out)],
        )


if __name__ == "__main__":
    sys.exit(main())
