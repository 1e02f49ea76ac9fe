"""Checks what every kind shares: names, ports, addresses, labels and metadata. Faults are collected."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...errors import Words, worded
from ...net import (
    AddressError,
    AddressRange,
    Family,
    forgiven,
    parse_sloppy,
    parse_sloppy_prefix,
)
from ...objects.families import BUILT, ONLY_BUILT
from ...objects.kinds import LabelSelector, Namespace, ObjectMeta, Pod, Service, Taint
from ...objects.warnings import Code, OddValue
from ..faults import Fault, FaultKind, FieldPath, Oddity, cut, not_supported, required, shown

MAX_PORT = 65_535
_HIDDEN = "a support bundle hides addresses: take the objects from the cluster itself (kubectl get … -o yaml)"
MAX_INT32 = 2**31 - 1


@dataclass(frozen=True, slots=True)
class NameRule:
    """Describes the form of a name."""

    pattern: re.Pattern[str]
    longest: int
    what: str


_ENDS = "a letter or digit at both ends"
LABEL = NameRule(
    re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z"),
    63,
    f"an RFC 1123 label: a-z, 0-9 and '-', {_ENDS}, at most 63 characters",
)
SUBDOMAIN = NameRule(
    re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z"),
    253,
    f"an RFC 1123 subdomain: a-z, 0-9, '-' and '.', {_ENDS}, at most 253 characters",
)
QUALIFIED = NameRule(
    re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]\Z"),
    63,
    f"letters, digits, '-', '_' and '.', {_ENDS}, at most 63 characters",
)
PORT_NAME = NameRule(
    re.compile(r"(?=[-0-9]*[a-z])[a-z0-9]+(-[a-z0-9]+)*\Z"),
    15,
    f"a port name (RFC 6335): a-z, 0-9 and single '-', a letter among them, {_ENDS}, at most 15 characters",
)
# the API server's rule for names without a rule of their own (ValidatePathSegmentName): RBAC's have colons
PATH_SEGMENT = NameRule(
    re.compile(r"(?!\.\.?\Z)[^/%\s\x00-\x1f\x7f]+\Z"),
    253,
    "a path segment: no '/', '%' or blank, neither '.' nor '..', at most 253 characters",
)
_NAMES: Mapping[type[Any], NameRule] = {Service: LABEL, Namespace: LABEL}


class Checks:
    """Collects faults, and notices about odd values that are read all the same. Methods with a value return
    it in canonical form. ``written`` is the manifest as it came.
    """

    def __init__(self, written: Mapping[str, Any]) -> None:
        self.faults: list[Fault] = []
        self.notices: list[Fault | Oddity] = []
        self.written = written

    def said(self, *path: str) -> bool:
        """Returns whether the manifest itself has this field: a default contradicts nothing."""
        return self.value(*path) is not None

    def value(self, *path: str) -> Any:
        """Returns the field as the manifest has it; None where it is not there."""
        value: Any = self.written
        for step in path:
            value = value.get(step) if isinstance(value, Mapping) else None
        return value

    def fault(self, path: FieldPath, what: str, hint: str = "", kind: FaultKind = FaultKind.INVALID) -> None:
        self.faults.append(Fault(path, what, hint, kind))

    def required(self, path: FieldPath, more: str = "", hint: str = "") -> None:
        self.faults.append(required(path, more, hint))

    def forbidden(self, path: FieldPath, what: str, hint: str = "leave it out") -> None:
        self.fault(path, what, hint, FaultKind.FORBIDDEN)

    def one_of(self, path: FieldPath, value: Any, known: Sequence[str], hint: str = "") -> None:
        """Checks that a field with a few words has one of them."""
        if value not in known:
            self.faults.append(not_supported(path, value, known, hint))

    def notice(self, path: FieldPath, what: str) -> None:
        """Reports what becomes of a value, as a notice."""
        self.notices.append(Fault(path, what))

    def odd(
        self, path: FieldPath, why: OddValue, value: str, meant: str = "", code: Code = Code.ODD_VALUE
    ) -> None:
        """Reports what becomes of ``value``, as the warning ``code``."""
        self.notices.append(Oddity(path, code, why, cut(value), meant))

    def name(self, path: FieldPath, value: str, rule: NameRule) -> None:
        if not value:
            self.required(path)
        elif len(value) > rule.longest or not rule.pattern.match(value):
            better = re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-")[: rule.longest].rstrip("-")
            self.fault(
                path,
                worded("{} must be {}", shown(value), Words(rule.what)),
                f"{better}, say" if rule.pattern.match(better) else "",
            )

    def optional_name(self, path: FieldPath, value: str | None, rule: NameRule) -> None:
        if value:
            self.name(path, value, rule)

    def port(self, path: FieldPath, value: int) -> None:
        if not 1 <= value <= MAX_PORT:
            self.fault(path, worded("must be a port between 1 and {}, is {}", MAX_PORT, shown(value)))

    def optional_port(self, path: FieldPath, value: int | None) -> int | None:
        if value:
            self.port(path, value)
        return value or None

    def address(self, path: FieldPath, value: str) -> str:
        return self._parsed(path, value, parse_sloppy, "an IP address", "10.96.0.10")

    def _parsed(
        self, path: FieldPath, value: str, parse: Callable[[str], str], what: str, example: str
    ) -> str:
        """Returns the canonical form of ``value``, which should be ``what``; ``value`` itself, with a fault,
        if it is not.
        """
        try:
            meant = str(parse(value))
        except ValueError:
            hint = _HIDDEN if "*" in value else f"{example}, say"
            self.fault(path, worded("must be {}, is {}", Words(what), shown(value)), hint)
            return value
        self._note_spelling(path, value, meant)
        return meant

    def _note_spelling(self, path: FieldPath, value: str, meant: str) -> None:
        kind = forgiven(value)
        if kind == "leading zeros":
            self.odd(path, OddValue.LEADING_ZEROS, value, meant)
        elif kind == "IPv4-mapped":
            self.odd(path, OddValue.IPV4_MAPPED, value, meant)

    def optional_address(self, path: FieldPath, value: str) -> str:
        return self.address(path, value) if value else value

    def addresses(self, path: FieldPath, values: Sequence[str]) -> tuple[str, ...]:
        return tuple(self.address((*path, i), value) for i, value in enumerate(values))

    def prefix(self, path: FieldPath, value: str) -> str:
        return self._parsed(path, value, parse_sloppy_prefix, "a prefix in CIDR form", "10.244.0.0/16")

    def optional_prefix(self, path: FieldPath, value: str) -> str:
        return self.prefix(path, value) if value else value

    def ipv4_prefix(self, path: FieldPath, value: str) -> str:
        """Returns the IPv4 prefix in ``value``, which may have two families
        (``10.244.0.0/16,fd00:10:244::/56``).
        """
        if not value:
            return value
        parts = [part.strip() for part in value.split(",")]
        ours = [part for part in parts if _sloppy_family(part) in (BUILT, None)]
        if not ours:
            self.fault(path, worded("{}: {}", shown(value), Words(ONLY_BUILT)), f"give an {BUILT} prefix")
            return value
        if len(ours) > 1 or len(parts) > 2:
            self.fault(path, worded("{} must be one prefix, or one of each family", shown(value)))
            return value
        if len(parts) > 1:
            self.odd(path, OddValue.TWO_FAMILIES, value, code=Code.IPV6)
        return self.prefix(path, ours[0])

    def prefixes(self, path: FieldPath, values: Sequence[str]) -> tuple[str, ...]:
        return tuple(self.prefix((*path, i), value) for i, value in enumerate(values))

    def key(self, path: FieldPath, key: str) -> None:
        """Checks the key of a label, annotation or taint: ``[prefix/]name``."""
        prefix, slash, name = key.rpartition("/")
        if (slash and not fits(prefix, SUBDOMAIN)) or not fits(name, QUALIFIED):
            self.fault(
                path,
                worded(
                    "the key {} must be {}, with a DNS name and '/' before it if need be",
                    shown(key),
                    Words(QUALIFIED.what),
                ),
            )

    def annotations(self, path: FieldPath, annotations: Iterable[str]) -> None:
        """Checks keys of annotations, whose prefix may have capitals (apimachinery, ValidateAnnotations)."""
        for key in annotations:
            self.key((*path, key), key.lower())

    def labels(self, path: FieldPath, labels: Mapping[str, str]) -> None:
        for key, value in labels.items():
            self.key((*path, key), key)
            self.label_value((*path, key), value)

    def label_value(self, path: FieldPath, value: str) -> None:
        if value and not fits(value, QUALIFIED):
            self.fault(path, worded("{} must be empty or {}", shown(value), Words(QUALIFIED.what)))

    def label_selector(self, path: FieldPath, selector: LabelSelector) -> None:
        self.labels((*path, "matchLabels"), selector.matchLabels)
        for i, requirement in enumerate(selector.matchExpressions):
            at = (*path, "matchExpressions", i)
            self.key((*at, "key"), requirement.key)
            if requirement.operator in ("In", "NotIn") and not requirement.values:
                self.required((*at, "values"), f" with {requirement.operator}")
            if requirement.operator in ("Exists", "DoesNotExist") and requirement.values:
                self.forbidden((*at, "values"), f"must be empty with {requirement.operator}", "")
            for j, value in enumerate(requirement.values):
                self.label_value((*at, "values", j), value)

    def unique(
        self,
        values: Iterable[tuple[FieldPath, Hashable]],
        what: str,
        kind: FaultKind = FaultKind.DUPLICATE,
    ) -> None:
        """Checks that no two of ``values`` are equal; ``what`` is the noun for them in the message."""
        first: dict[Hashable, FieldPath] = {}
        for path, value in values:
            if value in first:
                said = worded("{} is the {} of an earlier entry already", shown(value), Words(what))
                self.fault(path, said, "give each its own", kind)
            first.setdefault(value, path)

    def routable(self, path: FieldPath, value: str) -> None:
        try:
            address = parse_sloppy(value)
        except AddressError:
            return  # reported already
        if not address.routable:
            self.fault(
                path,
                worded(
                    "{} must not be an unspecified, loopback, link-local or multicast address", shown(value)
                ),
            )

    def taints(self, path: FieldPath, taints: Sequence[Taint]) -> None:
        for i, taint in enumerate(taints):
            self.key((*path, i, "key"), taint.key)
            self.label_value((*path, i, "value"), taint.value)


def fits(value: str, rule: NameRule) -> bool:
    return len(value) <= rule.longest and bool(rule.pattern.match(value))


def _sloppy_family(text: str) -> Family | None:
    """Returns the family of a prefix; None if it is no prefix."""
    try:
        return parse_sloppy_prefix(text).family
    except AddressError:
        return None


def address_range(path: FieldPath, text: str, checks: Checks) -> str:
    """Returns a prefix or ``first-last``, as MetalLB's IPAddressPool has them, in canonical form
    ``first-last``.
    """
    try:
        ends = AddressRange.parse(text)
    except ValueError:
        checks.fault(
            path,
            worded("must be a prefix or a range of addresses, is {}", shown(text)),
            "172.18.255.200-172.18.255.250, say",
        )
        return text
    if ends.first.family is not ends.last.family:
        checks.fault(path, worded("{} begins and ends in two address families", shown(text)))
    elif ends.first > ends.last:
        checks.fault(
            path, worded("{} ends before it begins", shown(text)), str(AddressRange(ends.last, ends.first))
        )
    return str(ends)


def check_metadata(value: Any, namespaced: bool, checks: Checks) -> ObjectMeta:
    """Returns the metadata of an object of any kind, with its namespace filled in ("" if its kind has
    none).
    """
    meta: ObjectMeta = value.metadata
    rule = _NAMES.get(type(value), SUBDOMAIN)
    if meta.generateName and not meta.name and isinstance(value, Pod):
        if not fits(f"{meta.generateName[: rule.longest - 5]}xxxxx", rule):
            checks.fault(
                ("metadata", "generateName"),
                worded("{} must be the beginning of {}", shown(meta.generateName), Words(rule.what)),
            )
    else:
        checks.name(("metadata", "name"), meta.name, rule)
    checks.labels(("metadata", "labels"), meta.labels)
    checks.annotations(("metadata", "annotations"), meta.annotations)
    if not namespaced:
        return replace(meta, namespace="") if meta.namespace else meta
    if not meta.namespace:
        return replace(meta, namespace="default")
    checks.name(("metadata", "namespace"), meta.namespace, LABEL)
    return meta
