"""Defines warnings: facts about the user's objects because of which a cluster may not do what its author
means, or podwire may not show what a cluster does. Pure values; ``report.prose_of_warnings`` writes the
sentences.

docs/warnings.md has a section for each code. A code keeps its number and its meaning for ever.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from .references import ObjectRef

IGNORE_ANNOTATION = "podwire.dev/ignore"


class Code(Enum):
    """Lists the codes of warnings."""

    SELECTS_NO_POD = "PW001"
    NO_READY_ENDPOINT = "PW002"
    NO_SUCH_PORT_NAME = "PW003"
    UNDECLARED_PORT = "PW004"
    POLICY = "PW005"
    POD_MAKER = "PW006"
    TRAFFIC_RULE = "PW007"
    HOST_PORT = "PW008"
    SCHEDULING = "PW009"
    RUNS_NOWHERE = "PW010"
    NOTHING = "PW011"
    UNKNOWN_FIELD = "PW012"
    YAML = "PW013"
    ODD_VALUE = "PW014"
    IPV6 = "PW015"
    CONTESTED_ADDRESS = "PW016"
    NESTED_ENDPOINT = "PW017"
    ADDRESS_ON_LINK = "PW018"
    ENDPOINT_OUTSIDE = "PW019"
    NO_LOAD_BALANCER_ADDRESS = "PW020"
    UNANNOUNCED_POOL = "PW021"
    PORT_TAKEN = "PW022"
    NO_DAEMON_POD = "PW023"
    UNUSED_SLICE = "PW024"
    NO_HINTS = "PW025"
    SAME_NODE_ADDRESS = "PW026"
    ADDRESS_OF_NODE = "PW027"
    STRICT_ARP = "PW028"
    NO_NODE_PORTS = "PW029"
    UNCHECKED_STEP = "PW030"
    UNKNOWN_CODE = "PW031"
    FOREIGN_NODE_PORT = "PW032"
    UNDECLARED_NAMESPACE = "PW033"


class UnusedSlice(Enum):
    """Lists why kube-proxy does not use an EndpointSlice."""

    FQDN = "its address type"
    OTHER_PROXY = "a label for another proxy"
    NO_SERVICE = "no label for a Service"


class NoAddress(Enum):
    """Lists why a Service gets no load-balancer address. Those of the first group are about the address that
    it asks for, or the one Service that has it.
    """

    UNREADABLE = "no address"
    IN_NO_POOL = "in no pool"
    POOL_FOR_OTHERS = "in a pool for other Services"
    SEVERAL_REQUESTS = "asked for in two ways"
    OTHER_POOL = "in another pool than the one that it asks for"
    TAKEN = "taken"
    NOT_SHARED = "not shared"
    OTHER_SELECTOR = "shared by one selector alone"
    SAME_PORT = "shared but for a port"

    LEFT_TO_CLASS = "left to another controller"
    NONE_FOR_IT = "no pool for it"
    NAMED_FOR_OTHERS = "the pool that it names is for other Services"
    NAMED_IS_MISSING = "the pool that it names is not there"
    NONE_LEFT = "no address left"


class NoHints(Enum):
    """Lists why a Service's endpoints get no topology hints."""

    NODE_WITHOUT_ZONE = "a node has no zone"
    NODE_WITHOUT_CPUS = "a node's CPUs are not known"
    ONE_ZONE = "fewer than two zones"
    ENDPOINT_WITHOUT_ZONE = "an endpoint has no zone"
    FEW_ENDPOINTS = "fewer endpoints than zones"
    OVERLOAD = "the endpoints of a zone would be overloaded"


class OddValue(Enum):
    """Lists what is odd about a field that is read all the same."""

    LEADING_ZEROS = "an address whose zeros are decimal"
    IPV4_MAPPED = "an address of one family as one of the other"
    TWO_FAMILIES = "a value for each family, of which one is taken"
    DUAL_STACK = "an ipFamily of two, of which one is taken"
    TWO_POD_CIDRS = "podCIDR and podCIDRs, which differ"
    NO_IP_ADDRESS = "no address, where the API server takes any text"


class OddYaml(Enum):
    """Lists what YAML says otherwise than its author may think."""

    TWICE = "a key that is there twice"
    LETTER = "a plain y or n"


Part = str | int | tuple[str, ...] | UnusedSlice | NoAddress | NoHints | OddValue | OddYaml


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestWarning:
    """Holds one warning. ``object`` is what it is about, as the user wrote it (of no kind: the input as a
    whole), with the field; ``file`` and ``line`` are its place (from 1; 0: not known).

    ``parts`` are the values of its sentence. ``alike``: as many more Pods of the object show the same.
    """

    code: Code
    object: ObjectRef
    parts: tuple[tuple[str, Part], ...] = ()
    file: str = ""
    line: int = field(default=0)
    alike: int = 0


def read_codes(texts: Iterable[str]) -> tuple[frozenset[Code], tuple[str, ...]]:
    """Returns the codes that ``texts`` name, with commas or blanks, and the words that are no code."""
    words = [word for text in texts for word in text.replace(",", " ").split()]
    known = {code.value: code for code in Code}
    codes = frozenset(known[word.upper()] for word in words if word.upper() in known)
    return codes, tuple(dict.fromkeys(word for word in words if word.upper() not in known))
