"""Tests the HTML page, read back by an HTML parser: what is on it, in which order, and that no text of a
manifest becomes markup, a script or a link.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.errors import printable
from emulator.model.flows import SourcePlace
from emulator.model.notices import EvidenceMissing
from emulator.model.requirements import Disguised
from emulator.model.results import Report
from emulator.net import Address
from emulator.objects.references import ObjectRef
from emulator.objects.warnings import Code, ManifestWarning
from emulator.report import report_html
from emulator.report.report_html import comparison_to_html, to_html
from emulator.verdicts.modes import compare_modes
from tests.unit.report.samples import CLIENT, FAILED, PASSED, PODS, REPORT, flow

HOSTILE = [
    "</script><script>alert(1)</script>",
    "</style><img src=x onerror=alert(1)>",
    '"\' onmouseover=alert(1) x="',
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% include '/etc/passwd' %}",
    "<!-- --> ]]> &lt;b&gt;",
    "\x00\x1b[31m\ud800\u202e",
]
texts = st.one_of(st.sampled_from(HOSTILE), st.text(min_size=1, max_size=40))


class Reader(HTMLParser):
    """Collects elements with their attributes, the texts of each element's class, and all text."""

    def __init__(self, page: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.raw: dict[str, str] = {}
        self._in = ""
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._in = tag

    def handle_data(self, data: str) -> None:
        if self._in in ("script", "style"):
            self.raw[self._in] = self.raw.get(self._in, "") + data
        else:
            self.text.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def all_text(self) -> str:
        return " ".join(" ".join(self.text).split())

    @property
    def shape(self) -> list[tuple[str, tuple[str, ...]]]:
        return [(tag, tuple(attributes)) for tag, attributes in self.elements]


def read(report: Report, captures: str | None = "captures/three-networks") -> Reader:
    return Reader(to_html(report, PODS, captures))


def test_flows_that_failed_come_first_with_cause_and_place() -> None:
    placed = replace(FAILED, flow=replace(FAILED.flow, place=SourcePlace("checks.yaml", 12), check="gone"))
    page = read(replace(REPORT, flows=(PASSED, placed)))
    ids = [attributes["id"] for attributes in page.of("details") if attributes.get("class") == "flow"]
    assert ids == ["flow-2", "flow-1"]
    text = page.all_text
    assert "FAIL pod client → svc gone:80 checks.yaml:12 it was dropped, not delivered" in text
    assert text.index("checks.yaml:12") < text.index("Requirements of the network model")
    assert {"href": "#flow-2"} in page.of("a")


def test_warnings_are_told_with_their_place() -> None:
    warning = ManifestWarning(
        code=Code.POLICY, object=ObjectRef("NetworkPolicy", "default/deny"), file="deny.yaml", line=3
    )
    report = replace(REPORT, flows=(PASSED,), requirements=(), warnings=(warning,))
    text = read(report).all_text
    assert "1 flow: 1 PASS; 0 requirements: none; 1 warning" in text
    assert "Warnings (1) PW005 NetworkPolicy default/deny is not enforced" in text
    assert "deny.yaml:3" in text
    assert "As expected, but for warnings" in read(replace(report, strict=True)).all_text


def test_a_requirement_that_nothing_asked_about_is_left_out() -> None:
    unasked = tuple(replace(r, asked=r.verdict == "pass") for r in REPORT.requirements)
    text = read(replace(REPORT, requirements=unasked)).all_text
    assert "1 requirement: 1 PASS" in text
    assert "A ClusterIP is on no interface" not in text


def test_flows_that_failed_alike_are_one_cause() -> None:
    page = read(replace(REPORT, flows=(PASSED, *[FAILED] * 22)))
    assert "FAIL 22 flows to svc web:80 it was dropped" in page.all_text
    links = [a["href"] for a in page.of("a") if (a["href"] or "").startswith("#flow-")]
    assert len(links) == 20
    assert "2 more" in page.all_text


def test_the_first_failures_are_open() -> None:
    page = read(replace(REPORT, flows=(*[FAILED] * 12, PASSED)))
    flows = [attributes for attributes in page.of("details") if attributes.get("class") == "flow"]
    assert ["open" in attributes for attributes in flows] == [True] * 10 + [False] * 3


def test_one_page_tells_what_the_report_holds() -> None:
    text = read(REPORT).all_text
    for said in (
        "podwire: three-networks",
        "2 flows: 1 PASS, 1 FAIL; 2 requirements: 1 PASS, 1 UNKNOWN",
        "left out: 3 ConfigMap, 1 Ingress",
        "A ClusterIP is on no interface anywhere. 0 UNKNOWN there is no Service with a ClusterIP",
        "worker-1 worker 172.18.0.3 10.244.1.0/24 client, web-0",
        "default/web ClusterIP 10.96.0.10 80:30080/TCP, 53/UDP 2",
        "DNAT: destination 10.96.0.10:80 → 10.244.2.4:8080",
        "outcome delivered dropped ×2 differs",
    ):
        assert said in text


def test_captures_are_linked_relative_to_the_page() -> None:
    report = replace(REPORT, flows=(replace(PASSED, captures=("01-a.pcapng",)), FAILED))
    links = [attributes["href"] for attributes in read(report, "../a b/ü%/javascript:x").of("a")]
    assert "./../a%20b/%C3%BC%25/javascript%3Ax/01-a.pcapng" in links
    assert "./../a%20b/%C3%BC%25/javascript%3Ax/all.pcapng" in links
    page = read(report, None)
    assert [a["href"] for a in page.of("a")] == ["#flows", "#flow-2"]
    assert "left no captures" in page.all_text


def test_checks_can_be_chosen_where_there_are_some() -> None:
    assert read(REPORT).of("select") == []
    checked = replace(PASSED, flow=replace(PASSED.flow, check="gone"))
    page = read(replace(REPORT, flows=(checked, FAILED)))
    assert [attributes.get("value") for attributes in page.of("option")] == ["", "-", "gone"]
    checks = [a["data-check"] for a in page.of("details") if a.get("class") == "flow"]
    assert checks == ["-", "gone"]


def test_steps_are_headings() -> None:
    later = replace(PASSED, flow=replace(PASSED.flow, step="gone, drain"))
    text = read(replace(REPORT, flows=(PASSED, later, FAILED))).all_text
    places = [text.index(title) for title in ("At the beginning (1)", "gone, drain (1)")]
    assert places == sorted(places)


def test_alike_ways_are_drawn_once() -> None:
    other_port = replace(PASSED.journeys[0], crafted=True, token=9)
    page = read(replace(REPORT, flows=(replace(PASSED, journeys=(PASSED.journeys[0], other_port)),)))
    assert len(page.of("figure")) == 1
    assert "(socket, crafted packet)" in page.all_text


def test_pictures_beyond_the_most_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_html, "MOST_PICTURES", 2)
    page = read(replace(REPORT, flows=(PASSED, PASSED, FAILED)))
    assert len(page.of("figure")) == 2
    assert "Journeys of 2 flows are not all drawn: a page has 2 pictures at most" in page.all_text
    assert "Ways of its packets that are not drawn here: 2." in page.all_text


def test_the_policy_allows_this_script_and_style_alone() -> None:
    page = read(REPORT)
    [policy] = [a["content"] for a in page.of("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    wanted = {
        name: "'sha256-" + base64.b64encode(hashlib.sha256(page.raw[name].encode()).digest()).decode() + "'"
        for name in ("script", "style")
    }
    assert policy.split("; ") == [
        "default-src 'none'",
        f"style-src {wanted['style']}",
        f"script-src {wanted['script']}",
        "base-uri 'none'",
        "form-action 'none'",
    ]


def hostile_report(text: str) -> Report:
    """Returns a report that has ``text`` wherever a manifest's or the machine's text may stand."""
    failed = replace(
        FAILED,
        flow=replace(
            flow(text, via=text, check=text, step=text, place=SourcePlace(text, 3)),
            client=replace(FAILED.flow.client, label=text),
            to=replace(FAILED.flow.to, label=text),
        ),
    )
    nodes = tuple(replace(row, name=text, roles=(text,), addresses=(text,)) for row in REPORT.cluster)
    return replace(
        REPORT,
        topology=text,
        machine={**REPORT.machine, "kernel": text},
        cluster=nodes,
        services=tuple(replace(row, name=text, address=text, external=(text,)) for row in REPORT.services),
        flows=(PASSED, failed),
        notices=(EvidenceMissing(text),),
        requirements=tuple(
            replace(r, breach=Disguised(text, Address(CLIENT), Address(CLIENT))) for r in REPORT.requirements
        ),
    )


@settings(max_examples=25)
@given(texts)
def test_no_text_becomes_markup(text: str) -> None:
    path = text.encode(errors="replace").decode(errors="surrogateescape")  # as arguments are decoded
    page, plain = read(hostile_report(text), path), read(hostile_report("plain"), "plain")
    assert page.shape == plain.shape
    assert page.raw == plain.raw
    for attributes in page.of("a"):
        assert re.match(r"#|\./", attributes["href"] or "")
        assert re.fullmatch(r"[#A-Za-z0-9._~/%-]+", attributes["href"] or "")
    assert " ".join(f"podwire: {printable(text)}".split()) in page.all_text
    links = [a["href"] or "" for a in page.of("a")]
    assert any(unquote(link, errors="surrogateescape").startswith("./") for link in links)


DIFFERENT = compare_modes(
    "three-networks",
    {
        "iptables": REPORT,
        "nftables": replace(REPORT, flows=(replace(FAILED, flow=PASSED.flow), FAILED)),
    },
)


def test_a_comparison_has_every_mode_side_by_side() -> None:
    page = Reader(comparison_to_html(DIFFERENT, PODS, {}))
    text = page.all_text
    for said in (
        "podwire diff: three-networks, iptables → nftables",
        "What differs UNEXPLAINED UNEXPLAINED, which is a bug: delivered → dropped",
        "This run left no captures.",
        "iptables: outcome delivered delivered ×17",
        "nftables: outcome delivered dropped ×2 differs",
        "UNEXPLAINED (1)",
        "SAME (1)",
    ):
        assert said in text
    flows = [(a["id"], a["data-verdict"]) for a in page.of("details") if a.get("class") == "flow"]
    assert flows == [("flow-1", "unexplained"), ("flow-2", "same")]
    assert {"href": "#flow-1"} in page.of("a")
    assert all((a["href"] or "").startswith("#") for a in page.of("a"))


def test_a_comparison_links_to_the_captures_of_each_mode() -> None:
    captured = {
        mode: replace(report, flows=tuple(replace(r, captures=("01-a.pcapng",)) for r in report.flows))
        for mode, report in DIFFERENT.reports.items()
    }
    captures = {"iptables": "captures/a b-iptables", "nftables": "captures/nftables"}
    page = Reader(comparison_to_html(compare_modes("three-networks", captured), PODS, captures))
    assert "nftables: all.pcapng hold every frame" in page.all_text
    assert {(a["href"] or "") for a in page.of("a")} > {
        f"./captures/{directory}/{name}"
        for directory in ("a%20b-iptables", "nftables")
        for name in ("01-a.pcapng", "all.pcapng")
    }


def test_the_same_report_gives_the_same_page() -> None:
    assert to_html(REPORT, PODS, None) == to_html(REPORT, PODS, None)
