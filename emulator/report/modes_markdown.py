"""Writes a comparison of modes as Markdown: a report for a pull request, and the table that
docs/services.md is made from. Pure.

Every cell states what packets showed, in words that mean the same in every mode. A flow whose packets broke
the promise of its mode is marked in its cell. Invariant: a report has at most :data:`MOST_BYTES` bytes (a
comment on GitHub may have 65,536 characters), and no text of a manifest is markup in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice

from ..verdicts.compare import answers
from ..verdicts.modes import DIALLED, ComparedFlow, Comparison
from .advice import not_examined
from .github import list_warnings
from .markdown import escape
from .modes_text import MOST_CAUSES, facts, group_causes, headline
from .phrases import count
from .prose_of_notices import say_notice

MOST_BYTES = 60_000
_WORDS = {"preserved": "the client's own", "node": "a node's"}
_FEW = 2  # clients that are named even if the result is the same for all
_MOST_CLIENTS = 8  # clients of one row that are named
_MOST_NOTICES = 20
_LEFT_OUT = 300  # bytes kept for the sentence about rows that have no room


def render_markdown(comparison: Comparison) -> str:
    """Returns the report: the result, what changes by cause, the packets that show it, and folded away the
    flows that are the same.
    """
    parts = [
        f"## podwire diff: {escape(comparison.topology)}, {' → '.join(comparison.modes)}",
        escape(headline(comparison)),
        "\n".join(f"- {line}" for line in islice(list_warnings(comparison.warnings), _MOST_NOTICES)),
        *_causes(comparison),
        f"Not examined: {not_examined(comparison.modes)}",
        "\n".join(f"- note: {escape(say_notice(notice))}" for notice in comparison.notices[:_MOST_NOTICES]),
    ]
    text = "\n\n".join(filter(None, parts)) + "\n"
    flows = [compared for compared in comparison.flows if not compared.flow.control]
    room = MOST_BYTES - _size(text) - _LEFT_OUT
    changed, room, left = _fitting(comparison, (f for f in flows if f.status != "same"), room)
    same, room, also_left = _fitting(comparison, (f for f in flows if f.status == "same"), room)
    if changed:
        text += "\n### The packets\n\n" + changed
    if same:
        number = count(sum(compared.status == "same" for compared in flows), "flow")
        text += f"\n<details><summary>The same in every mode: {number}</summary>\n\n{same}\n</details>\n"
    if left or also_left:
        text += (
            f"\n{left + also_left} rows have no room here ({left} of them of flows that differ): "
            "`podwire diff -o json` or `--json FILE` has every flow.\n"
        )
    return text


def render_table(comparison: Comparison) -> str:
    """Returns one row for each destination and all clients with the same result in every mode; controls,
    which no mode touches, are left out.
    """
    flows = [compared for compared in comparison.flows if not compared.flow.control]
    return _head(comparison) + "".join(_rows(comparison, flows, most=None))


def _size(text: str) -> int:
    return len(text.encode())


def _causes(comparison: Comparison) -> Iterator[str]:
    groups = group_causes(comparison)
    for number, group in enumerate(groups[:MOST_CAUSES], 1):
        size = count(len(group.services), "Service") if group.services else count(len(group.flows), "flow")
        title = f"### {number}. {escape(f'{group.title}: {group.changes}')} ({size})"
        told = [f"- **{key}** {escape(text)}" for key, text in facts(group, comparison)]
        yield "\n".join([title, "", *told])
    if len(groups) > MOST_CAUSES:
        yield f"{len(groups) - MOST_CAUSES} more causes: `podwire diff -o json` has every flow."


def _fitting(comparison: Comparison, flows: Iterable[ComparedFlow], room: int) -> tuple[str, int, int]:
    """Returns a table of ``flows`` as far as ``room`` bytes allow, the room that is left, and how many rows
    had none.
    """
    rows = list(_rows(comparison, list(flows), most=_MOST_CLIENTS))
    head = _head(comparison)
    shown, used = 0, _size(head)
    for row in rows:
        if used + _size(row) > room:
            break
        shown, used = shown + 1, used + _size(row)
    if not shown:
        return "", room, len(rows)
    return head + "".join(rows[:shown]), room - used, len(rows) - shown


def _head(comparison: Comparison) -> str:
    head = ("dialled", "by", *comparison.modes)
    return _line(head) + _line(["---"] * len(head))


def _rows(comparison: Comparison, flows: Sequence[ComparedFlow], most: int | None) -> Iterator[str]:
    for dialled, group in groupby(flows, key=_dialled):
        clients: dict[tuple[str, ...], list[str]] = {}
        for compared in group:
            clients.setdefault(tuple(_cell(compared, mode) for mode in comparison.modes), []).append(
                _client(compared)
            )
        for number, (cells, names) in enumerate(clients.items()):
            who = "everybody" if len(clients) == 1 and len(names) > _FEW else _named(names, most)
            yield _line(["" if number else dialled, who, *cells])


def _named(names: Sequence[str], most: int | None) -> str:
    if most is None or len(names) <= most:
        return "; ".join(names)
    return f"{'; '.join(names[:most])} (+{len(names) - most} more)"


def _dialled(compared: ComparedFlow) -> str:
    """Returns the name of the destination: a FlowCheck tests one destination; without one it is the flow's
    own, with the Service that it is of.
    """
    flow = compared.flow
    if flow.check:
        return flow.check
    service = flow.to.service
    return flow.to.label if not service or service in flow.to.label else f"{flow.to.label} (svc {service})"


def _client(compared: ComparedFlow) -> str:
    flow = compared.flow
    if flow.check:
        return flow.name if flow.step else flow.title
    return f"{flow.client.label} via {flow.via}" if flow.via else flow.client.label


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
    return "| " + " | ".join(map(escape, cells)) + " |\n"
