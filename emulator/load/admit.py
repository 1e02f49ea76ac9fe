"""Admission: a manifest → its typed object with the defaults filled in, and everything that is wrong with it.

Loading admits each document by these functions, and the store each write: one set of rules for both. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from emulator.load.faults import Fault
from emulator.load.rules.checks import LABEL, PATH_SEGMENT, Checks
from emulator.load.schema import Kind, decode, decode_uninterpreted, is_cluster_scoped, touches
from emulator.load.validate import validate, validate_unread


class Admission(NamedTuple):
    """``object`` is None where the manifest could not be read. ``notices``: what is odd and read all the same.
    ``ignored``: fields of a cluster's or proxy's configuration that have no meaning here.
    """

    object: Any
    faults: list[Fault]
    notices: list[Fault]
    ignored: tuple[str, ...] = ()


def admit(kind: Kind, manifest: Mapping[str, Any]) -> Admission:
    """Decode ``manifest``, which is of ``kind``, then check it by the rules of that kind."""
    decoded, faults, ignored = decode(kind, manifest)
    notices: list[Fault] = []
    if decoded is not None:
        decoded, broken, notices = validate(decoded, manifest, namespaced=kind.namespaced)
        faults = faults + [
            fault for fault in broken if not any(touches(fault.path, faulty.path) for faulty in faults)
        ]
    return Admission(decoded, faults, notices, ignored)


def admit_uninterpreted(manifest: Mapping[str, Any]) -> Admission:
    """Admit an object of a kind without a meaning here: only its identity and its labels are checked."""
    decoded, faults = decode_uninterpreted(manifest)
    if decoded is None:
        return Admission(None, faults, [])
    checks = Checks(manifest)
    meta = decoded.metadata
    checks.name(("metadata", "name"), meta.name, PATH_SEGMENT)
    checks.labels(("metadata", "labels"), meta.labels)
    if is_cluster_scoped(decoded.kind, decoded.apiVersion):
        meta = replace(meta, namespace="")
    else:
        meta = replace(meta, namespace=meta.namespace or "default")
        checks.name(("metadata", "namespace"), meta.namespace, LABEL)
    return Admission(
        replace(decoded, metadata=meta), [*faults, *checks.faults, *validate_unread(manifest)], checks.notices
    )
