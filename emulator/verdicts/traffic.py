"""Judges the traffic of a step: the requests that were sent steadily while a roll-out went on. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..controllers.rollout import Progress
from ..model.flows import Attempt, Flow
from ..model.journeys import Journey
from ..model.requirements import Lost, LostRequest, Sentence, Stuck
from ..model.results import Requirement
from ..model.timeline import ClusterEvent, ending_of

_MOST_EVENTS = 6


class PodPlaces(NamedTuple):
    """Holds the Pods of a step: ``names`` maps an address to ``namespace/name``, ``nodes`` that to a node."""

    names: Mapping[str, str]
    nodes: Mapping[str, str]


def judge_traffic(
    flow: Flow,
    attempts: Sequence[Attempt],
    journeys: Mapping[int, Journey],
    events: Sequence[ClusterEvent],
    places: PodPlaces,
    most: int,
) -> Requirement:
    """Returns whether no more than ``most`` requests of ``flow`` were lost, and the first that was, if any.

    ``journeys`` are by the place in ``attempts``, which are those of every flow; ``events`` and ``places``
    are those of the step.
    """
    own = [(index, one) for index, one in enumerate(attempts) if one.flow == flow.name]
    lost = sorted(((index, one) for index, one in own if one.error), key=lambda row: row[1].started)
    about, checked = flow.name, len(own)
    if not own:
        return Requirement(sentence=Sentence.TRAFFIC, verdict="unknown", checked=0, about=about, most=most)
    breach = None
    if lost:
        index, one = lost[0]
        breach = Lost(checked, len(lost), most, explain(flow, one, journeys.get(index), events, places))
    return Requirement(
        sentence=Sentence.TRAFFIC,
        verdict="pass" if len(lost) <= most else "fail",
        checked=checked,
        breach=breach,
        about=about,
        most=most,
    )


def explain(
    flow: Flow,
    lost: Attempt,
    journey: Journey | None,
    events: Sequence[ClusterEvent],
    places: PodPlaces,
) -> LostRequest:
    """Returns a lost request with the endpoint that it was led to, and what happened to that; if no frame
    shows an endpoint, to the Pods of the node where it was seen last, or else to the Service.
    """
    change = journey.last_change("DNAT") if journey else None
    end = (change.led_to if change else lost.dst).address
    endpoint = places.names.get(str(end), "")
    last = journey.there[-1] if journey and journey.there else None
    node = last.netns if last else ""
    told = [one for one in events if one.kind == "Pod" and one.name == endpoint]
    if not told:
        told = [one for one in events if one.kind == "Pod" and places.nodes.get(one.name, "?") == node]
    if not told:
        told = [one for one in events if one.kind == "Service" and one.name == flow.to.service]
    near = sorted(told, key=lambda one: abs(one.at - lost.started))[:_MOST_EVENTS]
    synced = [one for one in events if one.kind == "kube-proxy" and one.at >= lost.started]
    near += synced[:1]
    return LostRequest(
        at=lost.started,
        src=lost.src,
        dst=lost.dst,
        how=ending_of(lost),
        last=last,
        endpoint=endpoint,
        events=tuple(sorted(near, key=lambda one: one.at)),
    )


def judge_rollout(name: str, progress: Progress) -> Requirement:
    """Returns whether the roll-out of the Deployment ``name`` has ended."""
    breach = None if progress.done else Stuck(progress.text)
    return Requirement(
        sentence=Sentence.ROLLED_OUT,
        verdict="pass" if progress.done else "fail",
        checked=1,
        breach=breach,
        about=name,
    )
