"""Plans the pcapng files of a run, and the comments on their frames.

Pure. Invariant: a file name here is [a-z0-9-] with one ".pcapng" behind it, begins with no dash, and is
unique: whatever the name of a flow in a manifest, its evidence stays inside the captures directory.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from ..model.frames import Captured
from ..model.notices import EvidenceMissing
from ..model.results import FlowResult, Report
from ..net import Address
from ..verdicts.compare import (
    answers,
    dialled,
    sources_sent,
)
from .describe import name_proxy
from .pcapng import encode_pcapng, stream_pcapng
from .prose_of_verdicts import say_verdict

ALL_FRAMES = "all.pcapng"
MOST_FILES = 1000
_LONGEST_SLUG = 80
# EtherType; then hardware and protocol: Ethernet and IPv4, with their addresses' lengths
_ARP = bytes.fromhex("0806 0001 0800 06 04")
_ARP_REQUEST = 1


def slug(text: str) -> str:
    """Returns ``text`` as a file name: [a-z0-9-], 1 to 80 characters, a dash neither first nor last."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:_LONGEST_SLUG].rstrip("-") or "flow"


def plan_captures(
    report: Report, frames: Sequence[Captured], names: Mapping[str, str], macs: Mapping[str, str]
) -> tuple[Report, Iterator[tuple[str, Iterable[bytes]]]]:
    """Returns ``report`` with every flow's ``captures`` filled in, and the files themselves: (name, content
    in pieces), encoded as they are taken.

    ``frames`` is the whole capture (an index in it is a ``Frame.number``), ``names`` maps an address to its
    name in Wireshark, ``macs`` a MAC to its node. Inside a file the frames stand in the order of their
    stamps. If there are more than MOST_FILES flows, those that passed are in ``all.pcapng`` only.
    """
    digits = max(2, len(str(len(report.flows))))
    files = [
        f"{number:0{digits}}-{slug(result.flow.name)}.pcapng" for number, result in enumerate(report.flows, 1)
    ]
    if len(files) > MOST_FILES:
        files = [
            ALL_FRAMES if result.verdict == "pass" else file
            for result, file in zip(report.flows, files, strict=True)
        ]
    flows = tuple(replace(result, captures=(file,)) for result, file in zip(report.flows, files, strict=True))
    return replace(report, flows=flows), _encode_all(report, files, frames, names, macs)


def keep_written(report: Report, written: Collection[str], missing: str) -> Report:
    """Returns ``report`` with only the captures that were ``written``, and a notice of what is ``missing``
    and why ("": nothing).
    """
    if not missing:
        return report
    flows = tuple(
        replace(result, captures=tuple(name for name in result.captures if name in written))
        for result in report.flows
    )
    return note_missing(replace(report, flows=flows), missing)


def note_missing(report: Report, missing: str) -> Report:
    """Returns ``report`` with a notice that evidence is ``missing``."""
    return replace(report, notices=(*report.notices, EvidenceMissing(missing)))


def announcement(data: bytes, names: Mapping[str, str], macs: Mapping[str, str]) -> str:
    """Returns ``worker-1 announces 172.18.255.200``, if ``data`` is an Ethernet frame in which a node says by
    ARP (RFC 826) that it has an address which is not its own: a reply, or gratuitous ARP (sender and target
    address are equal); else "".
    """
    if len(data) < 42 or data[12:20] != _ARP:
        return ""
    operation, sender, address, target = data[21], data[22:28].hex(":"), data[28:32], data[38:42]
    node, ip = macs.get(sender, ""), Address.of_packed(address)
    if not node or names.get(ip) == node or (operation == _ARP_REQUEST and address != target):
        return ""
    return f"{node} announces {ip}" + (" (gratuitous ARP)" if address == target else "")


def verdict_line(result: FlowResult) -> str:
    """Returns ``podwire: FAIL pod to ClusterIP: dialled …, source … → …: reason``: the comment on the last
    frame of a flow.
    """
    sent, seen = ", ".join(sources_sent(result)), ", ".join(result.observed.sources) or "none"
    line = (
        f"podwire: {result.verdict.upper()} {result.flow.name}: dialled {dialled(result.flow)}, source "
        f"{sent} → {seen}"
    )
    line += f", answered {answers(result)}" if result.observed.health else ""
    return f"{line}: {say_verdict(result)}" if result.finding else line


def _encode_all(
    report: Report,
    files: Sequence[str],
    frames: Sequence[Captured],
    names: Mapping[str, str],
    macs: Mapping[str, str],
) -> Iterator[tuple[str, Iterable[bytes]]]:
    stamps, comments = array("q"), dict[int, list[str]]()
    firsts: dict[tuple[str, str], tuple[int, int]] = {}  # tap → its first frame's stamp and number
    announcements: list[tuple[int, str]] = []
    for number, frame in enumerate(frames):
        stamps.append(frame.time)
        tap = (frame.netns, frame.interface)
        if tap not in firsts or frame.time < firsts[tap][0]:
            firsts[tap] = frame.time, number
        if text := announcement(frame.data, names, macs):
            announcements.append((number, text))
    of_flow = [sorted(result.frames, key=lambda number: (stamps[number], number)) for result in report.flows]
    for result, numbers in zip(report.flows, of_flow, strict=True):
        _comment(result, numbers, comments)
    for number, text in announcements:
        comments.setdefault(number, []).append(text)
    title = f"topology {report.topology}, proxy mode {name_proxy(report)}, seed {report.seed}"
    order = array("q", sorted(range(len(stamps)), key=stamps.__getitem__))
    taps = sorted(firsts, key=firsts.__getitem__)
    in_order = ((number, frames[number]) for number in order)
    yield (
        ALL_FRAMES,
        stream_pcapng(in_order, taps, names=names, comments=comments, section_comment=f"podwire: {title}"),
    )
    for result, file, numbers in zip(report.flows, files, of_flow, strict=True):
        if file == ALL_FRAMES:
            continue
        content = encode_pcapng(
            [frames[n] for n in numbers],
            names=_names_met(result, names),
            comments=comments,
            numbers=numbers,
            section_comment=f"{verdict_line(result)} ({title})",
        )
        yield file, [content]


def _comment(result: FlowResult, numbers: Sequence[int], comments: dict[int, list[str]]) -> None:
    """Adds the comments on the frames of one flow (``numbers``, in order of time) to ``comments``."""
    for journey in result.journeys:
        for change in journey.changes:
            texts = comments.setdefault(change.frame, [])
            if str(change) not in texts:
                texts.append(str(change))
    if numbers:
        comments.setdefault(numbers[-1], []).append(verdict_line(result))


def _names_met(result: FlowResult, names: Mapping[str, str]) -> Mapping[str, str]:
    """Returns the part of ``names`` that the flow's file needs: thousands of files need not carry thousands
    of names each.
    """
    met = {result.flow.client.ip, result.flow.to.ip}
    for journey in result.journeys:
        for hop in journey.there + journey.back:
            met |= {hop.src.address, hop.dst.address}
    return {ip: name for ip, name in names.items() if ip in met}
