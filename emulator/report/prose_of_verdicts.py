"""Writes endings of attempts, findings of the judge and differences as sentences. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..model.findings import Finding, FlowFault
from ..model.journeys import Ending, EndingKind, Hop, Journey
from ..model.results import FlowResult
from ..net import Endpoint
from ..verdicts.compare import Difference, answers
from .phrases import count
from .prose import say
from .prose_of_limits import say_reached

# by type/code (RFC 792, RFC 1122 3.2.2.1, RFC 1812 5.2.7.1)
ICMP_NAMES: Mapping[str, str] = {
    "3/0": "ICMP network unreachable",
    "3/1": "ICMP host unreachable",
    "3/2": "ICMP protocol unreachable",
    "3/3": "ICMP port unreachable",
    "3/5": "ICMP source route failed",
    "3/6": "ICMP destination network unknown",
    "3/7": "ICMP destination host unknown",
    "3/8": "ICMP source host isolated",
    "3/9": "ICMP network prohibited",
    "3/10": "ICMP host prohibited",
    "3/11": "ICMP network unreachable for this type of service",
    "3/12": "ICMP host unreachable for this type of service",
    "3/13": "ICMP communication prohibited",
    "11/0": "ICMP time exceeded",
}


# --- endings ----------------------------------------------------------------------------------------------


def say_ending(ending: Ending) -> str:
    """Returns how an attempt ended, as evidence; "" if it was answered."""
    return _ENDINGS[ending.kind](ending)


def _say_refusal(ending: Ending) -> str:
    names = {
        "icmp": ICMP_NAMES.get(ending.code, f"ICMP {ending.code}"),
        "rst": "RST",
        "abort": "ABORT",
        "closed": f"accepted, then closed without an answer: {ending.code}",
    }
    return f"{names[ending.kind]} from {ending.by}"


def _say_silence(ending: Ending) -> str:
    if ending.last is None:
        return f"silence: no packet left {ending.place}"
    return f"silence: last seen at {_place(ending.last)}"


def _say_lost_reply(ending: Ending) -> str:
    what = f"the {say_ending(ending.after)}" if ending.after else "the reply"
    return f"silence: {what} was last seen at {_place(ending.last)}"


def _say_silent_server(ending: Ending) -> str:
    full = ": its accept queue was full" if ending.full else ""
    why = f"no answer to what came in at {_place(ending.last)}{full}"
    return f"the server in Pod {_pods(ending)} did not accept ({why})"


def _say_refusing_server(ending: Ending) -> str:
    refusal = say_ending(ending.after) if ending.after else ""
    return f"the server in Pod {_pods(ending)} refused it ({refusal}: nothing listens at {ending.endpoint})"


def _say_silent_proxy(ending: Ending) -> str:
    return (
        f"a proxy accepted it ({_place(ending.last)}), and no request came in at Pod {_pods(ending)}, "
        "whose server may have refused it or closed at once"
    )


_ENDINGS: Mapping[EndingKind, Callable[[Ending], str]] = {
    "answered": lambda _: "",
    "arrived": lambda ending: f"came in at {_place(ending.last)}",
    "icmp": _say_refusal,
    "rst": _say_refusal,
    "abort": _say_refusal,
    "closed": _say_refusal,
    "no route": lambda ending: f"no route: {ending.code} at the client",
    "filtered": lambda _: "EPERM: the client's own rules let nothing out",
    "silence": _say_silence,
    "reply lost": _say_lost_reply,
    "late refusal": lambda ending: "silence, and then " + (say_ending(ending.after) if ending.after else ""),
    "server refused": _say_refusing_server,
    "server silent": _say_silent_server,
    "proxy silent": _say_silent_proxy,
}


def _pods(ending: Ending) -> str:
    return " or ".join(ending.pods)


# --- findings ---------------------------------------------------------------------------------------------


def say_verdict(result: FlowResult) -> str:
    """Returns why the verdict on ``result`` is not "pass" ("" if it is)."""
    return say_finding(result.finding) if result.finding else ""


def say_finding(finding: Finding) -> str:
    """Returns ``finding`` as a sentence."""
    text = _FINDINGS[finding.fault](finding)
    if finding.lost_frames:
        lost = f"the capture lost {count(finding.lost_frames, 'frame')}"
        join = _AFTER_LOSS.get(finding.fault, ", and for want of them perhaps ")
        text = f"{lost}{join}{text}"
    if finding.limits:
        join = ": so " if finding.fault is FlowFault.SILENCE else ": for that perhaps "
        text = f"{'; '.join(map(say_reached, finding.limits))}{join}{text}"
    return text


_AFTER_LOSS: Mapping[FlowFault, str] = {FlowFault.SILENCE: ", so ", FlowFault.UNFOLLOWED: ", and "}


def _say_unpromised(finding: Finding) -> str:
    return say(finding.because) if finding.because else ""


def _say_unobserved(finding: Finding) -> str:
    met = f": the client met {', '.join(finding.seen)}" if finding.seen else ""
    return f"no attempt was observed{met}"


def _say_outcome(finding: Finding) -> str:
    journey = _journey(finding)
    whose = "it was"
    if finding.count != finding.total:
        verb = "was" if finding.count == 1 else "were"
        whose = f"{finding.count} of {count(finding.total, 'attempt')} {verb}"
    return f"{whose} {journey.outcome}, not {finding.expected}: {_how_it_ended(journey)}"


def _say_backend(finding: Finding) -> str:
    journey = _journey(finding)
    where = journey.last_change("DNAT") or _seen_at(journey.there)
    return f"{journey.backend} answered, which is none of its endpoints: {where}"


def _say_source(finding: Finding) -> str:
    journey = _journey(finding)
    change = journey.last_change("SNAT")
    how = f"{change}, " if change else ""
    return (
        f"{journey.backend or 'the endpoint'} saw {journey.source_seen}, not {' or '.join(finding.rules)} "
        f"({', '.join(finding.allowed)}): {how}{_seen_at(journey.there)}"
    )


def _say_reply(finding: Finding) -> str:
    journey = _journey(finding)
    heard = f"the client dialled {journey.sent.dst} and heard from {journey.reply_from}"
    return f"{heard}: {_seen_at(journey.back)}"


def _say_combination(finding: Finding) -> str:
    journey = _journey(finding)
    seen = f"{journey.backend or 'the endpoint'} saw {journey.source_seen or 'no address'}"
    heard = f"the client heard from {journey.reply_from or 'no address'}"
    return (
        f"{journey.outcome}: {seen} and {heard}, which no possibility has together: {_seen_at(journey.there)}"
    )


def _say_server(finding: Finding) -> str:
    """Returns the facts that the server's own answer contradicts."""
    journey, answer = _journey(finding), finding.attempt.answer if finding.attempt else None
    if answer is None:
        return ""
    saw = answer.client.address
    texts = {
        FlowFault.SERVER_SAW: f"{answer.pod} says that it saw {saw}, the frames say {journey.source_seen}",
        FlowFault.SERVER_REACHED: f"{answer.pod} says that it was reached at {answer.local}, the frames say "
        f"{journey.backend}",
        FlowFault.NOT_RELAYED: f"{answer.dialled} was translated to {answer.local} for {answer.pod}, and not "
        "relayed",
        FlowFault.SERVER_NAME: f"{journey.backend} says that it is {''.join(finding.seen)}, "
        f"and then that it is {answer.pod}",
    }
    return f"{texts[finding.fault]}: {_seen_at(journey.there)}"


def _say_client_error(finding: Finding) -> str:
    error = finding.attempt.error if finding.attempt else ""
    back = _seen_at(_journey(finding).back)
    return f"the answer came in, and yet the client's socket met {error}: {back}"


def _say_health(finding: Finding) -> str:
    journey, health = _journey(finding), finding.attempt.health if finding.attempt else None
    said = f"answered {health}" if health else "gave no HTTP answer"
    wanted = "".join(finding.allowed)
    return f"{journey.backend or 'it'} {said}, not {wanted}: {_seen_at(journey.back)}"


def _say_unserved(finding: Finding) -> str:
    some = f" ({finding.count} of {count(finding.total, 'attempt')})"
    return say_ending(_journey(finding).ending) + (some if finding.count != finding.total else "")


def _say_untraced(finding: Finding) -> str:
    attempt = finding.attempt
    if attempt is None:
        return ""
    met = f"met {attempt.error}" if attempt.error else "was answered"
    ends = f"{Endpoint.of(*attempt.src)} → {Endpoint.of(*attempt.dst)}"
    return f"a client {met}, and the frames of that attempt ({ends}) cannot be told from others"


def _say_unmet(finding: Finding) -> str:
    missing = [" and ".join(sorted(map(str, group))) for group in finding.unmet]
    text = f"{', '.join(missing)} never answered in {count(finding.total, 'attempt')}"
    if finding.fault is FlowFault.UNMET_HIDDEN:
        ended = "one attempt" if finding.count == 1 else count(finding.count, "attempt")
        where = _seen_at(_journey(finding).there)
        return f"{text} as far as frames show: {ended} ended behind the last tap, {where}"
    if finding.fault is FlowFault.UNMET_UNTRACED:
        return f"{text} that could be followed; {count(finding.count, 'attempt')} could not"
    return text


def _say_unfollowed(finding: Finding) -> str:
    return f"{count(finding.count, 'attempt')} could not be followed"


def _say_control(finding: Finding) -> str:
    return f"its control “{finding.control}” failed, so this says nothing of the Service"


_FINDINGS: Mapping[FlowFault, Callable[[Finding], str]] = {
    FlowFault.UNPROMISED: _say_unpromised,
    FlowFault.UNOBSERVED: _say_unobserved,
    FlowFault.CONTROL: _say_control,
    FlowFault.OUTCOME: _say_outcome,
    FlowFault.BACKEND: _say_backend,
    FlowFault.SOURCE: _say_source,
    FlowFault.REPLY: _say_reply,
    FlowFault.COMBINATION: _say_combination,
    FlowFault.SERVER_SAW: _say_server,
    FlowFault.SERVER_REACHED: _say_server,
    FlowFault.NOT_RELAYED: _say_server,
    FlowFault.SERVER_NAME: _say_server,
    FlowFault.CLIENT_ERROR: _say_client_error,
    FlowFault.HEALTH: _say_health,
    FlowFault.SERVER: _say_unserved,
    FlowFault.UNTRACED: _say_untraced,
    FlowFault.UNMET: _say_unmet,
    FlowFault.UNMET_HIDDEN: _say_unmet,
    FlowFault.UNMET_UNTRACED: _say_unmet,
    FlowFault.SILENCE: lambda _: "silence proves nothing",
    FlowFault.UNFOLLOWED: _say_unfollowed,
}


# --- differences ------------------------------------------------------------------------------------------


def say_difference(result: FlowResult, journey: Journey, difference: Difference, said: str = "") -> str:
    """Returns the hop where ``journey`` ended, or the rewrite that made it differ from the expectation. How
    it ended follows the hop, unless ``said`` has it already.
    """
    if difference.what == "reply":
        return f"the reply came as {journey.back[-1]}"
    if difference.what == "answer":
        return f"the answer ({answers(result)}) came as {journey.back[-1]}"
    if difference.change:
        return str(difference.change)
    ending = say_ending(journey.ending)
    text = f"ended {say_end(result, journey)}" if journey.there or journey.back else say_end(result, journey)
    return f"{text} ({ending})" if ending and ending not in said else text


def say_end(result: FlowResult, journey: Journey) -> str:
    """Returns the last hop of ``journey``, after the word "ended", or that there is none."""
    hops = journey.there + journey.back
    return f"at {hops[-1]}" if hops else f"no packet left {result.flow.client.netns}"


# --- words ------------------------------------------------------------------------------------------------


def _journey(finding: Finding) -> Journey:
    if finding.journey is None:
        raise ValueError(f"a finding of {finding.fault.value} has no journey")
    return finding.journey


def _how_it_ended(journey: Journey) -> str:
    if journey.outcome == "delivered":
        return f"{journey.backend or 'an endpoint'} answered, {_seen_at(journey.there or journey.back)}"
    ending = say_ending(journey.ending)
    refused = journey.outcome != "dropped" and journey.back
    return f"{ending}, first seen at {_place(journey.back[0])}" if refused else ending


def _seen_at(hops: Sequence[Hop]) -> str:
    return f"at {hops[-1]}" if hops else "at no hop that was seen"


def _place(hop: Hop | None) -> str:
    return f"{hop.netns}/{hop.interface} {hop.direction}" if hop else "no hop"
