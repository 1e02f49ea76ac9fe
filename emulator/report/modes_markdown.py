"""Writes a comparison of modes as one Markdown table: the source address that arrived, by destination and
client (docs/services.md is made from it). Pure.

Every cell states what packets showed, in words that mean the same in every mode. A flow whose packets broke
the promise of its mode is marked in its cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from ..errors import printable
from ..verdicts.compare import answers
from ..verdicts.modes import DIALLED, ComparedFlow, Comparison

_WORDS = {"preserved": "the client's own", "node": "a node's"}
_FEW = 2  # clients that are named even if the result is the same for all


def render_markdown(comparison: Comparison) -> str:
    """Returns one row for each destination and all clients with the same result in every mode; controls,
    which no mode touches, are left out.
    """
    head = ("dialled", "by", *comparison.modes)
    lines = [_line(head), _line(["---"] * len(head))]
    lines += [_line(row) for row in _rows(comparison)]
    return "\n".join(lines) + "\n"


def _rows(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    flows = [compared for compared in comparison.flows if not compared.flow.control]
    for dialled, group in groupby(flows, key=_dialled):
        clients: dict[tuple[str, ...], list[str]] = {}
        for compared in group:
            clients.setdefault(tuple(_cell(compared, mode) for mode in comparison.modes), []).append(
                _client(compared)
            )
        for number, (cells, names) in enumerate(clients.items()):
            who = "everybody" if len(clients) == 1 and len(names) > _FEW else "; ".join(names)
            yield "" if number else dialled, who, *cells


def _dialled(compared: ComparedFlow) -> str:
    """Returns the name of the destination: a FlowCheck tests one destination; without one it is the flow's
    own.
    """
    return compared.flow.check or compared.flow.to.label


def _client(compared: ComparedFlow) -> str:
    flow = compared.flow
    if not flow.check:
        return flow.client.label
    return flow.name if flow.step else flow.title


def _cell(compared: ComparedFlow, mode: str) -> str:
    result = compared.results[mode]
    said = [
        _delivered(compared, mode) if outcome == "delivered" else outcome
        for outcome in sorted(result.observed.outcomes)
    ]
    return ", ".join(said or ["nothing observed"]) + (
        f" ({result.verdict})" if result.verdict != "pass" else ""
    )


def _delivered(compared: ComparedFlow, mode: str) -> str:
    if compared.results[mode].observed.health:
        return answers(compared.results[mode])
    sources = [_WORDS.get(source, source) for source in compared.sources(mode)]
    asymmetric = (
        " (the answer comes from the endpoint itself)" if set(compared.reply(mode)) - {DIALLED} else ""
    )
    return (" or ".join(sources) or "delivered") + asymmetric


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(printable(cell).replace("|", "\\|") for cell in cells) + " |"
