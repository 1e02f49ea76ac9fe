"""Chooses the containers whose real command runs, as the annotation ``podwire.dev/run`` asks.

They run only if the user allows it: a manifest may come from anywhere. Invariant: unless commands are
``allowed``, the annotation changes nothing but the notices.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ..errors import worded
from ..load.faults import did_you_mean
from ..objects.kinds import Container, Pod
from ..objects.notices import MoreRealCommands, RealCommand
from .findings import Draft, Findings
from .placement import serving_containers

RUN_ANNOTATION = "podwire.dev/run"
_MOST_SHOWN = 10  # commands that are shown one by one


def real_commands(
    drafts: Iterable[Draft[Pod]], findings: Findings, *, allowed: bool
) -> dict[str, tuple[str, ...]]:
    """Returns, by Pod key, the containers that run their real ``command``, as the annotation asks ("*" or
    names with commas); none unless ``allowed``. A notice names each command that runs, or that would.
    """
    result = {}
    shown: dict[tuple[str, tuple[str, ...]], list[RealCommand]] = {}
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
            place, one = draft.origin.place(path), containers[name]
            told = RealCommand(place, name, draft.object.key, (*one.command, *one.args), 0, allowed)
            shown.setdefault((place, told.command), []).append(told)
    _tell(list(shown.values()), allowed, findings)
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


def _tell(shown: Sequence[Sequence[RealCommand]], allowed: bool, findings: Findings) -> None:
    for first, *alike in shown[:_MOST_SHOWN]:
        findings.notice(replace(first, more=len(alike)))
    if len(shown) > _MOST_SHOWN:
        findings.notice(MoreRealCommands(len(shown) - _MOST_SHOWN, allowed))
