"""Writes tables for people: the nodes and Services of a cluster, and what was expected of a flow beside what
was observed.

Pure: the result depends on the arguments alone. Invariant: no text of a manifest reaches the terminal with a
control character in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import printable
from ..model.journeys import Journey
from ..model.results import FlowResult, NodeRow, ServiceRow, StepRows
from ..verdicts.compare import backend_name, dialled, few, side_by_side, telling_journey, where_it_differs
from .layout import table
from .prose import say
from .prose_of_verdicts import say_difference, say_ending, say_verdict
from .report_json import PENDING

_MOST_PODS = 12  # a node's Pods that are named, save in wide output
_MOST_PORTS = 6


def render_difference(result: FlowResult, pods: Mapping[str, str], width: int | None = None) -> str:
    """Returns why ``result`` is not "pass": the reason, expected beside observed, and the hop where its
    journey ended or differed.
    """
    rows = [
        (row.what, row.expected, row.observed, "" if row.same else "← differs")
        for row in side_by_side(result, pods)
    ]
    reason = say_verdict(result)
    via = f" via {result.flow.via}" if result.flow.via else ""
    journey = telling_journey(result)
    where = f"no journey was seen in {result.flow.client.netns}"
    if journey:
        difference = where_it_differs(result, journey)
        where = say_difference(result, journey, difference, reason) if difference else ""
    facts = [
        ("reason", reason),
        ("promised", say(result.expected.because)),
        (
            "dialled",
            f"{dialled(result.flow)} ({result.flow.to.label}) by {result.flow.client.label}{via}",
        ),
        ("where", where),
        ("evidence", ", ".join(result.captures)),
    ]
    return "\n".join(
        (
            table(None, [(what, printable(text)) for what, text in facts if text], width),
            table(("", "EXPECTED", "OBSERVED", ""), [tuple(map(printable, row)) for row in rows], width),
        )
    )


def render_journey(result: FlowResult, journey: Journey, pods: Mapping[str, str]) -> str:
    """Returns a line about one path of ``result``'s packets, then its hops there and (after an arrow)
    back.
    """
    by = "crafted packet" if journey.crafted else "socket"
    where = f" to {backend_name(journey.backend, pods)}" if journey.backend else ""
    ending = say_ending(journey.ending)
    evidence = f" ({ending})" if ending else ""
    title = f"{result.flow.name}: {by}, {journey.sent}, {journey.outcome}{where}{evidence}"
    hops = [*(f"    {hop}" for hop in journey.there), *(f"  ← {hop}" for hop in journey.back)]
    return "\n".join(map(printable, [title, *hops]))


# --- the cluster ------------------------------------------------------------------------------------------


def node_table(rows: Sequence[NodeRow], width: int | None, *, wide: bool = False) -> str:
    """Returns the nodes with their Pods, the first ones by name (``wide``: all)."""
    most = None if wide else _MOST_PODS
    cells = [
        (
            row.name,
            ", ".join(row.roles),
            ", ".join(row.addresses),
            row.podCIDR,
            _list([pod.name + (" (hostNetwork)" if pod.hostNetwork else "") for pod in row.pods], most),
        )
        for row in rows
    ]
    headers = ("NODE", "ROLE", "ADDRESS", "POD CIDR", "PODS")
    return table(headers, [tuple(map(printable, row)) for row in cells], width)


def service_table(rows: Sequence[ServiceRow], width: int | None, *, wide: bool = False) -> str:
    """Returns the Services; their external addresses only if some have any."""
    most = None if wide else _MOST_PORTS
    columns = {
        "SERVICE": [row.name for row in rows],
        "TYPE": [row.type for row in rows],
        "CLUSTER-IP": [row.address for row in rows],
        "EXTERNAL-IP": [PENDING if row.pending else ", ".join(row.external) for row in rows],
        "PORTS": [_list(list(map(str, row.ports)), most) for row in rows],
        "ENDPOINTS": [str(row.endpoints) for row in rows],
    }
    if not any(columns["EXTERNAL-IP"]):
        del columns["EXTERNAL-IP"]
    cells = zip(*columns.values(), strict=True)
    return table(tuple(columns), [tuple(map(printable, row)) for row in cells], width)


def step_tables(steps: Sequence[StepRows], width: int | None) -> str:
    """Returns for each step the rows that it made or changed, and the names of those that it removed."""
    blocks = []
    for step in steps:
        tables = (node_table(step.cluster, width), service_table(step.services, width))
        gone = f"gone: {', '.join(map(printable, step.gone))}" if step.gone else ""
        blocks.append("\n".join([f"After {printable(step.step)}:", *filter(None, (*tables, gone))]))
    return "\n\n".join(blocks)


def _list(items: Sequence[str], most: int | None) -> str:
    return ", ".join(items) if most is None else few(items, most)
