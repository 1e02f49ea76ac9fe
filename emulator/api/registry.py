"""Carries out the verbs of the API on the store: get, list, watch, create, update, patch, delete, and
subresources.

Pure: time, random names and tokens come from whoever makes the :class:`Registry`. Every verb takes a
:class:`Target` and returns an :class:`Answer`, or raises ApiError; a verb that is refused, or a dry run,
changes nothing. A write goes in this order: field validation, defaults, what a create or an update may say,
managed fields, the store's admission. Facts: k8s.io/apiserver, pkg/registry/generic/registry/store.go and
pkg/endpoints/handlers; k8s.io/kubernetes, pkg/registry.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple, TypeAlias

from ..load.faults import FaultKind
from ..store.manifests import render, view
from ..store.objects import Key, Stored, uid_of
from ..store.store import Store
from . import bodies, customs, managed, status
from .defaults import created, decoded, status_updated, updated
from .fields import check, check_patched
from .givenout import GivenOut
from .immutable import violations_of_update
from .pages import BadTokenError, Pages
from .patch import apply_patch
from .resources import Catalog, Resource, custom_resources
from .reviews import AUTHENTICATION, AUTHORIZATION, TokenIssuer, review
from .selectors import Selection
from .structural import fill as fill_schema
from .structural import prune
from .users import ISSUER, User
from .validation import violations

Document: TypeAlias = dict[str, Any]
NAME_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # no vowels: no words (apimachinery, util/rand)
LONGEST_NAME = 63
SYSTEM_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
LONGEST_LIST = 1_000_000
PROPAGATION_POLICIES = ("Background", "Foreground", "Orphan")
APPLY = "application/apply-patch+yaml"
_KEPT_DOCUMENTS = 200_000
# kinds that DELETE returns as they were; of others it says that they are gone
_RETURNED = frozenset(
    {"Pod", "Service", "ServiceAccount", "PersistentVolume", "PersistentVolumeClaim", "PodTemplate"}
    | {"ResourceQuota"}
)
_GIVEN = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")
_SCALED = ("Deployment", "ReplicaSet", "StatefulSet", "ReplicationController")


@dataclass(frozen=True, slots=True)
class Target:
    """Names the object of a request; ``name`` is "" for a collection."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""


@dataclass(frozen=True, slots=True)
class Caller:
    """Describes the user of a request, and the name under which managed fields are recorded."""

    user: User
    manager: str = "unknown"


@dataclass(frozen=True, slots=True)
class Answer:
    """Holds a document, which the receiver must not change, its HTTP status, and warnings."""

    document: Mapping[str, Any]
    code: int = 200
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Listing:
    """Holds a list: its objects as stored, and the list's metadata."""

    resource: Resource
    rows: Sequence[Stored]
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Watch:
    """Describes a watch: the objects that it begins with, and which later ones it is about. ``since`` is the
    version after which events follow; ``marks``: the end of the initial objects is marked, and bookmarks are
    wanted. ``seconds``: after which it ends, None if the server decides.
    """

    resource: Resource
    kind: str
    namespace: str
    selection: Selection
    initial: Sequence[Stored]
    since: int
    bookmarks: bool
    marks: bool
    seconds: float | None


class Denial(NamedTuple):
    """Says why a Pod may not be evicted now: the HTTP status, the message, and that of the cause
    DisruptionBudget ("" for none), as ``controllers.apps.disruption`` has it.
    """

    code: int
    message: str
    cause: str


Settle: TypeAlias = Callable[[], Sequence[tuple[str, str]]]  # new refusals: the message, and the field
MayEvict: TypeAlias = Callable[[Store, Key, str], tuple[int, str, str] | None]


@dataclass
class Registry:
    """Holds what the verbs need. ``now`` says the time (RFC 3339), ``draw(n)`` returns a random number below
    ``n``; ``settle`` lets the controllers act on what was written, and returns what they refuse of it now;
    ``may_evict`` returns why a PodDisruptionBudget forbids an eviction now (:class:`Denial`), None if
    none does; ``given_out`` holds the ranges of what Services get.
    """

    store: Store
    now: Callable[[], str]
    draw: Callable[[int], int]
    tokens: TokenIssuer | None = None
    may_evict: MayEvict = lambda _store, _pod, _now: None
    settle: Settle = lambda: ()
    given_out: GivenOut = GivenOut()
    _documents: dict[tuple[Key, str], tuple[int, Document]] = field(default_factory=dict)
    _pages: Pages[Stored] = field(default_factory=Pages)
    _sorted: dict[str, tuple[Sequence[Stored], Sequence[Stored]]] = field(default_factory=dict)
    _catalog: tuple[Sequence[Stored], Catalog] | None = None

    # --- what there is --------------------------------------------------------------------------------------

    @property
    def catalog(self) -> Catalog:
        """Returns all resources, with those of the CustomResourceDefinitions that there are now."""
        definitions = self.store.list(customs.DEFINITION)
        if self._catalog is None or self._catalog[0] is not definitions:
            catalog = Catalog.of([render(one) for one in definitions])
            self._catalog = (definitions, catalog)
            self.store.unnamespaced = catalog.unnamespaced
            self._documents.clear()
        return self._catalog[1]

    def _core(self, plural: str) -> Resource:
        found = self.catalog.find("", "v1", plural)
        if found is None:
            raise AssertionError(f"the API has no {plural}")
        return found

    def provide_namespaces(self) -> None:
        """Creates the namespaces that every cluster has, where they are not there."""
        resource = self._core("namespaces")
        for name in SYSTEM_NAMESPACES:
            if self.store.get(Key("Namespace", "", name)) is None:
                document: Document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
                self.create(Target(resource), document, {}, Caller(User("system:apiserver")))

    def document(self, stored: Stored, resource: Resource) -> Document:
        """Returns an object as ``resource`` shows it: with defaults, in its version. Nobody may change it."""
        held = self._documents.get((stored.key, resource.apiVersion))
        if held is not None and held[0] == stored.resourceVersion:
            return held[1]
        document = _shown(view(stored), resource)
        if len(self._documents) > _KEPT_DOCUMENTS:
            self._documents.clear()
        self._documents[stored.key, resource.apiVersion] = (stored.resourceVersion, document)
        return document

    def fresh(self, stored: Stored, resource: Resource) -> Document:
        """Returns an object as ``resource`` shows it, for the caller to change."""
        return _shown(render(stored), resource)

    def _must(self, target: Target) -> Stored:
        found = self.store.get(self._key(target))
        if found is None:
            raise status.not_found(target.resource, target.name)
        return found

    def _key(self, target: Target) -> Key:
        resource = target.resource
        namespace = target.namespace if resource.namespaced else ""
        return Key(resource.storage_kind, namespace, target.name)

    # --- reading --------------------------------------------------------------------------------------------

    def get(self, target: Target) -> Answer:
        """Returns an object, or its subresource ``status`` or ``scale``. Raises ApiError."""
        stored = self._must(target)
        document = self.document(stored, target.resource)
        return Answer(self._scale(document, target) if target.subresource == "scale" else document)

    def list(self, target: Target, query: Mapping[str, str]) -> Listing:
        """Returns the objects that ``query`` selects, by namespace and name. Raises ApiError."""
        selection = Selection.of(query, target)
        limit = _number(query, "limit") or 0
        token = query.get("continue", "")
        selectors = (query.get("labelSelector", ""), query.get("fieldSelector", ""))
        name = "\0".join((target.resource.storage_kind, target.namespace, *selectors))
        if token:
            version, rows, start = self._page(name, token)
        else:
            version, start = self._version(query), 0
            rows = self._rows(target, selection)
        end = start + limit if limit > 0 else len(rows)
        metadata: Document = {"resourceVersion": str(version)}
        if end < len(rows):
            metadata["continue"] = self._pages.keep(name, version, rows, end)
            if selection.everything:
                metadata["remainingItemCount"] = len(rows) - end
        return Listing(target.resource, rows[start:end], metadata)

    def _page(self, name: str, token: str) -> tuple[int, Sequence[Stored], int]:
        try:
            found = self._pages.find(name, token)
        except BadTokenError as error:
            raise status.bad_request(f"invalid continue token: {error}") from error
        if found is None:
            raise status.expired(
                "The provided continue parameter is too old to display a consistent list result. You can"
                " start a new list without the continue parameter."
            )
        return found

    def _version(self, query: Mapping[str, str]) -> int:
        """Returns the version that a list has; checks the one that it asks for."""
        text, match = query.get("resourceVersion", ""), query.get("resourceVersionMatch", "")
        current = self.store.resourceVersion
        causes = []
        if match and not text:
            what = "resourceVersionMatch is forbidden unless resourceVersion is provided"
            causes.append(_match_cause(what))
        if match and query.get("continue"):
            causes.append(_match_cause("resourceVersionMatch is forbidden with continue"))
        if match not in ("", "Exact", "NotOlderThan"):
            causes.append(_match_unknown(match, "", "Exact", "NotOlderThan"))
        if match == "Exact" and text == "0":
            causes.append(_match_cause('resourceVersionMatch "exact" is forbidden for resourceVersion "0"'))
        if "sendInitialEvents" in query:
            what = "sendInitialEvents is forbidden for list"
            causes.append(status.field_cause("sendInitialEvents", FaultKind.FORBIDDEN, what))
        _check_options(causes)
        wanted = _version_number(text)
        if wanted > current:
            raise status.too_large_version(wanted, current)
        if match == "Exact" and wanted != current:
            raise status.expired(f"The resourceVersion for the provided list is too old: {wanted}")
        return current

    def _rows(self, target: Target, selection: Selection) -> Sequence[Stored]:
        kind = target.resource.storage_kind
        rows = self.store.list(kind)
        held = self._sorted.get(kind)
        if held is None or held[0] is not rows:
            held = (rows, sorted(rows, key=lambda one: one.key))
            self._sorted[kind] = held
        chosen: Sequence[Stored] = held[1]
        if target.namespace and target.resource.namespaced:
            chosen = [one for one in chosen if one.key.namespace == target.namespace]
        if target.name:
            chosen = [one for one in chosen if one.key.name == target.name]
        if selection.everything:
            return chosen
        resource = target.resource
        return [one for one in chosen if selection.matches(self.document(one, resource))]

    def watch(self, target: Target, query: Mapping[str, str]) -> Watch:
        """Returns where a watch begins and what it is about. Raises ApiError; ExpiredError if it begins at a
        version that is forgotten.
        """
        selection = Selection.of(query, target)
        initial = _flag(query, "sendInitialEvents")
        match, text = query.get("resourceVersionMatch", ""), query.get("resourceVersion", "")
        causes = []
        if "sendInitialEvents" in query and match != "NotOlderThan":
            what = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            causes.append(_match_cause(what))
        if match and "sendInitialEvents" not in query:
            what = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
            causes.append(_match_cause(what))
        if match not in ("", "NotOlderThan"):
            causes.append(_match_unknown(match, "NotOlderThan"))
        _check_options(causes)
        wanted, current = _version_number(text), self.store.resourceVersion
        if wanted > current:
            raise status.too_large_version(wanted, current)
        whole = initial or (text in ("", "0") and "sendInitialEvents" not in query)
        since = current if whole or not wanted else wanted
        if not whole:
            self.store.watch(since)  # refuses if it is too old
        return Watch(
            resource=target.resource,
            kind=target.resource.storage_kind,
            namespace=target.namespace if target.resource.namespaced else "",
            selection=selection,
            initial=self._rows(target, selection) if whole else (),
            since=since,
            bookmarks=_flag(query, "allowWatchBookmarks"),
            marks=initial,
            seconds=_number(query, "timeoutSeconds"),
        )

    # --- creating -------------------------------------------------------------------------------------------

    def create(
        self, target: Target, body: Document, query: Mapping[str, str], caller: Caller, raw: bytes = b""
    ) -> Answer:
        """Creates the object ``body``, which becomes the registry's. ``raw`` is the text that it was read
        from, if there is one. Raises ApiError.
        """
        if target.subresource:
            return self._create_subresource(target, body, query, caller)
        resource = target.resource
        if resource.group in (AUTHENTICATION, AUTHORIZATION):
            reviewed = {**body, "status": review(resource.kind, body, caller.user, self.tokens)}
            return Answer({"metadata": {}, **reviewed}, 201)
        if resource.plural == "bindings":
            name = _metadata(body).get("name", "")
            pods = self._core("pods")
            return self._bind(Target(pods, target.namespace, str(name)), body, query)
        _check_kind(body, resource)
        warnings = self._check_fields(body, query, resource, raw)
        metadata = _metadata(body)
        self._place(metadata, target)
        if metadata.get("resourceVersion"):
            raise status.bad_request("resourceVersion should not be set on objects to be created")
        for key in (*_GIVEN, "resourceVersion", "selfLink"):
            metadata.pop(key, None)
        prefix = metadata.get("generateName")
        if not metadata.get("name") and isinstance(prefix, str) and prefix:
            metadata["name"] = self._free_name(prefix, target)
        self._check_namespace(target, str(metadata.get("name", "")))
        now = self.now()
        body = self._born(body, target, now)
        body = managed.update(None, body, _write(target, caller, now))
        with status.refusals(resource, str(metadata.get("name", "")), body):
            stored = self._store(query).create(resource.kept(body), now=now)
        return Answer(self._new(stored, resource, query), 201, warnings)

    def _new(self, stored: Stored, resource: Resource, query: Mapping[str, str]) -> Mapping[str, Any]:
        """Returns a created object as the answer shows it, after all that follows from it at once."""
        if _is_dry(query):
            document = self.fresh(stored, resource)
            document["metadata"].pop("resourceVersion", None)
            return document
        self._react(stored, resource)
        self._settle(stored, resource)
        return self.document(self.store.get(stored.key) or stored, resource)

    def _place(self, metadata: Document, target: Target) -> None:
        """Gives an object the namespace of the request; refuses another one."""
        if not target.resource.namespaced:
            metadata.pop("namespace", None)
            return
        if metadata.setdefault("namespace", target.namespace) in ("", None):
            metadata["namespace"] = target.namespace
        if metadata["namespace"] != target.namespace:
            raise status.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )

    def _free_name(self, prefix: str, target: Target) -> str:
        base = prefix[: LONGEST_NAME - 5]
        for _ in range(8):
            name = base + "".join(NAME_LETTERS[self.draw(len(NAME_LETTERS))] for _ in range(5))
            if self.store.get(self._key(Target(target.resource, target.namespace, name))) is None:
                return name
        raise status.already_exists(target.resource, name)

    def _check_namespace(self, target: Target, name: str) -> None:
        if not target.resource.namespaced:
            return
        namespace = self.store.get(Key("Namespace", "", target.namespace))
        if namespace is None:
            raise status.not_found(self._core("namespaces"), target.namespace)
        if namespace.deletionTimestamp:
            why = (
                f"unable to create new content in namespace {target.namespace} because it is being terminated"
            )
            cause = f"namespace {target.namespace} is being terminated"
            raise status.forbidden(
                target.resource, name, why, [("NamespaceTerminating", cause, "metadata.namespace")]
            )

    def _check_fields(
        self, body: Document, query: Mapping[str, str], resource: Resource, raw: bytes
    ) -> tuple[str, ...]:
        """Returns warnings of unknown and duplicate fields, and refuses them if the client asks for that."""
        how = query.get("fieldValidation", "Warn") or "Warn"
        if resource.schema is not None:
            unknown = prune(body, resource.schema)
            return status.strict(how, [f'unknown field "{one}"' for one in unknown], resource)
        return tuple(check(body, how, resource, raw))

    def _born(self, body: Document, target: Target, now: str) -> Document:
        """Returns a new object with all that the API server fills in. Raises ApiError."""
        name = str(_metadata(body).get("name", ""))
        uid = uid_of(
            self._key(Target(target.resource, target.namespace, name)), self.store.resourceVersion + 1
        )
        suffix = "".join(NAME_LETTERS[self.draw(len(NAME_LETTERS))] for _ in range(5))
        whole = created(target.resource, body, now=now, uid=uid, suffix=suffix)
        if target.resource.kind == "Pod":
            whole["status"] = {"phase": "Pending", **(whole.get("status") or {})}
        self._complete(whole, target.resource)
        self._check_given_out(whole, {}, target.resource, target)
        return whole

    def _check_given_out(
        self, new: Document, old: Mapping[str, Any], resource: Resource, target: Target
    ) -> None:
        """Refuses a Service that asks for an address or a node port that it cannot have."""
        if (resource.group, resource.kind) != ("", "Service") or target.subresource:
            return
        if faults := [*self.given_out.violations(new, old, self.store)]:
            raise status.invalid_fields(resource, str(_metadata(new).get("name", "")), faults)

    def _complete(self, document: Document, resource: Resource) -> None:
        """Fills in and checks what the store does not: custom resources and their definitions."""
        faults = []
        if resource.schema is not None:
            faults = customs.complete(document, resource.schema)
            if "scale" in resource.subresources:
                faults += customs.scale_violations(document, resource.scale_paths.spec)
        elif resource.kind == customs.DEFINED:
            customs.fill_in(document)
            faults = customs.violations(document)
        else:
            faults = violations(document, resource.group, resource.kind)
        if faults:
            raise status.invalid_fields(resource, str(_metadata(document).get("name", "")), faults)

    def _store(self, query: Mapping[str, str]) -> Store:
        """Returns the store to write to: for a dry run a copy."""
        return self.store.fork() if _is_dry(query) else self.store

    def _settle(self, stored: Stored, resource: Resource) -> None:
        """Lets a new Service have its addresses and ports before the answer. Takes it back, and raises
        ApiError, if it asks for what it cannot have.
        """
        if (resource.group, resource.kind) != ("", "Service"):
            return
        causes = [status.Cause("FieldValueInvalid", *one) for one in self.settle()]
        if causes:
            if self.store.get(stored.key) is not None:
                self.store.finalize(stored.key)
            self.settle()
            raise status.invalid(resource, stored.key.name, causes)

    def _react(self, stored: Stored, resource: Resource) -> None:
        """Marks a CustomResourceDefinition that was written as established."""
        if resource.kind == customs.DEFINED:
            established = customs.established(render(stored), self.now())
            if established is not None:
                self.store.write(established)

    # --- updating -------------------------------------------------------------------------------------------

    def update(
        self, target: Target, body: Document, query: Mapping[str, str], caller: Caller, raw: bytes = b""
    ) -> Answer:
        """Replaces an object by ``body``, or its status, its scale, or a namespace's finalizers. Raises
        ApiError.
        """
        if target.subresource == "scale":
            return self._update_scale(target, body, query, caller)
        _check_kind(body, target.resource)
        warnings = self._check_fields(body, query, target.resource, raw)
        answer = self._put(target, body, query, caller)
        return Answer(answer.document, answer.code, (*warnings, *answer.warnings))

    def _put(
        self,
        target: Target,
        body: Document,
        query: Mapping[str, str],
        caller: Caller,
        *,
        manage: bool = True,
        through: str = "",
    ) -> Answer:
        """Replaces the object. ``through``: the subresource that its managed fields name beside its own."""
        resource = target.resource
        _check_kind(body, resource)
        metadata = _metadata(body)
        if metadata.setdefault("name", target.name) != target.name:
            raise status.bad_request(
                f"the name of the object ({metadata['name']}) does not match the name on the URL"
                f" ({target.name})"
            )
        self._place(metadata, target)
        stored = self._must(target)
        old = self.fresh(stored, resource)
        _check_versions(resource, target.name, metadata, old["metadata"])
        new = _merged_update(old, body, target)
        self._complete(new, resource)
        if faults := violations_of_update(old, new, resource.kind, target.subresource):
            raise status.invalid_fields(resource, target.name, faults)
        self._check_given_out(new, old, resource, target)
        if manage:
            write = _write(target, caller, self.now())
            new = managed.update(old, new, replace(write, subresource=through or write.subresource))
        store = self._store(query)
        with status.refusals(resource, target.name, new):
            document = _without_identity(resource.kept(new))
            written = store.write(document) if target.subresource else store.replace(document)
        if _ends_now(written, new):
            store.finalize(written.key)
        elif not _is_dry(query) and self.store.get(written.key) is not None:
            self._react(written, resource)
            written = self.store.get(written.key) or written
        # an object that went with its last finalizer has the version that it had before
        gone = self.store.get(written.key) is None
        return Answer(self.fresh(written, resource) if gone else self.document(written, resource), 200)

    def patch(
        self, target: Target, patch: bytes, form: str, query: Mapping[str, str], caller: Caller
    ) -> Answer:
        """Changes an object as ``patch`` says, of media type ``form``: JSON patch, merge patch, strategic
        merge patch, or an applied configuration, which creates what is not there. Raises ApiError.
        """
        if form == APPLY:
            return self._apply(target, patch, query, caller)
        resource = target.resource
        stored = self._must(target)
        if target.subresource == "scale":
            current = self._scale(self.fresh(stored, resource), target)
            return self._update_scale(target, apply_patch(form, current, patch, resource), query, caller)
        current = self.fresh(stored, resource)
        new = apply_patch(form, copy.deepcopy(current), patch, resource)
        if resource.schema is not None:
            warnings = self._check_fields(new, query, resource, b"")
        else:
            warnings = check_patched(
                form, patch, new, query.get("fieldValidation", "Warn") or "Warn", resource
            )
        answer = self._put(target, new, query, caller)
        return Answer(answer.document, answer.code, (*warnings, *answer.warnings))

    def _apply(self, target: Target, patch: bytes, query: Mapping[str, str], caller: Caller) -> Answer:
        if not query.get("fieldManager"):
            what = "is required for apply patch"
            raise status.invalid_option("fieldManager", FaultKind.REQUIRED, what)
        resource = target.resource
        configuration, warnings = self._configuration(patch, query, resource)
        _check_kind(configuration, resource)
        metadata = _metadata(configuration)
        if metadata.setdefault("name", target.name) != target.name:
            raise status.bad_request(
                f"name in URL does not match name in the object: {metadata['name']} != {target.name}"
            )
        self._place(metadata, target)
        stored = self.store.get(self._key(target))
        old = None if stored is None else self.fresh(stored, resource)
        write = _write(target, caller, self.now())
        new = managed.apply(old, configuration, write, force=_flag(query, "force"))
        if old is None:
            answer = self._create_applied(target, new, query)
        else:
            new["metadata"].pop("resourceVersion", None)
            if version := metadata.get("resourceVersion"):
                new["metadata"]["resourceVersion"] = version
            answer = self._put(target, new, query, caller, manage=False)
        return Answer(answer.document, answer.code, (*warnings, *answer.warnings))

    def _configuration(
        self, patch: bytes, query: Mapping[str, str], resource: Resource
    ) -> tuple[Document, tuple[str, ...]]:
        """Returns an applied configuration, which may be YAML, and warnings of its unknown fields."""
        configuration = bodies.decode(patch, bodies.YAML)
        return configuration, self._check_fields(configuration, query, resource, patch)

    def _create_applied(self, target: Target, new: Document, query: Mapping[str, str]) -> Answer:
        if target.subresource:
            raise status.not_found(target.resource, target.name)
        resource = target.resource
        self._check_namespace(target, target.name)
        new = self._born(new, target, self.now())
        with status.refusals(resource, target.name, new):
            stored = self._store(query).create(resource.kept(new), now=self.now())
        return Answer(self._new(stored, resource, query), 201)

    # --- deleting -------------------------------------------------------------------------------------------

    def delete(
        self, target: Target, options: Mapping[str, Any], query: Mapping[str, str], caller: Caller
    ) -> Answer:
        """Deletes an object at once, or begins to: with a grace period, or while finalizers are left.
        ``options``: DeleteOptions. Raises ApiError.
        """
        del caller
        stored = self._must(target)
        resource = target.resource
        options = {**_query_options(query), **options}
        if resource.kind == "Namespace" and target.name in SYSTEM_NAMESPACES[:1] + SYSTEM_NAMESPACES[2:]:
            raise status.forbidden(resource, target.name, "this namespace may not be deleted", [])
        _check_preconditions(resource, stored, options)
        dry = _is_dry(query) or options.get("dryRun") == ["All"]
        store = self.store.fork() if dry else self.store
        with status.refusals(resource, target.name):
            left = self._end(store, stored, options)
        if left is not None:
            return Answer(self.fresh(left, resource))
        if not dry and resource.kind == customs.DEFINED:
            self._delete_instances(stored)
        if resource.kind in _RETURNED:
            return Answer(self.fresh(stored, resource))
        return Answer(status.success(resource, target.name, stored.uid))

    def _end(self, store: Store, stored: Stored, options: Mapping[str, Any]) -> Stored | None:
        """Deletes an object; returns it if it is still there."""
        grace = _grace(stored, options)
        finalizers = [*stored.finalizers]
        policy = options.get("propagationPolicy")
        if policy is not None and policy not in PROPAGATION_POLICIES:
            what = status.supported_values(PROPAGATION_POLICIES)
            raise status.invalid_option("propagationPolicy", FaultKind.NOT_SUPPORTED, what, policy)
        if options.get("orphanDependents") is True:
            policy = "Orphan"
        kept = [one for one in finalizers if one not in ("orphan", "foregroundDeletion")]
        if policy is None:
            kept = finalizers
        elif policy != "Background":
            kept.append("orphan" if policy == "Orphan" else "foregroundDeletion")
        namespace = stored.key.kind == "Namespace" and _finalizers_of_namespace(render(stored))
        if not kept and not grace and not namespace:
            store.finalize(stored.key)
            return None
        document = render(stored)
        metadata = document["metadata"]
        time = _later(self.now(), grace)
        old_time = stored.deletionTimestamp
        if old_time is None or time < old_time:
            metadata["deletionTimestamp"] = time
            if not namespace:
                metadata["deletionGracePeriodSeconds"] = grace
        if kept != finalizers:
            metadata["finalizers"] = kept
        if namespace:
            document.setdefault("status", {})["phase"] = "Terminating"
        return store.write(document)

    def _delete_instances(self, definition: Stored) -> None:
        """Deletes the objects of a definition that is gone."""
        for kind in {one.storage_kind for one in custom_resources(render(definition))}:
            for one in self.store.list(kind):
                self.store.finalize(one.key)

    def delete_collection(
        self, target: Target, options: Mapping[str, Any], query: Mapping[str, str], caller: Caller
    ) -> Listing:
        """Deletes the objects that ``query`` selects, and returns them. Raises ApiError."""
        listing = self.list(target, {key: one for key, one in query.items() if key != "limit"})
        for stored in listing.rows:
            one = Target(target.resource, stored.key.namespace, stored.key.name)
            self.delete(one, options, query, caller)
        return listing

    # --- subresources ---------------------------------------------------------------------------------------

    def _create_subresource(
        self, target: Target, body: Document, query: Mapping[str, str], caller: Caller
    ) -> Answer:
        kind = (target.resource.plural, target.subresource)
        if kind == ("pods", "eviction"):
            return self._evict(target, body, query, caller)
        if kind == ("pods", "binding"):
            return self._bind(target, body, query)
        if kind == ("serviceaccounts", "token"):
            return self._issue_token(target, body)
        raise status.method_not_allowed(target.resource)

    def _evict(self, target: Target, body: Document, query: Mapping[str, str], caller: Caller) -> Answer:
        stored = self._must(target)
        refused = None if _is_dry(query) else self.may_evict(self.store, stored.key, self.now())
        if refused is not None:
            denial = Denial(*refused)
            causes = [("DisruptionBudget", denial.cause, "")] if denial.cause else []
            if denial.code == 429:
                raise status.too_many_requests(denial.message, 0, causes)
            raise status.ApiError(denial.code, "InternalError", denial.message, causes=causes)
        options = body.get("deleteOptions")
        self.delete(target, options if isinstance(options, Mapping) else {}, query, caller)
        return Answer(
            {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, 201
        )

    def _bind(self, target: Target, body: Document, query: Mapping[str, str]) -> Answer:
        stored = self._must(target)
        aim = body.get("target")
        node = aim.get("name") if isinstance(aim, Mapping) else None
        if not isinstance(node, str) or not node:
            raise status.bad_request("target.name: Required value")
        document = render(stored)
        spec = document.setdefault("spec", {})
        if spec.get("nodeName"):
            why = f"pod {target.name} is already assigned to node {spec['nodeName']!r}".replace("'", '"')
            raise status.conflict(target.resource, target.name, why)
        spec["nodeName"] = node
        with status.refusals(target.resource, target.name, document):
            self._store(query).write(document)
        return Answer(
            {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, 201
        )

    def _issue_token(self, target: Target, body: Document) -> Answer:
        stored = self._must(target)
        if self.tokens is None:
            raise status.internal("this API issues no tokens")
        spec = body.get("spec")
        spec = spec if isinstance(spec, dict) else {}
        seconds = spec.get("expirationSeconds")
        seconds = 3600 if seconds is None else seconds
        if not isinstance(seconds, int) or isinstance(seconds, bool) or not 600 <= seconds <= 1 << 32:
            little = isinstance(seconds, int) and seconds < 600
            words = (
                "may not specify a duration less than 10 minutes"
                if little
                else "may not specify a duration larger than 2^32 seconds"
            )
            cause = status.field_cause("spec.expirationSeconds", FaultKind.INVALID, words, seconds)
            raise status.invalid_kind(status.TOKEN_REQUEST, [cause])
        given = spec.get("audiences")
        audiences = [str(one) for one in given] if isinstance(given, list) and given else [ISSUER]
        bound = self._bound(target, spec.get("boundObjectRef"))
        account = {"name": target.name, "uid": stored.uid}
        token, ends = self.tokens.issue(
            target.namespace, account, audiences=audiences, seconds=seconds, bound=bound
        )
        document = {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"name": target.name, "namespace": target.namespace, "creationTimestamp": self.now()},
            "spec": {**spec, "audiences": audiences, "expirationSeconds": seconds},
            "status": {"token": token, "expirationTimestamp": _time_text(ends)},
        }
        return Answer(document, 201)

    def _bound(self, target: Target, reference: Any) -> Document:
        if not isinstance(reference, Mapping):
            return {}
        kind, name = reference.get("kind"), reference.get("name")
        if kind not in ("Pod", "Secret") or not isinstance(name, str):
            raise status.bad_request("spec.boundObjectRef.kind: must be Pod or Secret")
        resource = self._core(f"{kind.lower()}s")
        stored = self._must(Target(resource, target.namespace, name))
        if reference.get("uid") not in (None, "", stored.uid):
            raise status.conflict(
                resource,
                name,
                f"the UID in the bound object reference ({reference['uid']})"
                f" does not match the UID in record ({stored.uid})",
            )
        return {kind.lower(): {"name": name, "uid": stored.uid}}

    def _scale(self, document: Document, target: Target) -> Document:
        resource, metadata = target.resource, document["metadata"]
        paths = resource.scale_paths
        shown: Document = {
            key: metadata[key]
            for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
            if key in metadata
        }
        current: Document = {"replicas": _number_at(document, paths.status)}
        selector = _at(document, paths.selector) if paths.selector else None
        if isinstance(selector, str):
            current["selector"] = selector
        elif isinstance(selector, Mapping):
            current["selector"] = status.selector_text(selector)
        return {
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": shown,
            "spec": {"replicas": _number_at(document, paths.spec)},
            "status": current,
        }

    def _update_scale(
        self, target: Target, body: Document, query: Mapping[str, str], caller: Caller
    ) -> Answer:
        stored = self._must(target)
        document = self.fresh(stored, target.resource)
        spec = body.get("spec")
        replicas = spec.get("replicas", 0) if isinstance(spec, Mapping) else 0
        if not isinstance(replicas, int) or isinstance(replicas, bool):
            raise status.bad_request("spec.replicas: must be an integer")
        if replicas < 0:
            raise status.invalid_scale(target.name, replicas)
        version = _metadata(body).get("resourceVersion")
        path = target.resource.scale_paths.spec
        inner = document
        for step in path[:-1]:
            inner = inner.setdefault(step, {})
        inner[path[-1]] = replicas
        document["metadata"].pop("resourceVersion")
        if version:
            document["metadata"]["resourceVersion"] = version
        whole = Target(target.resource, target.namespace, target.name)
        answer = self._put(whole, document, query, caller, through="scale")
        return Answer(self._scale(dict(answer.document), target), 200, answer.warnings)


# --- parts of requests --------------------------------------------------------------------------------------


def _shown(document: Document, resource: Resource) -> Document:
    """Returns a stored document in the version of ``resource``, with defaults: those of an object that came
    through the API are there already, since its fields are managed.
    """
    shown = resource.shown(document)
    if resource.schema is not None:
        custom: Document = json.loads(json.dumps(shown))
        fill_schema(custom, resource.schema)
        return custom
    return shown if "managedFields" in shown["metadata"] else decoded(resource, shown)


def _without_identity(document: Document) -> Document:
    """Returns a document without the metadata that the store gives: it was compared before."""
    given = ("uid", "resourceVersion", "generation", "creationTimestamp")
    metadata = {key: item for key, item in document["metadata"].items() if key not in given}
    return {**document, "metadata": metadata}


def _write(target: Target, caller: Caller, now: str) -> managed.Write:
    resource = target.resource
    return managed.Write(
        manager=caller.manager,
        now=now,
        subresource=target.subresource,
        schema=resource.schema,
        status="status" in resource.subresources,
    )


def _metadata(body: Document) -> Document:
    metadata = body.setdefault("metadata", {})
    if metadata is None:
        metadata = body["metadata"] = {}
    if not isinstance(metadata, dict):
        raise status.bad_request("metadata: must be an object")
    return metadata


def _check_kind(body: Document, resource: Resource) -> None:
    version, kind = body.setdefault("apiVersion", resource.apiVersion), body.setdefault("kind", resource.kind)
    if kind != resource.kind:
        short, package = str(version).rpartition("/")[2], resource.group.partition(".")[0] or "core"
        raise status.bad_request(
            f'{kind} in version "{short}" cannot be handled as a {resource.kind}: converting ({short}.{kind})'
            f" to ({package}.{resource.kind}): unknown conversion"
        )
    if version != resource.apiVersion:
        raise status.bad_request(
            f"the API version in the data ({version}) does not match the expected API version"
            f" ({resource.apiVersion})"
        )


def _check_versions(resource: Resource, name: str, new: Document, old: Document) -> None:
    uid, version = new.get("uid"), new.get("resourceVersion")
    if uid and uid != old["uid"]:
        raise status.conflict(
            resource,
            name,
            f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old['uid']}",
        )
    if version and str(version) != old["resourceVersion"]:
        raise status.conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )


def _merged_update(old: Document, body: Document, target: Target) -> Document:
    """Returns the part of ``old`` that an update may change: all but the status, or that of a subresource
    alone.
    """
    if target.subresource == "status":
        return status_updated(target.resource, body, old)
    if target.subresource == "finalize":
        spec = body.get("spec")
        finalizers = spec.get("finalizers", []) if isinstance(spec, Mapping) else []
        return {**old, "spec": {**old.get("spec", {}), "finalizers": finalizers}}
    new = updated(target.resource, body, old)
    metadata = {key: item for key, item in new["metadata"].items() if key not in _GIVEN}
    new["metadata"] = metadata | {key: old["metadata"][key] for key in _GIVEN if key in old["metadata"]}
    return new


def _check_preconditions(resource: Resource, stored: Stored, options: Mapping[str, Any]) -> None:
    wanted = options.get("preconditions")
    if not isinstance(wanted, Mapping):
        return
    for key, name, has in (
        ("uid", "UID", stored.uid),
        ("resourceVersion", "ResourceVersion", str(stored.resourceVersion)),
    ):
        value = wanted.get(key)
        if value and str(value) != has:
            raise status.conflict(
                resource,
                stored.key.name,
                f"Precondition failed: {name} in precondition: {value}, {name} in object meta: {has}",
            )


def _grace(stored: Stored, options: Mapping[str, Any]) -> int:
    """Returns for how many seconds a Pod may go on: 0 where nothing of it runs, or for all other kinds."""
    if stored.key.kind != "Pod":
        return 0
    document = render(stored)
    spec, given = document.get("spec") or {}, options.get("gracePeriodSeconds")
    ended = (document.get("status") or {}).get("phase") in ("Succeeded", "Failed")
    if ended or not spec.get("nodeName"):
        return 0
    if isinstance(given, int) and not isinstance(given, bool):
        return max(0, min(given, 1 << 31))
    own = spec.get("terminationGracePeriodSeconds", 30)
    return own if isinstance(own, int) and own >= 0 else 30


def _query_options(query: Mapping[str, str]) -> Document:
    options: Document = {}
    seconds = _number(query, "gracePeriodSeconds")
    if seconds is not None:
        options["gracePeriodSeconds"] = seconds
    if policy := query.get("propagationPolicy"):
        options["propagationPolicy"] = policy
    if "orphanDependents" in query:
        options["orphanDependents"] = _flag(query, "orphanDependents")
    return options


def _finalizers_of_namespace(document: Document) -> list[Any]:
    spec = document.get("spec")
    found = spec.get("finalizers") if isinstance(spec, Mapping) else None
    return found if isinstance(found, list) else []


def _ends_now(stored: Stored, document: Document) -> bool:
    """Returns whether a namespace that is being deleted has no finalizer left."""
    left = stored.finalizers or _finalizers_of_namespace(document)
    return stored.key.kind == "Namespace" and bool(stored.deletionTimestamp) and not left


def _match_cause(what: str) -> status.Cause:
    return status.field_cause("resourceVersionMatch", FaultKind.FORBIDDEN, what)


def _match_unknown(match: str, *known: str) -> status.Cause:
    what = status.supported_values(known)
    return status.field_cause("resourceVersionMatch", FaultKind.NOT_SUPPORTED, what, match)


def _check_options(causes: Sequence[status.Cause]) -> None:
    """Refuses the parameters of a list or watch (apimachinery, internalversion/validation)."""
    if causes:
        raise status.invalid_kind(status.LIST_OPTIONS, causes)


def _is_dry(query: Mapping[str, str]) -> bool:
    value = query.get("dryRun", "")
    if value not in ("", "All"):
        what = status.supported_values(["All"])
        raise status.invalid_option("dryRun", FaultKind.NOT_SUPPORTED, what, value)
    return value == "All"


def _flag(query: Mapping[str, str], name: str) -> bool:
    """Returns a boolean parameter: an empty one is true (apimachinery, conversion of queries)."""
    value = query.get(name)
    return value is not None and value.lower() not in ("false", "0", "f")


def _number(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name, "")
    if not text:
        return None
    if not text.lstrip("-").isdecimal() or len(text) > 18:
        raise status.bad_request(f"strconv.ParseInt: parsing {json.dumps(text[:40])}: invalid syntax")
    return int(text)


def _version_number(text: str) -> int:
    if not text:
        return 0
    if not text.isdecimal() or not text.isascii() or len(text) > 18:
        shown = json.dumps(text[:40])
        raise status.bad_request(
            f"invalid resource version: resourceVersion: Invalid value: {shown}: strconv.ParseUint: parsing"
            f" {shown}: invalid syntax"
        )
    return int(text)


def _at(document: Any, path: Sequence[str]) -> Any:
    for step in path:
        document = document.get(step) if isinstance(document, Mapping) else None
    return document


def _number_at(document: Any, path: Sequence[str]) -> int:
    value = _at(document, path)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _later(now: str, seconds: int) -> str:
    if not seconds:
        return now
    time = datetime.fromisoformat(now.replace("Z", "+00:00")) + timedelta(seconds=min(seconds, 1 << 31))
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def _time_text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
