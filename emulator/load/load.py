"""Loads targets into an Inventory, and reports everything that is wrong with them at once.

The only effect is reading files (and running the user's own Python topologies). Invariant: an Inventory holds
valid objects only, each identity once. Its notices list everything that was left out, or loading ends in an
InputError.
"""

from __future__ import annotations

import codecs
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TextIO

from ..errors import InputError, Problem, Words, worded
from ..objects.config import ClusterConfig, FlowCheck, Inventory, KubeProxyConfiguration
from ..objects.kinds import (
    Endpoints,
    EndpointSlice,
    Loaded,
    Namespace,
    Node,
    Origin,
    Pod,
    Service,
    Uninterpreted,
    Workload,
)
from ..objects.metallb import IPAddressPool, L2Advertisement
from ..objects.notices import (
    IgnoredFields,
    InputNotice,
    LeftOutByLabels,
    LeftOutKinds,
    NotManifests,
    OddPlace,
)
from ..objects.references import ObjectRef
from ..objects.warnings import IGNORE_ANNOTATION, Code, ManifestWarning, Part, read_codes
from .admit import admit, admit_uninterpreted, refused_unread
from .builder import Declared, TopologyError, build_topology
from .configmaps import (
    ADDRESS_POOLS,
    address_pool_objects,
    kube_proxy_key,
    metallb_key,
    metallb_objects,
    texts_of,
)
from .faults import (
    Fault,
    FieldPath,
    Oddity,
    cut,
    field_of,
    path_of,
    path_text,
    shown,
)
from .fields import RELEASE, find_unknown
from .kindcluster import translate
from .kustomization import (
    KustomizationError,
    is_kustomization,
    pipe,
    why_no_kustomization,
)
from .schema import (
    KIND_CLUSTER,
    PROXY_CONFIG,
    Kind,
    LeftOut,
    identify,
    is_cluster_scoped,
)
from .selection import EVERYTHING, Selection
from .targets import (
    MANIFEST_SUFFIXES,
    STDIN,
    Found,
    find_files,
    name_of,
)
from .unread import classify
from .yamltext import (
    MAX_BYTES,
    MAX_DEPTH,
    TOO_MUCH,
    Document,
    read_documents,
)

MAX_OBJECTS = 200_000  # in everything that is given, the items of lists included
MAX_PROBLEMS = 1_000  # reading ends after so many
MAX_WARNINGS = 1_000  # so many are kept for each code
_KIND = re.compile(r"""^[{\s]*["']?kind["']?\s*:""", re.MULTILINE)


def load(
    targets: Sequence[str],
    *,
    topologies: Path,
    stdin: TextIO | None = None,
    recursive: bool = False,
    kustomizations: Sequence[str] = (),
    build: Callable[[Path], str] | None = None,
    selection: Selection = EVERYTHING,
) -> Inventory:
    """Returns everything that ``targets`` hold, as one cluster.

    A target is the name of a topology in the directory ``topologies`` (``NAME.py``, ``NAME.yaml`` or
    ``NAME/``), the path of a ``.py``, ``.yaml``, ``.yml`` or ``.json`` file, a directory of manifests
    (``recursive``: of those below it as well), or ``-`` for ``stdin``. ``kustomizations`` are directories to
    be built by ``build``, and so is a target that is a kustomization. ``selection``: the namespace of objects
    that name none, and which objects are read. Raises InputError with every problem.
    """
    gathering = _Gathering(selection)
    for target in targets:
        with gathering.target("stdin" if target == STDIN else target):
            if target == STDIN:
                gathering.stream(sys.stdin if stdin is None else stdin, "stdin")
            else:
                gathering.found(find_files(target, topologies, recursive=recursive), build)
    for target in kustomizations:
        with gathering.target(target):
            gathering.kustomization(Path(target), build)
    return gathering.inventory(name_of([*targets, *kustomizations]))


class ReadingError(InputError):
    """Reports input with problems, and carries what could be read: later checks may find more that is wrong.

    ``sound`` holds the objects without a problem. ``services`` are all Services whose fields and addresses
    could be read, in the order of the input; empty if the cluster's shape could not be read.
    """

    def __init__(
        self, problems: Sequence[Problem], sound: Inventory, services: Sequence[Loaded[Service]]
    ) -> None:
        super().__init__(problems)
        self.sound, self.services = sound, tuple(services)


class _Source(Protocol):
    """Knows the line of each field of one document."""

    @property
    def lines(self) -> Mapping[FieldPath, int]: ...


@dataclass(frozen=True, slots=True)
class _Place:
    """Names the place of a manifest: ``base`` is its path inside the document, ``label`` the name that a
    Python topology gives it.
    """

    file: str
    document: int
    source: _Source
    base: FieldPath = ()
    label: str = ""

    @property
    def origin(self) -> Origin:
        return Origin(self.file, self.document, self._path(()), self._line_of)

    def inside(self, *steps: str | int) -> _Place:
        return replace(self, base=(*self.base, *steps))

    def problem(self, fault: Fault) -> Problem:
        return Problem(
            self.file,
            fault.what,
            fault.hint,
            self.document,
            self._path(fault.path),
            self.line(fault.path),
            field_of(fault.path),
        )

    def line(self, path: FieldPath = ()) -> int:
        """Returns the line of the field at ``path``, or of the mapping that lacks it."""
        at = (*self.base, *path)
        while at and at not in self.source.lines:
            at = at[:-1]
        return self.source.lines.get(at, 0)

    def _line_of(self, path: str) -> int:
        return self.line(path_of(path))

    def _path(self, path: FieldPath) -> str:
        return ".".join(part for part in (self.label, path_text((*self.base, *path))) if part)


class _Gathering:
    """Collects objects, problems and notices while targets are read."""

    def __init__(self, selection: Selection, *, whole: bool = True) -> None:
        """Starts empty. ``whole`` false: for what one step of a FlowCheck applies, which has neither a shape
        nor a configuration.
        """
        self._selection = selection
        self._passed_over: Counter[str] = Counter()  # objects without the labels that are asked for
        self._taken = 0  # those with them, and all that no labels are asked of
        self._whole = whole
        self._problems: list[Problem] = []
        self._documents = 0
        self._objects: dict[type[Any], list[Loaded[Any]]] = {}
        self._first: dict[tuple[str, str, str], _Place] = {}
        self._left_out: Counter[str] = Counter()
        self._ignored: dict[str, dict[str, None]] = {}
        self._warnings: dict[ManifestWarning, None] = {}
        self._warned: Counter[Code] = Counter()
        self._remarks: dict[str, tuple[Problem, int]] = {}  # by sort, the first one and how many
        self._services: list[Loaded[Service]] = []
        self._shape_known = True
        self._read = 0  # objects, those of lists included
        self._twice: list[Problem] = []  # objects of one target that another of its files repeats
        self._skipped: list[str] = []  # files of one target that are no manifests
        self._skips: list[InputNotice] = []  # notices about the rest of a directory
        self._elsewhere = ""  # hint at where objects of one target may be, if it holds none
        self._old_pools: list[tuple[dict[str, Any], str, _Place]] = []

    def problem(self, problem: Problem) -> None:
        self._problems.append(problem)

    @contextmanager
    def target(self, name: str) -> Iterator[None]:
        """Reads one target inside the ``with`` block, which must yield at least one object."""
        before = (self._documents, len(self._problems))
        self._elsewhere = ""
        yield
        if self._twice:
            self._problems.append(_told_once(name, self._twice))
            self._twice = []
        if before == (self._documents, len(self._problems)):
            hint = _none_of(self._skipped) if self._skipped else "a manifest has at least kind and metadata"
            self.problem(Problem(name, "holds no object", "; ".join(filter(None, (hint, self._elsewhere)))))
        elif self._skipped:
            self._skips.append(NotManifests(name, tuple(self._skipped)))
        self._skipped = []

    def found(self, found: Found, build: Callable[[Path], str] | None) -> None:
        """Reads the files of a target on the command line."""
        if found.problem:
            self.problem(found.problem)
        if found.kustomization:
            self.kustomization(found.kustomization, build)
        self._skips += found.notices
        self._elsewhere = found.hint
        for path in found.files:
            self.file(path, anything=found.directory)

    def kustomization(self, directory: Path, build: Callable[[Path], str] | None) -> None:
        """Reads the manifests that the kustomization in ``directory`` builds."""
        try:
            if not is_kustomization(directory):
                raise KustomizationError(*why_no_kustomization(directory))
            if build is None:
                raise KustomizationError("is a kustomization, which must be built first", pipe(directory))
            text = build(directory)
        except KustomizationError as error:
            self.problem(Problem(str(directory), error.what, error.hint))
        else:
            self.text(text, f"{directory} (built)")

    def inventory(self, name: str) -> Inventory:
        """Returns everything that was read. Raises ReadingError if there was any problem."""
        self._read_old_pools()
        if self._passed_over and not self._taken:
            counted = ", ".join(f"{count} {kind}" for kind, count in self._passed_over.most_common())
            what = worded("leaves out everything that podwire reads: {}", counted)
            hint = "an object's own metadata.labels count, not its selector, nor its template's"
            self.problem(Problem(f"-l {self._selection.labels}", what, hint))
        if self._problems:
            raise ReadingError(self._problems, self._sound(name), self._services if self._shape_known else ())
        return self._sound(name)

    def _sound(self, name: str) -> Inventory:
        notices: list[InputNotice] = [
            IgnoredFields(kind, tuple(fields)) for kind, fields in self._ignored.items()
        ]
        notices += [OddPlace(first, count - 1) for first, count in self._remarks.values()]
        notices += self._skips
        if self._passed_over:
            notices.append(LeftOutByLabels(self._selection.labels, tuple(self._passed_over.most_common())))
        if self._left_out:
            counted = sorted(self._left_out.items(), key=lambda item: (-item[1], item[0]))
            notices.append(LeftOutKinds(tuple(counted)))
        return Inventory(
            name=name,
            nodes=self._of(Node),
            namespaces=self._of(Namespace),
            pods=self._of(Pod),
            workloads=self._of(Workload),
            services=self._of(Service),
            endpointSlices=self._of(EndpointSlice),
            endpoints=self._of(Endpoints),
            uninterpreted=self._of(Uninterpreted),
            addressPools=self._of(IPAddressPool),
            l2Advertisements=self._of(L2Advertisement),
            cluster=next(iter(self._of(ClusterConfig)), None),
            proxy=next(iter(self._of(KubeProxyConfiguration)), None),
            flowChecks=self._of(FlowCheck),
            notices=tuple(notices),
            warnings=tuple(self._warnings),
        )

    def _of(self, type_: type[Any]) -> tuple[Loaded[Any], ...]:
        return tuple(self._objects.get(type_, ()))

    def file(self, path: Path, *, anything: bool = False) -> None:
        """Reads one file. ``anything``: it comes from a directory, and need not be a manifest."""
        if path.suffix == ".py":
            self._python(path)
            return
        if path.suffix not in MANIFEST_SUFFIXES and not path.is_fifo():  # a pipe: <(helm template …)
            self.problem(
                Problem(
                    str(path),
                    "is neither a topology nor a manifest",
                    f"known suffixes: .py {' '.join(MANIFEST_SUFFIXES)}",
                )
            )
            return
        try:
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
            if len(data) > MAX_BYTES:
                self.problem(Problem(str(path), f"is larger than {MAX_BYTES >> 20} MiB", TOO_MUCH))
                return
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            self.problem(_not_utf8(str(path), data, error.start))
        except OSError as error:
            self.problem(Problem(str(path), f"cannot be read: {error.strerror}"))
        else:
            self.text(text, str(path), anything=anything)

    def stream(self, stream: TextIO | None, name: str) -> None:
        try:
            # Python has no sys.stdin when the shell closed it
            text = stream.read(MAX_BYTES + 1) if stream else ""
        except (OSError, ValueError) as error:
            self.problem(Problem(name, f"cannot be read: {cut(str(error))}"))
        else:
            if not text.strip():
                self.problem(
                    Problem(name, "nothing came in on standard input", "did the command before | fail?")
                )
            self.text(text, name)

    def text(self, text: str, file: str, *, anything: bool = False) -> None:
        documents, faults = read_documents(text)
        if anything and (documents or faults) and not _is_manifest(text, documents):
            self._skipped.append(file)
            return
        self._problems += [
            Problem(file, fault.what, fault.hint, fault.document, "", fault.line) for fault in faults
        ]
        for document in documents:
            for remark in document.remarks:
                about = _about(document.value)
                at = (file, remark.line)
                self._warn(Code.YAML, about, at, why=remark.why, value=remark.value, more=remark.count - 1)
            self._document(document.value, _Place(file, document.number, document))
        self._documents += len(documents) + len(faults)

    @property
    def _full(self) -> bool:
        """Returns whether reading has reached its limit of objects or problems."""
        return self._read > MAX_OBJECTS or len(self._problems) >= MAX_PROBLEMS

    def _remark(self, sort: str, problem: Problem) -> None:
        """Keeps the first notice of each sort, and counts the others."""
        first, before = self._remarks.get(sort, (problem, 0))
        self._remarks[sort] = (first, before + 1)

    def _warn(self, code: Code, about: _About, at: tuple[str, int], field: str = "", **parts: Part) -> None:
        """Keeps a warning about an object, unless that ignores the code; the first thousand of each code."""
        if code in about.ignored or self._warned[code] >= MAX_WARNINGS:
            return
        self._warned[code] += 1
        one = ManifestWarning(
            code=code,
            object=ObjectRef(about.kind, about.name, field),
            parts=tuple(parts.items()),
            file=at[0],
            line=at[1],
        )
        self._warnings[one] = None

    def _python(self, path: Path) -> None:
        try:
            written = build_topology(path)
        except TopologyError as error:
            self.problem(Problem(str(path), error.what, error.hint, line=error.line))
            return
        self._documents += 1
        for one in written:
            self._written(one, str(path))

    def _written(self, one: Declared, file: str) -> None:
        place = _Place(file, 0, one, label=one.label)
        if not isinstance(one.value, str):
            try:
                self._document(_plain(one.value), place)
            except _UnfitError as error:
                self.problem(place.problem(error.fault))
            return
        documents, faults = read_documents(one.value)
        for text_fault in faults:
            self.problem(
                place.problem(
                    Fault(
                        (),
                        worded("line {} of the text {}", text_fault.line, Words(text_fault.what)),
                        text_fault.hint,
                    )
                )
            )
        for document in documents:
            self._document(document.value, place)

    def _document(self, value: Any, place: _Place, kind: str = "", api_version: str = "") -> None:
        """Reads one document, or one item of a List. The List's kind implies the item's kind and apiVersion,
        if those are missing.
        """
        self._read += 1
        if self._full:
            return
        if self._read == MAX_OBJECTS:
            self.problem(place.problem(Fault((), f"is one of more than {MAX_OBJECTS} objects", TOO_MUCH)))
            return
        if not isinstance(value, dict):
            hint = (
                "several objects go into documents of their own (---) or into a List"
                if isinstance(value, list)
                else ""
            )
            self.problem(
                place.problem(
                    Fault((), worded("must be a mapping with kind and metadata, is {}", shown(value)), hint)
                )
            )
            return
        name = value.get("kind")
        if name == "List" or (isinstance(name, str) and name.endswith("List") and "items" in value):
            self._list(name, value, place)
            return
        found = identify(value, kind=kind, api_version=api_version)
        if isinstance(found, Fault):
            self.problem(place.problem(found))
        elif isinstance(found, LeftOut):
            if found.name == "AddressPool.metallb.io" and value.get("apiVersion") in ADDRESS_POOLS:
                for one in address_pool_objects(value):
                    self._document(one, place)
                return
            self._leave_out(found.name, value, place, kind, api_version)
        elif found.name == "ConfigMap":
            self._config_map(value, place)
        elif found.apiVersion == KIND_CLUSTER:
            self._kind_cluster(found, value, place)
        else:
            self._object(found, value, place)

    def _list(self, name: str, value: Mapping[str, Any], place: _Place) -> None:
        items = value.get("items") or []
        if not isinstance(items, list):
            self.problem(place.problem(Fault(("items",), worded("must be a list, is {}", shown(items)))))
            return
        version = value.get("apiVersion")
        if not isinstance(version, str) or not version:
            missing = version in (None, "")
            what = (
                f"is required for kind {name}"
                if missing
                else worded("must be a string, is {}", shown(version))
            )
            hint = "write v1" if name == "List" else "write the apiVersion of its items"
            self.problem(place.problem(Fault(("apiVersion",), what, hint)))
            return
        implied = version if name != "List" else ""
        for i, item in enumerate(items):
            if self._full:
                break
            self._document(item, place.inside("items", i), name.removesuffix("List"), implied)

    def _kind_cluster(self, kind: Kind, value: Mapping[str, Any], place: _Place) -> None:
        """Reads kind's own Cluster, and the kube-proxy configuration of its patches."""
        translation = translate(value)
        self._problems += [place.problem(fault) for fault in translation.faults]
        if translation.ignored:
            self._ignored.setdefault(kind.name, {}).update(translation.ignored)
        self._object(kind, translation.cluster, place)
        if translation.proxy:
            self._document(translation.proxy, place.inside(*translation.proxy_path), api_version=PROXY_CONFIG)

    def _config_map(self, value: Mapping[str, Any], place: _Place) -> None:
        """Reads kube-proxy's configuration or MetalLB's old pools from their ConfigMap; leaves every other
        ConfigMap out.
        """
        if key := kube_proxy_key(value):
            for document, inside in self._inside(value, key, place):
                if isinstance(document, dict) and document.get("kind") == "KubeProxyConfiguration":
                    document.setdefault("clusterCIDR", "")  # a running kube-proxy has no other default
                    if self._of(KubeProxyConfiguration):
                        self._remark(
                            "several",
                            inside.problem(
                                Fault((), "is a second configuration of kube-proxy: the first one is used")
                            ),
                        )
                        continue
                self._document(document, inside)
        elif key := metallb_key(value):
            for document, inside in self._inside(value, key, place):
                if isinstance(document, dict):
                    self._old_pools.append((document, texts_of(value)[0], inside))
        else:
            self._leave_out("ConfigMap", value, place)

    def _leave_out(
        self, name: str, value: Mapping[str, Any], place: _Place, kind: str = "", api_version: str = ""
    ) -> None:
        """Keeps an object whose kind has no meaning here, and counts or warns of it."""
        if not self._selection.takes(None, value):
            self._passed_over[cut(name)] += 1
            return
        self._uninterpreted(value, place, kind, api_version, name)

    def _uninterpreted(
        self, value: Mapping[str, Any], place: _Place, kind: str = "", api_version: str = "", name: str = ""
    ) -> None:
        """Keeps an object whose kind has no meaning here, if it has an identity. ``name`` is the kind as
        messages have it. An object that changes what packets do in a cluster is warned of, all others are
        counted.
        """
        implied = {"apiVersion": api_version, "kind": kind}
        value = {**value, **{key: said for key, said in implied.items() if value.get(key) is None}}
        value, elsewhere = self._selection.place(None, value)
        if elsewhere:
            self.problem(place.problem(elsewhere))
        self._problems += [place.problem(fault) for fault in refused_unread(value)]
        admission = admit_uninterpreted(value)
        one = admission.object
        code = classify(one.kind, one.apiVersion, value) if one is not None else None
        about = _about(value)
        if code is None:
            self._left_out[cut(name)] += 1
        else:
            self._warn(code, about, (place.file, place.line()))
        self._note_codes(about, value, place)
        if not admission.faults:
            self._objects.setdefault(Uninterpreted, []).append(Loaded(one, value, place.origin))

    def _inside(self, value: Mapping[str, Any], key: str, place: _Place) -> Iterator[tuple[Any, _Place]]:
        """Yields the documents of the text that a ConfigMap has under ``key``."""
        inside = place.inside("data", key)
        documents, faults = read_documents(value["data"][key])
        for fault in faults:
            self.problem(
                inside.problem(
                    Fault((), worded("line {} of the text {}", fault.line, Words(fault.what)), fault.hint)
                )
            )
        yield from ((document.value, inside) for document in documents)

    def _read_old_pools(self) -> None:
        """Reads MetalLB's ConfigMaps, as MetalLB does: only if there are no IPAddressPools."""
        waiting, self._old_pools = self._old_pools, []
        if waiting and self._of(IPAddressPool):
            self._left_out["ConfigMap"] += len(waiting)
            return
        for configuration, namespace, place in waiting:
            for index, document in metallb_objects(configuration, namespace):
                self._document(document, place.inside("address-pools", index))

    def _object(self, kind: Kind, value: Mapping[str, Any], place: _Place) -> None:
        if kind.exact and not self._whole:
            hint = "a step applies objects of Kubernetes' own"
            self.problem(place.problem(Fault(("kind",), f"{kind.name} cannot be applied in a step", hint)))
            return
        if not self._selection.takes(kind, value):
            self._passed_over[kind.name] += 1
            return
        self._taken += not kind.exact and kind.name != "Node"
        value, elsewhere = self._selection.place(kind, value)
        if elsewhere:
            self.problem(place.problem(elsewhere))
        applied = (
            tuple(self._applied(manifests, at) for manifests, at in _applies(value, place))
            if kind.name == "FlowCheck"
            else ()
        )
        decoded, faults, odd, ignored = admit(kind, value)
        self._note_slips(kind, value, place)
        self._note_codes(_about(value, kind), value, place)
        for one in odd:
            if isinstance(one, Oddity):
                parts: dict[str, Part] = {"why": one.why} if one.why else {}
                parts |= {"value": one.value, "meant": one.meant}
                at = (place.file, place.line(one.path))
                self._warn(one.code, _about(value, kind), at, path_text(one.path), **parts)
            else:
                self._remark(path_text(one.path), place.problem(one))
        self._problems += sorted((place.problem(fault) for fault in faults), key=lambda problem: problem.line)
        if ignored:
            self._ignored.setdefault(kind.name, {}).update(dict.fromkeys(ignored))
        if isinstance(decoded, Service) and not any(
            {"clusterIP", "clusterIPs"} & {*fault.path} for fault in faults
        ):
            unsure = any("protocol" in fault.path for fault in faults)  # which node port it claims
            claims = replace(decoded, spec=replace(decoded.spec, ports=())) if unsure else decoded
            self._services.append(Loaded(claims, value, place.origin))
        if faults:
            self._shape_known &= kind.type is not ClusterConfig
            return
        if isinstance(decoded, FlowCheck):
            decoded = replace(decoded, applied=applied)
        self._once(kind, decoded, place)
        self._objects.setdefault(type(decoded), []).append(Loaded(decoded, value, place.origin))

    def _note_slips(self, kind: Kind, value: Mapping[str, Any], place: _Place) -> None:
        """Notes the fields that kubectl warns of as unknown; not in objects that an API server wrote, nor in
        those of another release's API.
        """
        if kind.exact or value.get("apiVersion", kind.apiVersion) != kind.apiVersion or _is_stored(value):
            return
        for path, hint in find_unknown(kind.name, value):
            at = (place.file, place.line(path))
            about = _about(value, kind)
            self._warn(Code.UNKNOWN_FIELD, about, at, path_text(path), release=RELEASE, hint=hint)

    def _note_codes(self, about: _About, value: Mapping[str, Any], place: _Place) -> None:
        """Notes the words in ``podwire.dev/ignore`` that are no code: of an object, and of its template."""
        for path in (("metadata",), ("spec", "template", "metadata")):
            if unknown := read_codes(_wish(value, path))[1]:
                at = (*path, "annotations", IGNORE_ANNOTATION)
                where = (place.file, place.line(at))
                self._warn(Code.UNKNOWN_CODE, about, where, path_text(at), words=tuple(map(cut, unknown)))

    def _applied(self, manifests: Sequence[Any], place: _Place) -> tuple[Loaded[Any], ...]:
        """Returns the objects of the ``manifests`` of a FlowCheck's step, which stand at ``place``."""
        inner = _Gathering(replace(self._selection, selector=None, labels=""), whole=False)
        for i, manifest in enumerate(manifests):
            inner._document(manifest, place.inside(i))
        self._left_out.update(inner._left_out)
        self._warnings |= inner._warnings
        self._problems += inner._problems
        return tuple(loaded for objects in inner._objects.values() for loaded in objects)

    def _once(self, kind: Kind, value: Any, place: _Place) -> None:
        """Reports an object whose identity was read before."""
        if isinstance(value, (ClusterConfig, KubeProxyConfiguration)):
            identity, what = (kind.name, "", ""), Words(f"there is one {kind.name} already")
        else:
            meta = value.metadata
            if not meta.name:
                return  # generateName: a controller gives it a name
            full = f"{meta.namespace}/{meta.name}" if meta.namespace else meta.name
            identity = (kind.name, meta.namespace, meta.name)
            what = worded("{} {} is there already", Words(kind.name), full)
        first = self._first.setdefault(identity, place)
        if first is not place:
            where = f"{first.file}:{first.line()}" + (
                f": document {first.document}" if first.document else ""
            )
            problem = place.problem(Fault((), worded("{}, in {}", what, where), "keep one of the two"))
            (self._problems if first.file == place.file else self._twice).append(problem)


@dataclass(frozen=True, slots=True)
class _About:
    """Names the object of a warning, and the codes that it ignores."""

    kind: str = ""
    name: str = ""
    ignored: frozenset[Code] = frozenset()


def _about(value: Any, kind: Kind | None = None) -> _About:
    """Returns the identity of a manifest, whatever is wrong with it."""
    if not isinstance(value, Mapping):
        return _About()
    metadata = value.get("metadata")
    meta: Mapping[str, Any] = metadata if isinstance(metadata, Mapping) else {}
    name, said = kind.name if kind else str(value.get("kind") or ""), str(value.get("apiVersion") or "")
    namespaced = kind.namespaced if kind else not is_cluster_scoped(name, said)
    namespace = str(meta.get("namespace") or "default") if namespaced else ""
    own = str(meta.get("name") or meta.get("generateName") or "")
    ignored, _ = read_codes(_wish(value, ("metadata",)))
    return _About(cut(name), "/".join(filter(None, (namespace, own))) if own else "", ignored)


def _wish(value: Any, path: FieldPath) -> Sequence[str]:
    """Returns the text of ``podwire.dev/ignore`` in the metadata at ``path``, if there is one."""
    for step in (*path, "annotations", IGNORE_ANNOTATION):
        value = value.get(step) if isinstance(value, Mapping) else None
    return [value] if isinstance(value, str) else []


def _not_utf8(file: str, data: bytes, position: int) -> Problem:
    """Returns the problem of a file whose byte at ``position`` begins no UTF-8 character."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return Problem(file, "is UTF-16 text", "save it as UTF-8, in PowerShell with Out-File -Encoding utf8")
    return Problem(file, worded("is not UTF-8 text (byte {})", position), "save it as UTF-8")


def _is_stored(value: Mapping[str, Any]) -> bool:
    """Returns whether an API server wrote ``value``: it leaves no unknown field."""
    metadata = value.get("metadata")
    return isinstance(metadata, dict) and bool(metadata.get("uid") or metadata.get("resourceVersion"))


def _none_of(files: Sequence[str]) -> str:
    if len(files) == 1:
        return f"its only file, {Path(files[0]).name}, is no manifest"
    return f"none of its {len(files)} files is a manifest"


def _told_once(target: str, twice: Sequence[Problem]) -> Problem:
    """Returns one problem for all objects that several files of ``target`` repeat."""
    if len(twice) == 1:
        return twice[0]
    files = len({problem.file for problem in twice})
    first = twice[0]
    what = worded(
        "{} objects of {} are there already, the first at {}:{}: {}",
        len(twice),
        _count(files, "file"),
        first.file,
        first.line,
        first.what,
    )
    return Problem(
        target,
        what,
        "variants of one application are not one cluster: name the directory or the files that you mean",
    )


def _is_manifest(text: str, documents: Sequence[Document]) -> bool:
    """Returns whether a file of a directory is meant for a cluster: it has a kind, and is no patch for
    kustomize.
    """
    kinds = [
        document.value
        for document in documents
        if isinstance(document.value, dict) and isinstance(document.value.get("kind"), str)
    ]
    if kinds:
        return not all("$patch" in value for value in kinds)
    return not documents and bool(_KIND.search(text))  # unreadable, but it names a kind


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _applies(check: Mapping[str, Any], place: _Place) -> Iterator[tuple[Sequence[Any], _Place]]:
    """Yields the list that each step of a FlowCheck applies, and its place; an empty list where it is none
    (decoding reports that).
    """
    spec = check.get("spec")
    steps = spec.get("steps") if isinstance(spec, dict) else None
    for i, step in enumerate(steps if isinstance(steps, list) else ()):
        manifests = step.get("apply") if isinstance(step, dict) else None
        yield manifests if isinstance(manifests, list) else (), place.inside("spec", "steps", i, "apply")


def _plain(value: Any, path: FieldPath = ()) -> Any:
    """Returns a topology's value in JSON's types: tuples become lists. Raises _UnfitError for values that no
    manifest can hold.
    """
    if len(path) > MAX_DEPTH:
        raise _UnfitError(Fault(path[:1], f"is nested more than {MAX_DEPTH} levels deep"))
    if isinstance(value, Mapping):
        return {str(key): _plain(item, (*path, str(key))) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray)):
        return [_plain(item, (*path, i)) for i, item in enumerate(value)]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise _UnfitError(Fault(path, "is too large a number"))
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise _UnfitError(Fault(path, f"a manifest cannot hold a Python {type(value).__name__}"))


class _UnfitError(Exception):
    """Reports a Python value that no manifest can hold."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        super().__init__(fault.what)
