"""Tests what a program sees of a check that failed."""

from __future__ import annotations

import traceback
from dataclasses import replace

import podwire
from emulator.objects.references import ObjectRef
from emulator.objects.warnings import Code, ManifestWarning
from emulator.report.run_text import tell_cause
from tests.unit.report.samples import PODS, TYPO


def test_its_first_line_is_the_cause_under_its_public_name() -> None:
    warning = ManifestWarning(code=Code.POLICY, object=ObjectRef("NetworkPolicy", "default/p"))
    report = replace(TYPO, warnings=(warning,))
    error = podwire.CheckFailedError(report, PODS)
    first = traceback.format_exception_only(error)[0].splitlines()[0]
    assert first == f"podwire.CheckFailedError: {tell_cause(report)}"
    assert "ignore=('PW005',) of podwire.cluster()" in str(error)
    assert "--ignore" not in str(error)
