"""Plans the evidence bundle of a flow that is not as promised: its expectation, its packets' path, and the
state of every node on it.

Pure. Invariant: every name is ``failed/<flow>/<file>`` with [a-z0-9._-] only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from ..errors import printable
from ..model.results import FlowResult
from .captures import slug
from .report_json import dump_json, flow_to_dict
from .tables import render_difference, render_journey

FAILED = "failed"


def netns_on_path(result: FlowResult) -> tuple[str, ...]:
    """Returns the network namespaces that the flow met, in order: the client's, the nodes it should enter
    through, and those of every hop.
    """
    flow = result.flow
    expected = [netns for netns in (flow.client.netns, flow.client.node, flow.via) if netns]
    return tuple(
        dict.fromkeys(
            [*expected, *(hop.netns for journey in result.journeys for hop in journey.there + journey.back)]
        )
    )


def bundle_directory(result: FlowResult) -> str:
    """Returns the directory of the bundle, whose name is that of the flow's pcapng."""
    stem = PurePosixPath(result.captures[0]).stem if result.captures else slug(result.flow.name)
    return f"{FAILED}/{stem}"


def plan_bundle(
    result: FlowResult, state: Mapping[str, Mapping[str, str]], frames: Sequence[str], pods: Mapping[str, str]
) -> list[tuple[str, bytes]]:
    """Returns the bundle's files: (name, content).

    ``state`` maps a network namespace to its dumps by title (``rules``, ``routes``, ``addresses``,
    ``neighbours``, ``conntrack``), ``frames`` is a line of text per frame of the flow; the frames themselves
    are in the flow's own pcapng, which the journey names.
    """
    directory = bundle_directory(result)
    files = {
        "expectation.json": dump_json(flow_to_dict(result, pods)),
        "journey.txt": _journey_text(result, pods),
        "frames.txt": "".join(f"{printable(line)}\n" for line in frames),
    }
    for netns, dumps in state.items():
        for title, text in dumps.items():
            files[f"{dump_stem(netns)}.{_file_name(title)}.txt"] = (
                text if text.endswith("\n") else f"{text}\n"
            )
    return [(f"{directory}/{name}", text.encode(errors="backslashreplace")) for name, text in files.items()]


def _journey_text(result: FlowResult, pods: Mapping[str, str]) -> str:
    return (
        "\n\n".join(
            [
                f"{result.verdict.upper()} {printable(result.flow.name)}\n{render_difference(result, pods)}",
                *(render_journey(result, journey, pods) for journey in result.journeys),
                *(f"frames: ../../{name}" for name in result.captures),
            ]
        )
        + "\n"
    )


def dump_stem(netns: str) -> str:
    """Returns the beginning of the names of the files that hold the dumps of a network namespace."""
    return _file_name(netns)


def _file_name(text: str) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", text.lower()).lstrip("._-") or "unnamed"
