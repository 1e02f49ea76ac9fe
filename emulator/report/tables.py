"""Writes tables for people: the nodes and Services of a cluster, and what was expected of a flow beside what
was observed.

Pure: the result depends on the arguments alone. Invariant: no text of a manifest reaches the terminal with a
control character in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import printable
from ..model.journeys import Journey
from ..model.results import FlowResult, NodeRow, Report, ServiceRow
from ..verdicts.compare import backend_name, dialled, few, side_by_side, telling_journey, where_it_differs
from .layout import DIM, Screen, table, words
from .prose import say
from .prose_of_verdicts import say_difference, say_ending, say_verdict
from .report_json import PENDING

_MOST_PODS = 12  # a node's Pods that are named, save in wide output
_MOST_PORTS = 6
_EXTERNAL = "EXTERNAL-IP"


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
    return _table("NODE", {row.name: _node_cells(row, wide=wide) for row in rows}, width)


def service_table(rows: Sequence[ServiceRow], width: int | None, *, wide: bool = False) -> str:
    """Returns the Services; their external addresses only if some have any."""
    cells = {row.name: _service_cells(row, wide=wide) for row in rows}
    if not any(row[_EXTERNAL] for row in cells.values()):
        for row in cells.values():
            del row[_EXTERNAL]
    return _table("SERVICE", cells, width)


def _table(head: str, rows: Mapping[str, Mapping[str, str]], width: int | None) -> str:
    headers = next(iter(rows.values()), {})
    cells = [(printable(name), *map(printable, row.values())) for name, row in rows.items()]
    return table((head, *headers), cells, width)


def _node_cells(row: NodeRow, *, wide: bool) -> dict[str, str]:
    pods = [pod.name + (" (hostNetwork)" if pod.hostNetwork else "") for pod in row.pods]
    return {
        "ROLE": ", ".join(row.roles),
        "ADDRESS": ", ".join(row.addresses),
        "POD CIDR": row.podCIDR,
        "PODS": _list(pods, None if wide else _MOST_PODS),
    }


def _service_cells(row: ServiceRow, *, wide: bool) -> dict[str, str]:
    return {
        "TYPE": row.type,
        "CLUSTER-IP": row.address,
        _EXTERNAL: PENDING if row.pending else ", ".join(row.external),
        "PORTS": _list(list(map(str, row.ports)), None if wide else _MOST_PORTS),
        "ENDPOINTS": str(row.endpoints),
    }


def step_changes(report: Report, screen: Screen, *, wide: bool = False) -> str:
    """Returns for each step the nodes and Services that it made, changed or removed: of a changed one the
    columns that differ.
    """
    nodes = {row.name: _node_cells(row, wide=wide) for row in report.cluster}
    services = {row.name: _service_cells(row, wide=wide) for row in report.services}
    blocks = []
    for step in report.steps:
        lines = screen.say(f"After {step.step}:")
        changed = {row.name: (nodes, _node_cells(row, wide=wide)) for row in step.cluster}
        changed |= {row.name: (services, _service_cells(row, wide=wide)) for row in step.services}
        for name, (before, cells) in changed.items():
            old = before.get(name, {})
            facts = [
                [*words(header.lower(), DIM), *words(text or "none")]
                for header, text in cells.items()
                if text != old.get(header, "")
            ]
            lines += screen.pack([words(name), *facts], "  ", "    ")
            before[name] = cells
        lines += screen.say(f"gone: {', '.join(step.gone)}", "  ", "    ") if step.gone else []
        blocks.append("\n".join(lines))
        nodes, services = (
            {name: cells for name, cells in known.items() if name not in step.gone}
            for known in (nodes, services)
        )
    return "\n".join(blocks)


def _list(items: Sequence[str], most: int | None) -> str:
    return ", ".join(items) if most is None else few(items, most)
