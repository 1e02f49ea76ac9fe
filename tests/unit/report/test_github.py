"""Tests what GitHub Actions shows of a report."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from emulator.model.flows import SourcePlace
from emulator.model.notices import EvidenceMissing
from emulator.model.results import FlowResult, Report
from emulator.objects.references import ObjectRef
from emulator.objects.warnings import Code, ManifestWarning
from emulator.report.github import MOST_ANNOTATIONS, MOST_BYTES, annotate, summarize
from tests.unit.report.samples import FAILED, PASSED, REPORT

ROOT = Path(__file__).parents[3]


WRITTEN = SourcePlace("checks/web.yaml", 7)


def failed(name: str = "web: a Pod asks", place: SourcePlace = WRITTEN) -> FlowResult:
    return replace(FAILED, flow=replace(FAILED.flow, name=name, place=place))


def report(*flows: FlowResult) -> Report:
    return replace(REPORT, flows=flows)


def test_failure_is_annotated_where_it_is_written() -> None:
    (line,) = annotate(report(PASSED, failed())).splitlines()
    head, _, message = line.removeprefix("::error ").partition("::")
    assert head == "file=checks/web.yaml,line=7,title=web%3A a Pod asks"
    assert message


def test_derived_flow_has_no_place() -> None:
    assert annotate(report(failed(place=SourcePlace()))).startswith("::error title=")


@pytest.mark.parametrize("name", ["a\n::warning::b", "a,line=3::b", "a\r\n%0A::error::c", "\x1b[31m::stop"])
def test_name_is_no_command(name: str) -> None:
    text = annotate(report(failed(name, SourcePlace(name, 1))))
    assert text.count("\n") == 1
    head = text.removeprefix("::error ").partition("::")[0]
    assert [part.partition("=")[0] for part in head.split(",")] == ["file", "line", "title"]
    assert "\x1b" not in text


def test_annotations_are_as_many_as_are_shown() -> None:
    many = report(*(failed(f"{number}") for number in range(MOST_ANNOTATIONS + 5)))
    assert len(annotate(many).splitlines()) == MOST_ANNOTATIONS


def test_summary_tells_totals_and_failures() -> None:
    text = summarize(report(PASSED, failed()), {})
    assert "| 2 | 1 | 1 | 0 |" in text
    assert "<summary>FAIL web: a Pod asks (checks/web.yaml:7)</summary>" in text
    assert "all as expected" in summarize(report(PASSED), {})


def warning(number: int = 1, file: str = "deploy/web.yaml") -> ManifestWarning:
    about = ObjectRef("NetworkPolicy", f"default/deny-{number}")
    return ManifestWarning(code=Code.POLICY, object=about, file=file, line=number)


def test_warnings_are_annotated_and_counted() -> None:
    warned = replace(REPORT, flows=(PASSED,), warnings=tuple(map(warning, range(1, 13))))
    lines = annotate(warned).splitlines()
    assert len(lines) == MOST_ANNOTATIONS
    assert lines[0] == (
        "::warning file=deploy/web.yaml,line=1,title=PW005 NetworkPolicy default/deny-1::NetworkPolicy "
        "default/deny-1 is not enforced: flows that it denies are shown as delivered"
    )
    text = summarize(warned, {})
    assert "| 1 | 1 | 0 | 0 | 12 |" in text
    assert text.count("- warning PW005: ") == 1
    assert "and 11 more of this kind" in text
    assert "all as expected" in text


def test_warnings_are_errors_where_they_count() -> None:
    strict = replace(REPORT, flows=(PASSED,), warnings=(warning(), warning(2)), strict=True)
    assert [line.split(" ")[0] for line in annotate(strict).splitlines()] == ["::error", "::error"]
    assert summarize(strict, {}).splitlines()[0].endswith(": failed: 2 warnings (--strict)")


def test_nothing_to_check_is_not_as_expected() -> None:
    nothing = ManifestWarning(code=Code.NOTHING, object=ObjectRef("", ""))
    text = summarize(replace(REPORT, flows=(PASSED,), warnings=(nothing,)), {})
    assert "nothing to check" in text.splitlines()[0]


def test_under_strict_the_cause_is_said_once() -> None:
    nothing = ManifestWarning(code=Code.NOTHING, object=ObjectRef("", ""))
    strict = replace(REPORT, flows=(PASSED,), warnings=(nothing,), strict=True)
    assert summarize(strict, {}).splitlines()[0].endswith(": failed: nothing to check (--strict)")
    more = replace(strict, warnings=(nothing, warning()))
    assert summarize(more, {}).splitlines()[0].endswith(": failed: nothing to check, 2 warnings (--strict)")
    assert annotate(strict).startswith("::error title=PW011::the input has no Pod")


def test_summary_has_room_in_a_comment() -> None:
    text = summarize(report(*(failed(f"{number}") for number in range(1000))), {})
    assert len(text.encode()) <= MOST_BYTES
    shown = text.count("<details>")
    assert f"{1000 - shown} more flows are not as expected" in text


def test_summary_shows_names_as_they_are() -> None:
    text = summarize(report(failed("<script>alert(1)</script> *a* `b`", SourcePlace("a|b.yaml", 1))), {})
    assert "FAIL ask @<!-- -->ops, #<!-- -->12" in summarize(report(failed("ask @ops, #12")), {})
    assert "<script>" not in text
    assert "<summary>FAIL &lt;script&gt;alert(1)&lt;/script&gt; *a* `b` (a|b.yaml:1)</summary>" in text


def test_summary_is_short_whatever_is_warned_of() -> None:
    long = ManifestWarning(
        code=Code.UNKNOWN_CODE,
        object=ObjectRef("Service", "default/web"),
        parts=(("words", "x" * 80_000), ("field", "metadata")),
    )
    noted = replace(report(), notices=(EvidenceMissing("n" * 500),) * 500, warnings=(long,) * 30)
    assert len(summarize(noted, {}).encode()) < 60_000


def action_words(tmp_path: Path, **inputs: str) -> list[str]:
    """Returns the words that the action runs podwire with."""
    (step,) = yaml.safe_load((ROOT / "action.yml").read_text())["runs"]["steps"]
    sudo = tmp_path / "sudo"
    sudo.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    sudo.chmod(0o755)
    names = dict.fromkeys(step["env"], "") | {"CAPTURES": "evidence", "PODWIRE": "/action"} | inputs
    environment = {**os.environ, **names, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    bash = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    return subprocess.run(
        bash, env=environment, capture_output=True, text=True, check=True
    ).stdout.splitlines()


def test_action_runs_podwire(tmp_path: Path) -> None:
    words = action_words(
        tmp_path,
        TARGETS="deploy/\nchecks/a b.yaml\n\n",
        PROXY_MODE="nftables",
        JUNIT="r.xml",
        STRICT="true",
        IGNORE="PW005,PW007",
    )
    assert words[1:] == [
        "/action/scripts/with-env",
        *("podwire", "run", "--proxy-mode", "nftables", "--junit", "r.xml"),
        *("--strict", "--ignore", "PW005,PW007"),
        *("-f", "deploy/", "-f", "checks/a b.yaml", "--captures", "evidence"),
    ]


def test_action_compares_modes(tmp_path: Path) -> None:
    words = action_words(tmp_path, TARGETS="deploy/", PROXY_MODE="ipvs", MODES="iptables,nftables")
    assert words[2:] == [
        "podwire",
        "diff",
        "--modes",
        "iptables,nftables",
        "-f",
        "deploy/",
        "--captures",
        "evidence",
    ]


def test_action_without_targets_fails(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        action_words(tmp_path, TARGETS=" \n")
    assert failed.value.returncode == 2
    assert "the input targets names no file or directory" in failed.value.stdout


def test_input_of_the_action_is_no_script(tmp_path: Path) -> None:
    target = "$(touch here); `touch here`"
    assert target in action_words(tmp_path, TARGETS=target)
    declared = yaml.safe_load((ROOT / "action.yml").read_text())
    (step,) = declared["runs"]["steps"]
    assert "${{" not in step["run"]
    assert {f"${{{{ inputs.{name} }}}}" for name in declared["inputs"]} <= set(step["env"].values())
