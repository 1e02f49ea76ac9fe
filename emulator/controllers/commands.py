"""Chooses the containers whose real command runs, as the annotation ``podwire.dev/run`` asks.

They run only if the user allows it: a manifest may come from anywhere. Invariant: unless commands are
``allowed``, the annotation changes nothing but the notices.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping

from ..errors import printable, worded
from ..load.faults import did_you_mean
from ..objects.kinds import Container, Pod
from .findings import Draft, Findings
from .placement import serving_containers

RUN_ANNOTATION = "podwire.dev/run"
_MOST_SHOWN = 10  # commands that are shown one by one
_MOST_LETTERS = 160  # in a command that is shown


def real_commands(
    drafts: Iterable[Draft[Pod]], findings: Findings, *, allowed: bool
) -> dict[str, tuple[str, ...]]:
    """Returns, by Pod key, the containers that run their real ``command``, as the annotation asks ("*" or
    names with commas); none unless ``allowed``. A notice names each command that runs, or that would.
    """
    result = {}
    shown: dict[tuple[str, str], list[str]] = {}
    for draft in drafts:
        names = _wanted(draft.object)
        path = f'{draft.base}metadata.annotations["{RUN_ANNOTATION}"]'
        containers = {c.name: c for c in serving_containers(draft.object.spec)}
        sound = tuple(name for name in names if name in containers and containers[name].command)
        if allowed:
            for name in (name for name in names if name not in sound):
                _refuse(name, containers, draft, path, findings)
            if names:
                result[draft.object.key] = names
        for name in sound:
            key = (draft.origin.place(path), _shown(containers[name]))
            shown.setdefault(key, []).append(f"container {name} of Pod {draft.object.key}")
    _tell(shown, allowed, findings)
    return result


def _wanted(pod: Pod) -> tuple[str, ...]:
    wish = pod.metadata.annotations.get(RUN_ANNOTATION, "")
    if wish.strip() == "*":
        return tuple(c.name for c in serving_containers(pod.spec))
    return tuple(dict.fromkeys(name.strip() for name in wish.split(",") if name.strip()))


def _refuse(
    name: str, containers: Mapping[str, Container], draft: Draft[Pod], path: str, findings: Findings
) -> None:
    if name not in containers:
        hint = did_you_mean(name, containers) or f"containers: {', '.join(containers)}"
        findings.problem(draft.origin, path, worded("there is no container {}", name), hint)
    else:
        findings.problem(
            draft.origin,
            path,
            worded("container {} has no command to run", name),
            "images are not pulled: give it a command",
        )


def _shown(container: Container) -> str:
    """Returns the command as a line that a terminal can show: no control characters, and not too long."""
    line = printable(shlex.join((*container.command, *container.args)))
    return line if len(line) <= _MOST_LETTERS else line[: _MOST_LETTERS - 1] + "…"


def _tell(shown: Mapping[tuple[str, str], list[str]], allowed: bool, findings: Findings) -> None:
    if not shown:
        return
    how = (
        "runs its command, as --run allows"
        if allowed
        else f"has its command in {RUN_ANNOTATION}, which runs only with --run"
    )
    for (place, command), owners in list(shown.items())[:_MOST_SHOWN]:
        more = f" (and {len(owners) - 1} more like it)" if len(owners) > 1 else ""
        findings.notice(printable(f"{place}: {owners[0]}{more} {how}: {command}"))
    if len(shown) > _MOST_SHOWN:
        findings.notice(
            f"{len(shown) - _MOST_SHOWN} more commands {'run' if allowed else 'would run with --run'}"
        )
