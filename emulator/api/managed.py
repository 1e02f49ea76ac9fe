"""Keeps the writer of each field in ``metadata.managedFields``, at every write, and applies server-side.

An entry is of one manager, operation (Apply, or Update of a version) and subresource. A write by Update
takes the fields that it changes from all others; an apply owns what it says, shares what others say alike,
and conflicts with who owns a field that it changes. A field that its appliers no longer say goes, unless
somebody else owns it.

The facts are those of k8s.io/apimachinery, pkg/util/managedfields, and
kubernetes-sigs/structured-merge-diff, merge/update.go. Versions of one kind are compared as they are
written: podwire converts none.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from . import fieldsets, schemas, typed
from .fieldsets import NONE, Path, Paths
from .shapes import written
from .status import ApiError, apply_conflict, bad_request

Document = dict[str, Any]
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
CLIENT_SIDE = "kubectl"  # the manager whose applies take over what its older, client-side applies own
BEFORE_FIRST = "before-first-apply"
ANCIENT = "ancient-changes"
MOST_UPDATERS = 10  # entries of Update; the oldest are joined beyond that (fieldmanager.go)
LONGEST_NAME = 128

NOT_OWNED: Paths = frozenset(
    {
        ("f:apiVersion",),
        ("f:kind",),
        ("f:metadata",),
        *(
            ("f:metadata", f"f:{name}")
            for name in (
                "name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation",
                "managedFields", "resourceVersion",
            )
        ),
    }
)  # fmt: skip

STATUS: tuple[Path, ...] = (("f:status",),)
SPEC: tuple[Path, ...] = (("f:spec",),)
# A write of .../status leaves these alone beside spec (pkg/registry/*/strategy.go, GetResetFields).
MORE_THAN_SPEC: Mapping[tuple[str, str], tuple[Path, ...]] = {
    ("apps/v1", "Deployment"): (("f:metadata", "f:labels"),),
    ("v1", "Pod"): (("f:metadata", "f:deletionTimestamp"), ("f:metadata", "f:ownerReferences")),
    ("networking.k8s.io/v1", "ServiceCIDR"): (("f:metadata",),),
    ("storage.k8s.io/v1", "VolumeAttachment"): (("f:metadata",),),
    ("flowcontrol.apiserver.k8s.io/v1", "FlowSchema"): (("f:metadata",),),
    ("flowcontrol.apiserver.k8s.io/v1", "PriorityLevelConfiguration"): (("f:metadata",),),
    ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy"): (("f:metadata",),),
}


class Owner(NamedTuple):
    """Identifies an entry. ``api_version`` is "" of an apply: it has one entry whatever version it says."""

    manager: str
    operation: str
    api_version: str
    subresource: str


@dataclass(frozen=True, slots=True)
class Entry:
    """Holds what an owner has: the version that its paths are of, when it last wrote ("" if unknown)."""

    paths: Paths
    api_version: str
    time: str = ""


Entries = dict[Owner, Entry]


@dataclass(frozen=True, slots=True)
class Write:
    """Describes one write: its manager, time (RFC 3339, UTC), subresource and schema.

    ``schema`` is the ``openAPIV3Schema`` of a custom resource's version, None of Kubernetes' own kinds.
    ``status`` says whether the kind has a status subresource, for a custom resource.
    """

    manager: str
    now: str
    subresource: str = ""
    schema: schemas.Schema | None = None
    status: bool = True


def manager_name(field_manager: str, user_agent: str) -> str:
    """Returns the manager of a request: its ``fieldManager``, else the user agent up to the first slash."""
    if field_manager:
        return field_manager
    name = "".join(character for character in user_agent.split("/", 1)[0] if character.isprintable())
    return name.encode()[:LONGEST_NAME].decode(errors="ignore") or "unknown"


def update(live: Document | None, new: Document, write: Write) -> Document:
    """Returns ``new`` (a create, update or patch, defaults filled in) with the managed fields after it.

    ``live`` is None for a create. Managed fields that a client sends are taken as they are, an empty list
    or one empty entry forgets all; a subresource's are ignored.
    """
    result = written(new)
    metadata = dict(result.get("metadata") or {})
    metadata.pop("managedFields", None)
    sent = (new.get("metadata") or {}).get("managedFields")
    result = {**result, "metadata": metadata}
    known = None if live is None else (live.get("metadata") or {}).get("managedFields")
    entries = _sent_or_known(sent, known, ignore_sent=bool(write.subresource))
    if not entries and live is not None and (live.get("metadata") or {}).get("uid"):
        return result  # not tracked: so it stays until somebody applies
    types = _types(new, write)
    before = _bare(live) if live is not None else _empty(new)
    try:
        entries = _updated(types, written(before), written(_bare(new)), entries, write)
    except typed.TypedError:  # a list without its keys: the API server keeps what it had, and never refuses
        if known:
            metadata["managedFields"] = copy.deepcopy(known)
        return result
    _write_entries(metadata, _capped(entries))
    return result


def apply(live: Document | None, config: Document, write: Write, *, force: bool = False) -> Document:
    """Returns ``live`` (None: it is created) after a server-side apply of ``config``.

    An apply that changes nothing returns ``live`` as it was, times and all. Raises ApiError: 409 with a
    cause for each field that somebody else owns, 400 for another kind or version and for managed fields in
    ``config``, 500 for a document that does not fit the schema (kube-apiserver answers so).
    """
    metadata = config.get("metadata") or {}
    if metadata.get("managedFields") is not None:
        raise bad_request("metadata.managedFields must be nil")
    base = live if live is not None else _empty(config)
    if live is not None:
        _check_version(live, config)
    known = _decoded((base.get("metadata") or {}).get("managedFields") or [])
    types = _types(config, write)
    faults = types.validate(config)
    if faults:
        raise _misfit(config, faults)
    current = written(_bare(base))
    if not known and live is not None:
        first = replace(write, manager=BEFORE_FIRST, subresource="")
        known = _updated(types, written(_empty(config)), current, {}, first)
    try:
        merged, entries = _applied(types, current, config, known, write, force)
    except _ConflictsError as error:
        allowed = _taken_over(types, live, write)
        left = [conflict for conflict in error.conflicts if conflict[1] not in allowed]
        if left:
            raise _conflict(left) from None
        merged, entries = _applied(types, current, config, known, write, force=True)
    return _result(live, current, merged, entries, config, write)


def _result(
    live: Document | None, current: Document, merged: Any, entries: Entries, config: Document, write: Write
) -> Document:
    """Returns the document after an apply, with the times of entries that changed."""
    owner = _owner(write, "Apply", "")
    merged = written(merged)
    changed = live is None or not typed.same(current, merged)
    result: Document = merged if changed else _bare(live or {})
    result = written(result)
    metadata = dict(result.get("metadata") or {})
    result = {**result, "metadata": metadata}
    if changed and owner in entries:
        entries[owner] = replace(entries[owner], time=write.now)
    annotations = metadata.get("annotations") or {}
    if write.manager == CLIENT_SIDE and annotations.get(LAST_APPLIED):
        metadata["annotations"] = {**annotations, LAST_APPLIED: _last_applied(config)}
    _write_entries(metadata, entries)
    if live is not None and _timeless(result) == _timeless(
        {**result, "metadata": live.get("metadata") or {}}
    ):
        metadata["managedFields"] = copy.deepcopy((live.get("metadata") or {}).get("managedFields"))
        if metadata["managedFields"] is None:
            del metadata["managedFields"]
    return result


def _timeless(document: Document) -> Document:
    """Returns the metadata of a document without the times of its managed fields."""
    metadata = copy.deepcopy(document.get("metadata") or {})
    entries = metadata.get("managedFields") or []
    for entry in entries:
        entry.pop("time", None)
    entries.sort(key=fieldsets.compact)  # they are kept in the order of their times
    return metadata


# Updates and applies of entries


def _updated(types: typed.Types, old: Any, new: Any, entries: Entries, write: Write) -> Entries:
    """Returns the entries after an update: its manager gains what changed, all others lose it."""
    api_version = new.get("apiVersion", "")
    owner = _owner(write, "Update", api_version)
    found = types.compare(old, new).without(_reset(new, write))
    took = found.added | found.modified
    left: Entries = {}
    for name, entry in entries.items():
        paths = entry.paths - took - found.removed
        if paths:
            left[name] = replace(entry, paths=paths)
    took -= NOT_OWNED
    if took:
        paths = took | (left[owner].paths if owner in left else NONE)
        left[owner] = Entry(paths, api_version, write.now)
    return left


class _ConflictsError(Exception):
    def __init__(self, conflicts: list[tuple[Owner, Path, Entry]]) -> None:
        super().__init__()
        self.conflicts = conflicts


def _applied(
    types: typed.Types, live: Any, config: Document, known: Entries, write: Write, force: bool
) -> tuple[Any, Entries]:
    """Returns the merged document and its entries; _ConflictsError without ``force``."""
    owner = _owner(write, "Apply", "")
    reset = _reset(config, write)
    try:
        merged = types.merge(live, config)
        paths = fieldsets.without(types.paths(config), reset)
        last = known.get(owner)
        entries = dict(known)
        entries[owner] = Entry(paths, config.get("apiVersion", ""), last.time if last else "")
        if last and last.paths:
            merged = _pruned(types, merged, entries, last.paths)
        found = types.compare(live, merged).without(reset)
    except typed.TypedError as error:
        raise _misfit(config, [str(error)]) from None
    took = found.added | found.modified
    conflicts = []
    for name, entry in known.items():
        if name == owner:
            continue
        lost = entry.paths & took
        conflicts += [(name, path, entry) for path in sorted(lost)]
        left = entry.paths - lost - found.removed
        if left:
            entries[name] = replace(entry, paths=left)
        else:
            del entries[name]
    if conflicts and not force:
        raise _ConflictsError(conflicts)
    mine = entries[owner].paths - NOT_OWNED
    if mine:
        entries[owner] = replace(entries[owner], paths=mine)
    else:
        del entries[owner]
    return merged, entries


def _pruned(types: typed.Types, merged: Any, entries: Entries, last: Paths) -> Any:
    """Returns the document without the fields that its applier named last time and nobody owns now."""
    everything = types.with_fields(types.paths(merged))
    cut = types.remove(merged, types.with_fields(last))
    rest = types.with_fields(types.paths(cut)) if cut is not typed.ABSENT else NONE
    owned = types.with_fields(frozenset().union(*(entry.paths for entry in entries.values())))
    cut = types.remove(merged, everything - (rest | owned))
    rest = types.with_fields(types.paths(cut)) if cut is not typed.ABSENT else NONE
    return types.remove(merged, (everything - rest) & types.with_fields(last))


def _taken_over(types: typed.Types, live: Document | None, write: Write) -> Paths:
    """Returns the fields that ``kubectl apply --server-side`` may take over: those of its last client-side
    apply.
    """
    if write.manager != CLIENT_SIDE or live is None:
        return NONE
    annotations = (live.get("metadata") or {}).get("annotations") or {}
    try:
        last = json.loads(annotations.get(LAST_APPLIED) or "null")
        if not isinstance(last, dict) or last.get("apiVersion") != live.get("apiVersion"):
            return NONE
        if types.validate(last):
            return NONE
        found = types.compare(last, _bare(live))
        return types.paths(last) - found.modified - found.added - found.removed
    except (ValueError, RecursionError, typed.TypedError):
        return NONE


def _last_applied(config: Document) -> str:
    bare = copy.deepcopy(config)
    annotations = (bare.get("metadata") or {}).get("annotations")
    if annotations:
        annotations.pop(LAST_APPLIED, None)
        if not annotations:
            del bare["metadata"]["annotations"]
    return json.dumps(bare, separators=(",", ":"), ensure_ascii=False, sort_keys=True) + "\n"


def _capped(entries: Entries) -> Entries:
    """Joins the oldest entries of Update where there are more than MOST_UPDATERS."""
    updaters = sorted(
        (name for name in entries if name.operation == "Update"), key=lambda name: (entries[name].time, name)
    )
    left, count = dict(entries), len(updaters)
    first: dict[str, Owner] = {}
    for name in updaters:
        if count <= MOST_UPDATERS:
            break
        entry = left[name]
        if entry.api_version not in first:
            first[entry.api_version] = name
            continue
        bucket = Owner(ANCIENT, "Update", entry.api_version, "")
        if bucket not in left:
            left[bucket] = left.pop(first[entry.api_version])
        if name == bucket:
            continue
        del left[name]
        left[bucket] = Entry(left[bucket].paths | entry.paths, entry.api_version, entry.time)
        count -= 1
    return left


# Conflicts and misfits in kube-apiserver's words


def _conflict(conflicts: Sequence[tuple[Owner, Path, Entry]]) -> ApiError:
    said = [(_printed(owner, entry), fieldsets.path_text(path)) for owner, path, entry in conflicts]
    causes = [("FieldManagerConflict", f"conflict with {who}", path) for who, path in said]
    if len(said) == 1:
        message = f"Apply failed with 1 conflict: conflict with {said[0][0]}: {said[0][1]}"
    else:
        lines = []
        for who in sorted({who for who, _ in said}):
            lines.append(f"conflicts with {who}:")
            lines += [f"- {path}" for name, path in said if name == who]
        message = f"Apply failed with {len(said)} conflicts: " + "\n".join(lines)
    return apply_conflict(message, causes)


def _printed(owner: Owner, entry: Entry) -> str:
    who = fieldsets.compact(owner.manager)
    if owner.subresource:
        who += f" with subresource {fieldsets.compact(owner.subresource)}"
    return f"{who} using {entry.api_version}" if owner.operation == "Update" else who


def _misfit(config: Document, faults: Sequence[str]) -> ApiError:
    metadata = config.get("metadata") or {}
    group_version, kind = config.get("apiVersion", ""), config.get("kind", "")
    said = faults[0] if len(faults) == 1 else "errors:\n" + "\n".join(f"  {fault}" for fault in faults)
    name = f"{metadata.get('namespace') or ''}/{metadata.get('name') or ''}; {group_version}, Kind={kind}"
    return ApiError(500, "", f"failed to create typed patch object ({name}): {said}")


def _check_version(live: Document, config: Document) -> None:
    if config.get("kind") != live.get("kind"):
        raise bad_request(f"invalid object type: {config.get('apiVersion')}, Kind={config.get('kind')}")
    if config.get("apiVersion") != live.get("apiVersion"):
        raise bad_request(
            "Incorrect version specified in apply patch. Specified patch version: "
            f"{config.get('apiVersion')}, expected: {live.get('apiVersion')}"
        )


# Entries and their JSON


def _owner(write: Write, operation: str, api_version: str) -> Owner:
    return Owner(write.manager, operation, api_version, write.subresource)


def _sent_or_known(sent: Any, known: Any, *, ignore_sent: bool) -> Entries:
    if ignore_sent:
        return _known(known)
    if sent is not None and (sent == [] or sent == [{}]):
        return {}
    try:
        entries = _decoded(sent or [])
    except ApiError:
        entries = {}
    return entries or _known(known)


def _known(known: Any) -> Entries:
    try:
        return _decoded(known or [])
    except ApiError:
        return {}


def _decoded(rows: Any) -> Entries:
    """Returns the entries of ``managedFields``; ApiError (500) if one is malformed."""
    entries: Entries = {}
    for index, row in enumerate(rows if isinstance(rows, list) else []):
        operation = row.get("operation") if isinstance(row, dict) else None
        if operation not in ("Apply", "Update"):
            raise _undecodable("operation must be `Apply` or `Update`")
        if not row.get("apiVersion"):
            raise _undecodable("apiVersion must not be empty")
        if row.get("fieldsType") != "FieldsV1":
            kind = row.get("fieldsType")
            what = f"invalid fieldsType {fieldsets.compact(kind)}" if kind else "missing fieldsType"
            raise _undecodable(f"{what} in managed fields entry {index}")
        try:
            paths = fieldsets.from_fields(row.get("fieldsV1") or {})
        except (ValueError, RecursionError) as error:
            raise _undecodable(f"error decoding set: {error}") from None
        version = str(row["apiVersion"])
        owner = Owner(
            str(row.get("manager") or ""),
            operation,
            "" if operation == "Apply" else version,
            str(row.get("subresource") or ""),
        )
        entries[owner] = Entry(paths, version, str(row.get("time") or ""))
    return entries


def _undecodable(message: str) -> ApiError:
    return ApiError(500, "", f"failed to decode managed fields: {message}")


def _write_entries(metadata: Document, entries: Entries) -> None:
    """Writes ``managedFields``: applies first, then by time, manager, version and subresource."""
    rows = []
    order = sorted(
        entries.items(),
        key=lambda item: (
            item[0].operation,
            item[1].time,
            item[0].manager,
            item[1].api_version,
            item[0].subresource,
        ),
    )
    for owner, entry in order:
        row: Document = {"apiVersion": entry.api_version, "fieldsType": "FieldsV1"}
        row["fieldsV1"] = fieldsets.to_fields(entry.paths)
        row["manager"] = owner.manager
        row["operation"] = owner.operation
        if owner.subresource:
            row["subresource"] = owner.subresource
        if entry.time:
            row["time"] = entry.time
        rows.append(row)
    if rows:
        metadata["managedFields"] = rows
    else:
        metadata.pop("managedFields", None)


# Documents as Go holds them


def _types(document: Document, write: Write) -> typed.Types:
    return typed.of_kind(document.get("apiVersion", ""), document.get("kind", ""), write.schema)


def _bare(document: Document) -> Document:
    """Returns a document without its managed fields."""
    metadata = document.get("metadata") or {}
    return {**document, "metadata": {key: value for key, value in metadata.items() if key != "managedFields"}}


def _empty(document: Document) -> Document:
    """Returns an object of the document's kind with nothing in it."""
    return {key: document[key] for key in ("apiVersion", "kind") if key in document}


def _reset(document: Document, write: Write) -> tuple[Path, ...]:
    """Returns the fields that a write of this kind and subresource cannot change."""
    key = (document.get("apiVersion", ""), document.get("kind", ""))
    kubernetes = schemas.schema_of(*key)
    if write.subresource == "status":
        if kubernetes is None:
            own = (write.schema or {}).get("properties", {})
            return tuple(
                (f"f:{name}",) for name in {*own, "spec", "metadata"} - {"status", "apiVersion", "kind"}
            )
        return SPEC + MORE_THAN_SPEC.get(key, ())
    has_status = write.status if kubernetes is None else "status" in kubernetes.get("properties", {})
    if key == ("v1", "Namespace") and not write.subresource:
        return (*STATUS, ("f:spec", "f:finalizers"))  # theirs is .../finalize
    return STATUS if has_status and not write.subresource else ()
