"""Writes warnings as sentences, and folds those of one cause for people; no other module does it. Pure.

A row of :data:`_TEXTS` is a template; its names are the parts of the warning, and those of :func:`_words`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..controllers.topologyhints import OVERLOAD_THRESHOLD, ZONE_LABEL
from ..errors import printable, shorten
from ..load.faults import shown
from ..objects.families import BUILT, ONLY_BUILT, OTHERS
from ..objects.warnings import (
    IGNORE_ANNOTATION,
    Code,
    ManifestWarning,
    NoAddress,
    NoHints,
    OddValue,
    OddYaml,
    Part,
    UnusedSlice,
)
from .layout import Screen
from .phrases import list_some

FOLDED_FROM = 3  # as many warnings of one code become one for people
_MOST_PLACES = 3  # places of others that a folded warning names

_TEXTS: Mapping[Code, str] = {
    Code.SELECTS_NO_POD: (
        "{object} has no endpoints: no running Pod of its namespace has the labels {labels}{instead}"
    ),
    Code.NO_READY_ENDPOINT: "{object} has no ready endpoint: {lacks}",
    Code.NO_SUCH_PORT_NAME: (
        "{object}: targetPort {target} is the name of no {protocol} port of its Pods: port {port} has no "
        "endpoints{declares}"
    ),
    Code.UNDECLARED_PORT: (
        "{object} targets port {ports}, which no container of Pod {pod}{others} declares: served anyway by "
        "its first container"
    ),
    Code.POLICY: "{object} is not enforced: flows that it denies are shown as delivered",
    Code.POD_MAKER: "{object} {missing}",
    Code.TRAFFIC_RULE: "{object} is left out: no flow goes the way that it describes",
    Code.HOST_PORT: (
        "{object} wants hostPort {port}/{protocol}, which podwire does not emulate yet: nothing listens there"
    ),
    Code.SCHEDULING: "{object}{placed} without regard to {fields}",
    Code.RUNS_NOWHERE: "{whose}: {reason}",
    Code.NOTHING: "the input has no Pod that runs and no Service: there is nothing to check",
    Code.UNKNOWN_FIELD: "{object}: {field} is no field of Kubernetes {release} and is not read{hinted}",
    Code.YAML: "{odd_yaml}{more_lines}",
    Code.ODD_VALUE: "{object}: {field}: {odd}",
    Code.IPV6: "{ipv6}",
    Code.CONTESTED_ADDRESS: (
        "Services {first} and {name} both claim {claimed}: {first} has it here, being the first by name; no "
        "outcome is promised where it delivers nothing, since the other may"
    ),
    Code.NESTED_ENDPOINT: (
        "{object} has the endpoint {endpoint}, which is an address of Service {other}: nothing is promised "
        "of packets translated twice, so no flow to {name} is derived"
    ),
    Code.ADDRESS_ON_LINK: (
        "{object} has the external address {ip} in {where}: nothing is promised of it, so no flow to it is "
        "derived"
    ),
    Code.ENDPOINT_OUTSIDE: (
        "{object} has the {which} {listed} outside the cluster, where no server is declared: declare the "
        "machine under externalServers of the Cluster, with name, address and ports"
    ),
    Code.NO_LOAD_BALANCER_ADDRESS: "{object} {without}",
    Code.UNANNOUNCED_POOL: (
        "no L2Advertisement is for IPAddressPool {pool}: nobody answers ARP for its addresses"
    ),
    Code.PORT_TAKEN: (
        "{listener} cannot listen: port {port}/{protocol} is taken by container {holder}{holding}"
    ),
    Code.NO_DAEMON_POD: "{object} has no Pod: no node matches and is tolerated",
    Code.UNUSED_SLICE: "left out: {object} {unused}",
    Code.NO_HINTS: "{object} has no topology hints, despite its annotation {annotation}: {without_hints}",
    Code.SAME_NODE_ADDRESS: "nodes {other} and {name} both have the InternalIP {ip}: {name} {then}",
    Code.ADDRESS_OF_NODE: (
        "{object} has {ip}, the address of {node}: in {mode} mode every other node takes it for its own, and "
        "the network between them breaks"
    ),
    Code.STRICT_ARP: (
        "every node, not the speaker alone, answers ARP for load-balancer addresses: {mode} mode needs "
        "ipvs.strictARP: true"
    ),
    Code.NO_NODE_PORTS: (
        "{object} has no node ports: the balancer, which connects to those, refuses its clients"
    ),
    Code.UNCHECKED_STEP: ("{object}: {field}: has no flows, and no step follows: its change is not checked"),
    Code.UNKNOWN_CODE: (
        "{object}: {words} in {field} is no code of a warning (podwire doc warnings lists them)"
    ),
    Code.FOREIGN_NODE_PORT: (
        "{object} has node port {port}, outside {range}: an API server refuses it, unless its "
        "--service-node-port-range says otherwise"
    ),
    Code.UNDECLARED_NAMESPACE: (
        "{object} is in namespace {namespace}, which no manifest declares (did you mean {nearest}?)"
    ),
}
_INDENT = " " * 7  # before the second and later lines of a warning
_ODD: Mapping[Part | None, str] = {
    OddValue.LEADING_ZEROS: (
        "{shown} is read as {meant}: leading zeros are decimal, as Kubernetes before 1.36 takes them"
    ),
    OddValue.IPV4_MAPPED: (
        "{shown} is read as {meant}: an IPv4-mapped address, which Kubernetes before 1.36 takes"
    ),
    OddValue.TWO_FAMILIES: f"{{shown}}: the {BUILT} half is taken: {ONLY_BUILT}",
    OddValue.DUAL_STACK: f"{{value}}: the {BUILT} half is taken: {ONLY_BUILT}",
    OddValue.TWO_POD_CIDRS: (
        "podCIDR is {shown}, which counts: podCIDRs is left out, as the API server does"
    ),
    OddValue.NO_IP_ADDRESS: (
        "{shown} is no IP address: no balancer can give it, and the Service gets a free one"
    ),
}
_ODD_YAML: Mapping[Part | None, str] = {
    OddYaml.TWICE: "the key {shown} is there twice: the last one counts, as with kubectl",
    OddYaml.LETTER: ("kubectl takes a plain {value} for a boolean: write it in quotes where it is a word"),
}
_UNUSED: Mapping[Part | None, str] = {
    UnusedSlice.FQDN: "of type FQDN, which kube-proxy ignores",
    UnusedSlice.OTHER_PROXY: "which its label {label} leaves to another proxy",
    UnusedSlice.NO_SERVICE: "without the label {label}",
}
_NO_ADDRESS: Mapping[Part | None, str] = {
    NoAddress.UNREADABLE: "it asks for {asked}, which is no address",
    NoAddress.IN_NO_POOL: "it asks for {asked}, which is not in {any_pool}",
    NoAddress.POOL_FOR_OTHERS: "it asks for {asked}, which is in {any_pool}, which is not for it",
    NoAddress.SEVERAL_REQUESTS: (
        "it asks for {asked}, which is not its only request: MetalLB wants loadBalancerIPs or "
        "spec.loadBalancerIP alone"
    ),
    NoAddress.OTHER_POOL: (
        "it asks for {asked}, which is not in IPAddressPool {pools}, for which it asks, too"
    ),
    NoAddress.TAKEN: "it asks for {asked}, which is taken",
    NoAddress.NOT_SHARED: ("it asks for {asked}, which Service {holder} has, and the two do not share it"),
    NoAddress.OTHER_SELECTOR: (
        "it asks for {asked}, which Service {holder} has: under externalTrafficPolicy Local only Services "
        "with the same selector share an address"
    ),
    NoAddress.SAME_PORT: "it asks for {asked}, which Service {holder} shares, but for {port}",
    NoAddress.NONE_FOR_IT: "no address of {any_pool} is for it",
    NoAddress.NAMED_FOR_OTHERS: "it asks for IPAddressPool {pools}, which is not for it",
    NoAddress.NAMED_IS_MISSING: "it asks for IPAddressPool {pools}, which is not there",
    NoAddress.NONE_LEFT: "{any_pool} has none left",
}
_NO_HINTS: Mapping[Part | None, str] = {
    NoHints.NODE_WITHOUT_ZONE: f"node {{node}} has no label {ZONE_LABEL}",
    NoHints.NODE_WITHOUT_CPUS: "node {node} does not say its CPUs (status.allocatable.cpu)",
    NoHints.ONE_ZONE: "the ready nodes are not in two zones",
    NoHints.ENDPOINT_WITHOUT_ZONE: "an endpoint is on a node without a zone",
    NoHints.FEW_ENDPOINTS: "there are fewer ready endpoints ({endpoints}) than zones ({zones})",
    NoHints.OVERLOAD: (
        f"{{endpoints}} endpoints would overload those of a zone by more than {OVERLOAD_THRESHOLD:.0%}"
    ),
}


class Told(NamedTuple):
    """Holds what people read of one warning, or of several of one cause: ``places`` are theirs, ``number``
    says how many there are.
    """

    code: Code
    text: str
    places: tuple[str, ...]
    number: int


def say_warning(one: ManifestWarning) -> str:
    """Returns ``one`` as a sentence that a terminal can show."""
    words = _Words(one)
    text = _TEXTS[one.code].format_map(words)
    more = f" (and {one.alike} more of its Pods)" if one.alike else ""
    return shorten(printable(f"{text}{more}"))


def name_object(one: ManifestWarning) -> str:
    """Returns the object as people write it: ``Service default/web``; "" for the input as a whole."""
    return printable(f"{one.object.kind} {one.object.name}".strip())


def place_of(one: ManifestWarning) -> str:
    """Returns ``FILE:LINE``, or the file alone where the line is not known."""
    return printable(f"{one.file}:{one.line}" if one.line else one.file)


def tell_warning(one: ManifestWarning) -> str:
    """Returns ``one`` on one line, with its code and place."""
    return ": ".join(filter(None, (f"{one.code.value} {place_of(one)}".strip(), say_warning(one))))


def fold_warnings(warnings: Sequence[ManifestWarning]) -> list[Told]:
    """Returns a row for each of ``warnings`` by code, and one for several of one code."""
    by_code: dict[Code, list[ManifestWarning]] = {}
    for one in sorted(warnings, key=lambda one: one.code.value):
        by_code.setdefault(one.code, []).append(one)
    rows = []
    for code, group in by_code.items():
        for some in [group] if len(group) >= FOLDED_FROM else ([each] for each in group):
            places = tuple(dict.fromkeys(filter(None, map(place_of, some))))
            rows.append(Told(code, say_warning(some[0]), places, len(some)))
    return rows


def render_warnings(warnings: Sequence[ManifestWarning], width: int | None, *, called: bool = False) -> str:
    """Returns the section WARNINGS within ``width`` columns (None: as they are); "" without any. ``called``:
    by a program, which has no command line.
    """
    if not warnings:
        return ""
    lines, screen = ["WARNINGS"], Screen(None if width is None else max(width, 20))
    for row in fold_warnings(warnings):
        first = f"{row.places[0]}: " if row.places else ""
        lines += screen.say(f"{first}{row.text}", f"{row.code.value}  ", _INDENT)
        if row.number > 1:
            others = ", ".join(row.places[1 : _MOST_PLACES + 1])
            more = ", …" if len(row.places) > _MOST_PLACES + 1 else ""
            line = f"and {row.number - 1} more of this kind: {others}{more}"
            lines += screen.say(line.rstrip(": "), _INDENT, _INDENT)
    codes = tuple(dict.fromkeys(one.code.value for one in warnings))
    them = "it" if len(warnings) == 1 else "them"
    silences = (
        f"ignore={codes} of podwire.cluster(), or the annotation {IGNORE_ANNOTATION}, silences {them}"
        if called
        else f"--ignore {','.join(codes)} silences {them}"
    )
    lines += screen.say(f"podwire doc {' '.join(codes)} explains {them}; {silences}")
    return "\n".join(lines)


def count_warnings(warnings: Sequence[ManifestWarning], *, strict: bool) -> str:
    """Returns ``1 warning`` or ``3 warnings``, and whether they count; "" without any."""
    number = len(warnings)
    said = f"{number} warning{'' if number == 1 else 's'}" if number else ""
    return f"{said} (--strict)" if said and strict else said


class _Words(dict[str, object]):
    """Holds the names of a template; those that take thought are made when they are asked for."""

    def __init__(self, one: ManifestWarning) -> None:
        super().__init__(one.parts)
        self._one, self._parts = one, dict[str, Part](one.parts)
        self["object"], self["name"], self["field"] = name_object(one), one.object.name, one.object.field

    def __getitem__(self, name: str) -> object:
        value = super().__getitem__(name)
        return ", ".join(value) if isinstance(value, tuple) else value

    def __missing__(self, name: str) -> object:
        made: object = getattr(self, f"_{name}")()
        return made

    def _text(self, name: str) -> str:
        return str(self._parts.get(name, ""))

    def _number(self, name: str) -> int:
        value = self._parts.get(name, 0)
        return value if isinstance(value, int) else 0

    def _texts(self, name: str) -> tuple[str, ...]:
        value = self._parts.get(name, ())
        return value if isinstance(value, tuple) else ()

    def _instead(self) -> str:
        said = []
        if waiting := self._number("waiting"):
            pods = f"{waiting} Pods with them run" if waiting > 1 else "1 Pod with them runs"
            said.append(f"{pods} nowhere")
        if idle := self._texts("idle"):
            said.append(f"{', '.join(idle)} would make some, but has 0 replicas")
        if elsewhere := self._texts("elsewhere"):
            where = "namespace" if len(elsewhere) == 1 else "namespaces"
            said.append(f"Pods with them are in {where} {', '.join(elsewhere)}")
        if nearest := self._text("nearest"):
            said.append(f"did you mean {nearest}?")
        return f" ({'; '.join(said)})" if said else ""

    def _lacks(self) -> str:
        if endpoints := self._number("endpoints"):
            every = f"none of its {endpoints} endpoints is ready"
            return "its endpoint is not ready" if endpoints == 1 else every
        if pods := self._number("pods"):
            fit = f"{pods} running Pods fit" if pods > 1 else "a running Pod fits"
            return f"its EndpointSlices are empty, though {fit} its selector"
        if self._number("slices"):
            return "its EndpointSlices are empty"
        return "it has neither a selector nor an EndpointSlice"

    def _declares(self) -> str:
        if near := self._texts("near"):
            return f" (did you mean {' or '.join(near)}?)"
        declared = self._texts("declared")
        return f" (named ports: {', '.join(declared)})" if declared else ""

    def _others(self) -> str:
        more = self._number("more")
        return f" (and of {more} more)" if more else ""

    def _placed(self) -> str:
        return " is placed" if self._one.object.kind == "Pod" else ": its Pods are placed"

    def _whose(self) -> str:
        pods = self._texts("pods")
        count, more = len(pods) + self._number("more"), self._number("more")
        named = ", ".join(pods) + (f" and {more} more" if more else "")
        return f"Pod {named} runs nowhere" if count == 1 else f"{count} Pods run nowhere, {named}"

    def _hinted(self) -> str:
        hint = self._text("hint")
        return f" (hint: {hint})" if hint else ""

    def _more_lines(self) -> str:
        more = self._number("more")
        return f" (and {more} more)" if more else ""

    def _ipv6(self) -> str:
        if "why" in self._parts:
            return f"{self['object']}: {self['field']}: {self._odd()}"
        return f"{OTHERS} addresses are left out: {ONLY_BUILT}"

    def _odd(self) -> str:
        return _ODD[self._parts.get("why")].format_map(self)

    def _odd_yaml(self) -> str:
        return _ODD_YAML[self._parts.get("why")].format_map(self)

    def _shown(self) -> str:
        return shown(self._text("value"))

    def _where(self) -> str:
        if node := self._text("node"):
            return f"podCIDR {self['network']} of node {node}"
        return f"hostSubnet {self['network']}, of which it is the first or last address"

    def _which(self) -> str:
        return "endpoint" if len(self._texts("ips")) == 1 else "endpoints"

    def _listed(self) -> str:
        return list_some(self._texts("ips"))

    def _missing(self) -> str:
        if self._one.object.kind == "CronJob":
            return "makes no Pod until its time: none of it is here (write the Job that it would make)"
        return "is left out: the Pods that it makes are missing here"

    def _without(self) -> str:
        why = self._parts.get("why")
        if why is NoAddress.LEFT_TO_CLASS:
            return f"is left to its loadBalancerClass {self['asked']}: it has no address"
        return f"has no load-balancer address: {_NO_ADDRESS[why].format_map(self)}"

    def _any_pool(self) -> str:
        return " or ".join(f"the pool {pool}" for pool in self._texts("pools"))

    def _without_hints(self) -> str:
        return _NO_HINTS[self._parts.get("why")].format_map(self)

    def _listener(self) -> str:
        if pod := self._text("pod"):
            return f"container {self['container']} of Pod {pod}"
        return f"{self['container']} on {self['node']}"

    def _holding(self) -> str:
        pod = self._text("holder_pod")
        return f" of Pod {pod}" if pod else ""

    def _unused(self) -> str:
        return _UNUSED[self._parts.get("why")].format_map(self)

    def _then(self) -> str:
        kept = self._text("kept")
        return f"keeps {kept}" if kept else "gets another one here"
