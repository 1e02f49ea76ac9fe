"""Drives the HTML report in a real browser: by keyboard, in print, in the dark, on a phone, without its
script.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from emulator.model.flows import SourcePlace
from emulator.report.report_html import comparison_to_html
from tests.browser.conftest import Opened
from tests.unit.report.samples import FAILED, PASSED, PODS, REPORT
from tests.unit.report.test_report_html import DIFFERENT, HOSTILE, hostile_report

Show = Callable[..., Opened]

CHECKED = replace(FAILED, flow=replace(FAILED.flow, check="gone", place=SourcePlace("checks.yaml", 12)))
MIXED = replace(
    REPORT,
    flows=(PASSED, CHECKED, replace(PASSED, flow=replace(PASSED.flow, name="another", check="kept"))),
)


def test_it_is_read_from_start_to_end_by_tab(show: Show) -> None:
    opened = show(MIXED)
    met = []
    for _ in range(14):
        opened.press("Tab")
        met.append(opened.focused)
    assert met[:3] == ["Skip to the flows", "all.pcapng", "pod client → svc gone:80"]
    assert met[3].startswith("Requirement Checked Verdict Reason")  # a table that may be wider than the page
    assert met[4:12] == [
        "Text: names, addresses, machines",
        "FAIL (1)",
        "UNKNOWN (0)",
        "PASS (2)",
        "FlowCheck all none: derived from the objects gone kept",
        "Show all",
        "Open those shown",
        "Close them",
    ]
    assert met[12].startswith("FAIL pod default/client → svc default/gone:80")
    assert met[13].startswith("PASS pod default/client → svc default/web:80")


def test_flows_are_filtered_and_opened_by_keyboard(show: Show) -> None:
    opened = show(MIXED)
    page = opened.page
    count = page.locator("#count")
    assert count.inner_text() == "3 of 3 flows shown"
    assert count.get_attribute("aria-live") == "polite"
    opened.press("Tab")
    opened.press("Enter")  # to the flows, past the rest
    opened.press("Tab")
    assert opened.focused == "Text: names, addresses, machines"
    page.keyboard.type("10.244.2.4 WEB-1")
    opened.wait_for("2 of 3")
    assert opened.shown == ["flow-1", "flow-3"]
    opened.press("Tab", 4)
    opened.press("ArrowDown", 3)  # FlowCheck: kept
    opened.wait_for("1 of 3")
    assert opened.shown == ["flow-3"]
    opened.press("Tab", 4)
    picture = page.locator("#flow-3 svg").first
    assert not picture.is_visible()
    opened.press("Enter")
    assert picture.is_visible()
    label = picture.get_attribute("aria-label")
    assert label is not None
    assert "worker-1, veth1 in, eth0 out, DNAT: destination, 10.96.0.10:80 → 10.244.2.4:8080" in label
    opened.press("Enter")
    assert not picture.is_visible()
    opened.press("Shift+Tab", 3)
    assert opened.focused == "Show all"
    opened.press("Enter")
    opened.wait_for("3 of 3")


def test_verdicts_are_filtered(show: Show) -> None:
    opened = show(MIXED)
    opened.page.get_by_label("PASS").press("Space")
    opened.wait_for("1 of 3")
    assert opened.shown == ["flow-2"]
    assert not opened.page.get_by_role("heading", name="Pod to Service").is_visible()


def test_a_link_to_a_flow_that_is_filtered_out_shows_it(show: Show) -> None:
    opened = show(MIXED)
    opened.page.get_by_label("FAIL").press("Space")
    opened.wait_for("2 of 3")
    opened.page.get_by_role("link", name="pod client → svc gone:80").press("Enter")
    opened.wait_for("3 of 3")
    assert opened.focused.startswith("FAIL pod default/client → svc default/gone:80")
    assert opened.page.locator("#flow-2 svg").first.is_visible()


@pytest.mark.parametrize(
    ("what", "width", "scheme"),
    [
        ("run", 1280, "light"),
        ("run", 400, "dark"),
        ("comparison", 1280, "dark"),
        ("comparison", 400, "light"),
    ],
)
def test_it_keeps_the_rules_of_accessibility(show: Show, what: str, width: int, scheme: str) -> None:
    """Checks contrast, names, landmarks and the like (WCAG 2.2 AA), with everything open."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", exc_type=ImportError)
    content = (
        MIXED if what == "run" else comparison_to_html(DIFFERENT, PODS, {"iptables": "captures/a-iptables"})
    )
    opened = show(content, viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = opened.page
    page.get_by_role("button", name="Open those shown").press("Enter")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (back == "rgb(255, 255, 255)") == (scheme == "light")
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("script", [True, False], ids=["with its script", "without"])
def test_print_holds_everything_and_no_control(show: Show, tmp_path: Path, script: bool) -> None:
    opened = show(MIXED, java_script_enabled=script)
    file = tmp_path / "report.pdf"
    opened.page.pdf(path=file)
    text = subprocess.run(
        ["pdftotext", "-layout", file, "-"], capture_output=True, text=True, check=True
    ).stdout
    said = " ".join(text.split())
    for words in (
        "2 PASS, 1 FAIL",
        "checks.yaml:12",
        "10.96.0.10:80 → 10.244.2.4:8080",  # inside a flow that is closed on the screen
        "172.18.0.3",
        "dropped: seen no further",
    ):
        assert words in said
    for words in ("Show all", "Close them", "Skip to", "flows shown"):
        assert words not in said


def test_it_is_whole_without_its_script(show: Show) -> None:
    opened = show(MIXED, java_script_enabled=False)
    assert opened.page.locator("details.flow").count() == 3
    assert not opened.page.get_by_role("button", name="Show all").is_visible()
    opened.page.locator("#flow-1 summary").press("Enter")
    assert opened.page.locator("#flow-1 svg").first.is_visible()


def test_the_policy_stops_other_scripts(show: Show) -> None:
    opened = show(REPORT)
    opened.page.evaluate("""
        document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='window.ran = 1'>");
        const script = document.createElement("script");
        script.textContent = "window.ran = 2";
        document.body.append(script);
    """)
    opened.page.wait_for_timeout(100)
    assert opened.page.evaluate("window.ran") is None
    assert len(opened.said) >= 2
    assert all("Content Security Policy" in line for line in opened.said)
    opened.said.clear()
    opened.asked[1:] = []


def test_no_text_of_a_manifest_runs(show: Show) -> None:
    """Takes all texts together. The property test of the template has each by itself."""
    opened = show(hostile_report(" ".join(HOSTILE)))
    opened.page.get_by_role("button", name="Open those shown").press("Enter")
    assert opened.page.locator("script, img, iframe, object, link").count() == 1  # the page's own script


def test_two_thousand_flows_stay_usable(show: Show) -> None:
    flows = tuple(replace(PASSED, flow=replace(PASSED.flow, name=f"flow {number}")) for number in range(2000))
    page = (opened := show(replace(REPORT, flows=(*flows, FAILED)))).page
    page.get_by_role("searchbox").fill("flow 1999")
    opened.wait_for("1 of 2001")
    assert opened.shown == ["flow-2000"]
