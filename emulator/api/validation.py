"""Refuses objects of Kubernetes' own kinds in the words of kube-apiserver, field by field.

Pure. These are the mistakes that clients make most, and whose words they compare (k/k pkg/apis/*/validation,
apimachinery pkg/util/validation). The store's admission (:mod:`emulator.load.admit`) comes after: it refuses
all else that podwire cannot emulate, in words of its own. ``customs`` is for CustomResourceDefinitions,
``structural`` for their objects, ``immutable`` for what an update may not change.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, get_args

from ..load.rules.checks import LABEL, PATH_SEGMENT, PORT_NAME, QUALIFIED, SUBDOMAIN, fits
from ..load.rules.pods import DNS_POLICIES, RESTART_POLICIES
from ..net import FAMILIES, AddressError, Prefix, TransportProtocol, family_of, parse_sloppy_prefix
from .structural import Violation

Document: TypeAlias = Mapping[str, Any]
Violations: TypeAlias = Iterator[Violation]

_LABEL_FORM = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN_FORM = rf"{_LABEL_FORM}(\.{_LABEL_FORM})*"
_QUALIFIED_FORM = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_REGEX = "regex used for validation is"
_LABEL_WORDS = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and"
    f" end with an alphanumeric character (e.g. 'my-name',  or '123-abc', {_REGEX} '{_LABEL_FORM}')"
)
_SUBDOMAIN_WORDS = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must"
    " start and end with an alphanumeric character (e.g. 'example.com',"
    f" {_REGEX} '{_SUBDOMAIN_FORM}')"
)
_WILDCARD_WORDS = (
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must"
    " consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character"
    rf" (e.g. '*.example.com', {_REGEX} '\*\.{_SUBDOMAIN_FORM}')"
)
_KEY_WORDS = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an"
    f" alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', {_REGEX} '{_QUALIFIED_FORM}')"
)
_VALUE_WORDS = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must"
    " start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345',"
    f" {_REGEX} '({_QUALIFIED_FORM})?')"
)
_CONFIG_KEY_WORDS = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or"
    f" 'KEY_NAME',  or 'key-name', {_REGEX} '[-._a-zA-Z0-9]+')"
)
_ADDRESS_WORDS = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_CIDR_WORDS = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
_NOT_NEGATIVE = "must be greater than or equal to 0"
_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+\Z")
_RULES = {
    LABEL: (_LABEL_WORDS, 63),
    SUBDOMAIN: (_SUBDOMAIN_WORDS, 253),
}
# kinds whose names have another form than a subdomain's (NameIsDNSLabel, ValidatePathSegmentName)
_NAMES = {
    "Namespace": LABEL,
    "Service": LABEL,  # since 1.37 (RelaxedServiceNameValidation)
    **dict.fromkeys(("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "IPAddress"), PATH_SEGMENT),
}
PROTOCOLS = tuple(sorted(get_args(TransportProtocol)))
_SERVICE_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_WORKLOADS = ("DaemonSet", "Deployment", "ReplicaSet", "ReplicationController", "StatefulSet")
_MOST_DATA = 1 << 20  # bytes of a ConfigMap or Secret (core/v1, MaxSecretSize)


def violations(document: Document, group: str, kind: str) -> list[Violation]:
    """Returns what is wrong with a whole object, with defaults."""
    if (group, kind) == ("", "Service") and (first := [*_cluster_ips(document)]):
        return first  # a Service's addresses are read before the rest of it is checked
    found = [*_metadata(_map(document.get("metadata")), kind)]
    check = _KINDS.get((group, kind))
    if check is not None:
        found += check(document)
    return found


# --- the forms of faults ------------------------------------------------------------------------------------


def shown(value: Any) -> str:
    """Returns a value as a field error shows it: text in quotes, a structure as JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def invalid(field: str, value: Any, words: str) -> Violation:
    return Violation(field, "FieldValueInvalid", f"Invalid value: {shown(value)}: {words}")


def required(field: str, words: str = "") -> Violation:
    return Violation(field, "FieldValueRequired", f"Required value{': ' if words else ''}{words}")


def unsupported(field: str, value: Any, known: Sequence[str]) -> Violation:
    values = ", ".join(map(shown, known))
    message = f"Unsupported value: {shown(value)}: supported values: {values}"
    return Violation(field, "FieldValueNotSupported", message)


def duplicate(field: str, value: Any) -> Violation:
    return Violation(field, "FieldValueDuplicate", f"Duplicate value: {shown(value)}")


# --- names and metadata -------------------------------------------------------------------------------------


def _name(field: str, value: Any, rule: Any) -> Violations:
    if not isinstance(value, str):
        return
    words, longest = _RULES[rule]
    if len(value.encode()) > longest:
        yield invalid(field, value, f"must be no more than {longest} bytes")
    if not rule.pattern.match(value):
        yield invalid(field, value, words)


def _metadata(metadata: Document, kind: str) -> Violations:
    name, rule = metadata.get("name"), _NAMES.get(kind, SUBDOMAIN)
    if not name:
        yield required("metadata.name", "name or generateName is required")
    elif rule in _RULES:
        yield from _name("metadata.name", name, rule)
    elif isinstance(name, str):
        yield from _path_segment(name)
    # Go's maps have no order: apimachinery checks values and keys in the order of the keys
    for key, value in sorted(_map(metadata.get("labels")).items(), key=lambda one: one[0], reverse=True):
        yield from _label("metadata.labels", key, value)
    for key in sorted(_map(metadata.get("annotations"))):
        yield from label_key_faults("metadata.annotations", key.lower())


def _path_segment(name: str) -> Violations:
    if name in (".", ".."):
        yield invalid("metadata.name", name, f"may not be '{name}'")
    for letter in "/%":
        if letter in name:
            yield invalid("metadata.name", name, f"may not contain '{letter}'")


def _label(field: str, key: str, value: Any) -> Violations:
    yield from label_key_faults(field, key)
    yield from label_value_faults(field, value)


def label_value_faults(field: str, value: Any) -> Violations:
    """Yields what is wrong with the value of a label (IsValidLabelValue)."""
    if isinstance(value, str) and len(value.encode()) > 63:
        yield invalid(field, value, "must be no more than 63 bytes")
    if isinstance(value, str) and value and not QUALIFIED.pattern.match(value):
        yield invalid(field, value, _VALUE_WORDS)


def label_key_faults(field: str, key: str) -> Violations:
    """Yields what is wrong with a qualified name: ``[prefix/]name`` (IsQualifiedName)."""
    prefix, slash, name = key.partition("/")
    if not slash:
        prefix, name = "", prefix
    if "/" in name:
        yield invalid(field, key, f"a qualified name {_KEY_WORDS.removeprefix('name part ')[:-1]} with an"
                      " optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')")  # fmt: skip
        return
    if slash and not prefix:
        yield invalid(field, key, "prefix part must be non-empty")
    elif slash and not fits(prefix, SUBDOMAIN):
        yield invalid(field, key, f"prefix part {_SUBDOMAIN_WORDS}")
    if not name:
        yield invalid(field, key, "name part must be non-empty")
    elif len(name.encode()) > 63:
        yield invalid(field, key, "name part must be no more than 63 bytes")
    if not QUALIFIED.pattern.match(name):
        yield invalid(field, key, _KEY_WORDS)


# --- ConfigMaps and Secrets ---------------------------------------------------------------------------------


def _config(document: Document) -> Violations:
    data, binary = _map(document.get("data")), _map(document.get("binaryData"))
    for key in sorted(data):
        yield from _config_key(f"data[{key}]", key)
        if key in binary:
            words = f"duplicate of key present in binaryData[{key}]"
            yield invalid(f"data[{key}]", key, words)
    for key in sorted(binary):
        yield from _config_key(f"binaryData[{key}]", key)
    size = sum(len(str(value).encode()) for value in (*data.values(), *binary.values()))
    if size > _MOST_DATA:
        yield Violation("", "FieldValueTooLong", f"Too long: may not be more than {_MOST_DATA} bytes")


def _secret(document: Document) -> Violations:
    data = _map(document.get("data"))
    for key in sorted(data):
        yield from _config_key(f"data[{key}]", key)
    if sum(len(str(value)) for value in data.values()) * 3 // 4 > _MOST_DATA:
        yield Violation("data", "FieldValueTooLong", f"Too long: may not be more than {_MOST_DATA} bytes")
    wanted = {
        "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
        "kubernetes.io/dockercfg": (".dockercfg",),
        "kubernetes.io/tls": ("tls.crt", "tls.key"),
        "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    }
    for key in wanted.get(str(document.get("type")), ()):
        if key not in data:
            yield required(f"data[{key}]")


def _config_key(field: str, key: str) -> Violations:
    if len(key.encode()) > 253:
        yield invalid(field, key, "must be no more than 253 bytes")
    if not _CONFIG_KEY.match(key):
        yield invalid(field, key, _CONFIG_KEY_WORDS)
    elif key in (".", "..") or key.startswith(".."):
        yield invalid(field, key, "must not be '.'" if key == "." else "must not start with '..'")


# --- Services and their endpoints ---------------------------------------------------------------------------


def _cluster_ips(document: Document) -> Violations:
    spec = _map(document.get("spec"))
    given = _list(spec.get("clusterIPs")) or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
    for index, ip in enumerate(given):
        if isinstance(ip, str) and ip not in ("", "None") and (family_of(ip) is None or "/" in ip):
            yield invalid(f"spec.clusterIPs[{index}]", ip, _ADDRESS_WORDS)


def _service(document: Document) -> Violations:
    spec = _map(document.get("spec"))
    ports, type_ = [*_maps(spec.get("ports"))], spec.get("type")
    headless = spec.get("clusterIP") == "None"
    if not ports and not headless and type_ != "ExternalName":
        yield required("spec.ports")
    for index, port in enumerate(ports):
        field = f"spec.ports[{index}]"
        name = port.get("name")
        if not name and len(ports) > 1:
            yield required(f"{field}.name")
        elif name:
            yield from _name(f"{field}.name", name, LABEL)
            if any(name == one.get("name") for one in ports[:index]):
                yield duplicate(f"{field}.name", name)
        yield from _port(f"{field}.port", port.get("port"))
        if port.get("protocol") not in PROTOCOLS:
            yield unsupported(f"{field}.protocol", port.get("protocol"), PROTOCOLS)
        target = port.get("targetPort")
        if isinstance(target, str):
            yield from _port_name(f"{field}.targetPort", target)
        elif target is not None:
            yield from _port(f"{field}.targetPort", target)
        if port.get("nodePort") and type_ in ("ClusterIP", "ExternalName"):
            forbidden = f"Forbidden: may not be used when `type` is '{type_}'"
            yield Violation(f"{field}.nodePort", "FieldValueForbidden", forbidden)
    for key, value in sorted(_map(spec.get("selector")).items()):
        yield from _label("spec.selector", key, value)
    if spec.get("sessionAffinity") not in ("ClientIP", "None"):
        yield unsupported("spec.sessionAffinity", spec.get("sessionAffinity"), ("ClientIP", "None"))
    if type_ not in _SERVICE_TYPES:
        yield unsupported("spec.type", type_, _SERVICE_TYPES)
    for index, ip in enumerate(_list(spec.get("externalIPs"))):
        if isinstance(ip, str) and (family_of(ip) is None or "/" in ip):
            yield invalid(f"spec.externalIPs[{index}]", ip, _ADDRESS_WORDS)
    external = type_ in ("NodePort", "LoadBalancer") or (type_ == "ClusterIP" and spec.get("externalIPs"))
    policy = spec.get("externalTrafficPolicy")
    if policy and not external:
        words = "may only be set for externally-accessible services"
        yield invalid("spec.externalTrafficPolicy", policy, words)
    elif external and policy not in ("Cluster", "Local"):
        yield unsupported("spec.externalTrafficPolicy", policy or "", ("Cluster", "Local"))
    inner = spec.get("internalTrafficPolicy")
    if inner is not None and inner not in ("Cluster", "Local"):
        yield unsupported("spec.internalTrafficPolicy", inner, ("Cluster", "Local"))


def _slice(document: Document) -> Violations:
    type_, known = document.get("addressType"), (*FAMILIES, "FQDN")
    if not type_:
        yield required("addressType")
    elif type_ not in known:
        yield unsupported("addressType", type_, sorted(known))
    for index, port in enumerate(_maps(document.get("ports"))):
        if name := port.get("name"):
            yield from _name(f"ports[{index}].name", name, LABEL)
        if port.get("protocol") not in PROTOCOLS:
            yield unsupported(f"ports[{index}].protocol", port.get("protocol"), PROTOCOLS)
    for index, one in enumerate(_maps(document.get("endpoints"))):
        field = f"endpoints[{index}].addresses"
        addresses = _list(one.get("addresses"))
        if not addresses:
            yield required(field, "must contain at least 1 address")
        for each in addresses:
            if type_ in FAMILIES and isinstance(each, str):
                found = family_of(each)
                if found is None or found.word != type_ or "/" in each:
                    yield invalid(field, each, f"must be an {type_} address")


def _port(field: str, number: Any) -> Violations:
    if number in (None, 0):
        yield invalid(field, 0, "must be between 1 and 65535, inclusive")
    elif isinstance(number, int) and not 1 <= number <= 65535:
        yield invalid(field, number, "must be between 1 and 65535, inclusive")


def _port_name(field: str, name: str) -> Violations:
    if len(name) > PORT_NAME.longest:
        yield invalid(field, name, f"must be no more than {PORT_NAME.longest} bytes")
    if not re.fullmatch("[-a-z0-9]+", name):
        words = "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
        yield invalid(field, name, words)
    if not re.search("[a-z]", name):
        yield invalid(field, name, "must contain at least one letter (a-z)")
    if "--" in name:
        yield invalid(field, name, "must not contain consecutive hyphens")
    if name.startswith("-") or name.endswith("-"):
        yield invalid(field, name, "must not begin or end with a hyphen")


# --- Pods and what makes them -------------------------------------------------------------------------------


def _pod(document: Document) -> Violations:
    yield from _pod_spec("spec", _map(document.get("spec")), RESTART_POLICIES)


def _pod_spec(path: str, spec: Document, policies: Sequence[Any]) -> Violations:
    volumes = [one.get("name") for one in _maps(spec.get("volumes"))]
    for index, name in enumerate(volumes):
        if not name:
            yield required(f"{path}.volumes[{index}].name")
        elif name in volumes[:index]:
            yield duplicate(f"{path}.volumes[{index}].name", name)
        else:
            yield from _name(f"{path}.volumes[{index}].name", name, LABEL)
    containers = [*_maps(spec.get("containers"))]
    if not containers:
        yield required(f"{path}.containers")
    names: list[Any] = []
    for index, one in enumerate(containers):
        yield from _container(f"{path}.containers[{index}]", one, volumes, names)
    for index, one in enumerate(_maps(spec.get("initContainers"))):
        yield from _container(f"{path}.initContainers[{index}]", one, volumes, names)
    if spec.get("restartPolicy") not in policies:
        yield unsupported(f"{path}.restartPolicy", spec.get("restartPolicy"), policies)
    if spec.get("dnsPolicy") not in DNS_POLICIES:
        yield unsupported(f"{path}.dnsPolicy", spec.get("dnsPolicy"), DNS_POLICIES)
    if name := spec.get("nodeName"):
        yield from _name(f"{path}.nodeName", name, SUBDOMAIN)
    for key, value in sorted(_map(spec.get("nodeSelector")).items()):
        yield from _label(f"{path}.nodeSelector", key, value)


def _container(path: str, one: Document, volumes: Sequence[Any], names: list[Any]) -> Violations:
    name = one.get("name")
    if not name:
        yield required(f"{path}.name")
    else:
        yield from _name(f"{path}.name", name, LABEL)
    for index, port in enumerate(_maps(one.get("ports"))):
        field = f"{path}.ports[{index}]"
        if port.get("name"):
            yield from _port_name(f"{field}.name", str(port["name"]))
        if not port.get("containerPort"):
            yield required(f"{field}.containerPort")
        else:
            yield from _port(f"{field}.containerPort", port["containerPort"])
        if port.get("hostPort"):
            yield from _port(f"{field}.hostPort", port["hostPort"])
        if port.get("protocol") not in PROTOCOLS:
            yield unsupported(f"{field}.protocol", port.get("protocol"), PROTOCOLS)
    for index, variable in enumerate(_maps(one.get("env"))):
        if not variable.get("name"):
            yield required(f"{path}.env[{index}].name")
    for index, mount in enumerate(_maps(one.get("volumeMounts"))):
        field = f"{path}.volumeMounts[{index}]"
        if not mount.get("name"):
            yield required(f"{field}.name")
        elif mount["name"] not in volumes:
            yield Violation(f"{field}.name", "FieldValueNotFound", f"Not found: {shown(mount['name'])}")
        if not mount.get("mountPath"):
            yield required(f"{field}.mountPath")
    if name and name in names:
        yield duplicate(f"{path}.name", name)
    names.append(name)
    if not one.get("image"):
        yield required(f"{path}.image")


def _workload(document: Document) -> Violations:
    spec = _map(document.get("spec"))
    for field in ("replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"):
        value = spec.get(field)
        if isinstance(value, int) and value < 0:
            yield invalid(f"spec.{field}", value, _NOT_NEGATIVE)
    yield from _selected(spec, document.get("kind"))
    template = _map(_map(spec.get("template")).get("spec"))
    policy = template.get("restartPolicy")
    yield from _pod_spec("spec.template.spec", template, (*RESTART_POLICIES, policy))
    if policy != "Always":
        yield unsupported("spec.template.spec.restartPolicy", policy, ("Always",))


def _selected(spec: Document, kind: Any) -> Violations:
    """Checks that a selector by labels alone selects the template."""
    plain = kind == "ReplicationController"
    selector = _map(spec.get("selector"))
    if not selector:
        yield required("spec.selector")
        return
    wanted = selector if plain else _map(selector.get("matchLabels"))
    for key, value in sorted(wanted.items()):
        yield from _label("spec.selector" + ("" if plain else ".matchLabels"), key, value)
    labels = _map(_map(_map(spec.get("template")).get("metadata")).get("labels"))
    if any(labels.get(key) != value for key, value in wanted.items()):
        words = "`selector` does not match template `labels`"
        yield invalid("spec.template.metadata.labels", labels or None, words)
    for key, value in sorted(labels.items()):
        yield from _label("spec.template.labels", key, value)


def _job(document: Document) -> Violations:
    yield from _job_spec("spec", _map(document.get("spec")))


def _job_spec(path: str, spec: Document) -> Violations:
    for field in ("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit"):
        value = spec.get(field)
        if isinstance(value, int) and value < 0:
            yield invalid(f"{path}.{field}", value, _NOT_NEGATIVE)
    template = _map(_map(spec.get("template")).get("spec"))
    policy = template.get("restartPolicy")
    field = f"{path}.template.spec"
    yield from _pod_spec(field, template, (*RESTART_POLICIES, policy))
    if policy in (None, "", "Always"):
        yield required(f"{field}.restartPolicy", 'valid values: "OnFailure", "Never"')
    elif policy not in ("OnFailure", "Never"):
        yield unsupported(f"{field}.restartPolicy", policy, ("OnFailure", "Never"))


def _cron_job(document: Document) -> Violations:
    spec = _map(document.get("spec"))
    schedule = spec.get("schedule")
    if not schedule:
        yield required("spec.schedule")
    elif isinstance(schedule, str) and not schedule.startswith("@"):
        fields = schedule.split()
        if len(fields) != 5:
            words = f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]"
            yield invalid("spec.schedule", schedule, words)
    if len(str(_map(document.get("metadata")).get("name", ""))) > 52:
        name = _map(document.get("metadata"))["name"]
        yield invalid("metadata.name", name, "must be no more than 52 characters")
    template = _map(_map(spec.get("jobTemplate")).get("spec"))
    yield from _job_spec("spec.jobTemplate.spec", template)


# --- the network's other kinds ------------------------------------------------------------------------------


def _ingress(document: Document) -> Violations:
    spec = _map(document.get("spec"))
    rules = [*_maps(spec.get("rules"))]
    if not rules and not spec.get("defaultBackend"):
        yield invalid("spec", spec, "either `defaultBackend` or `rules` must be specified")
    for index, rule in enumerate(rules):
        host = rule.get("host")
        if isinstance(host, str) and host:
            yield from _host(f"spec.rules[{index}].host", host)
        http = rule.get("http")
        if not isinstance(http, Mapping):
            continue
        field = f"spec.rules[{index}].http.paths"
        if not http.get("paths"):
            yield required(field)
        for number, one in enumerate(_maps(http.get("paths"))):
            yield from _ingress_path(f"{field}[{number}]", one)


def _host(field: str, host: str) -> Violations:
    if family_of(host) is not None:
        yield invalid(field, host, "must be a DNS name, not an IP address")
    elif "*" in host:
        if not host.startswith("*.") or not fits(host[2:], SUBDOMAIN):
            yield invalid(field, host, _WILDCARD_WORDS)
    else:
        yield from _name(field, host, SUBDOMAIN)


def _ingress_path(field: str, one: Document) -> Violations:
    type_, path = one.get("pathType"), str(one.get("path") or "")
    if type_ is None:
        yield required(f"{field}.pathType", "pathType must be specified")
    elif type_ not in ("Exact", "ImplementationSpecific", "Prefix"):
        yield unsupported(f"{field}.pathType", type_, ("Exact", "ImplementationSpecific", "Prefix"))
    elif type_ != "ImplementationSpecific" and not path.startswith("/"):
        yield invalid(f"{field}.path", path, "must be an absolute path")
    backend = _map(one.get("backend"))
    service = backend.get("service")
    if isinstance(service, Mapping):
        if not service.get("name"):
            yield required(f"{field}.backend.service.name")
        port = _map(service.get("port"))
        if type_ is not None and port.get("name") and port.get("number"):
            yield invalid(f"{field}.backend", "", "cannot set both port name & port number")


def _network_policy(document: Document) -> Violations:
    spec = _map(document.get("spec"))
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(_maps(spec.get(direction))):
            for number, peer in enumerate(_maps(rule.get(peers))):
                field = f"spec.{direction}[{index}].{peers}[{number}]"
                kinds = [name for name in ("ipBlock", "podSelector", "namespaceSelector") if name in peer]
                if not kinds:
                    yield required(field, "must specify a peer")
                elif "ipBlock" in kinds and len(kinds) > 1:
                    words = "Forbidden: may not specify both ipBlock and another peer"
                    yield Violation(field, "FieldValueForbidden", words)
                elif "ipBlock" in kinds:
                    yield from _ip_block(f"{field}.ipBlock", _map(peer["ipBlock"]))
            for number, port in enumerate(_maps(rule.get("ports"))):
                field = f"spec.{direction}[{index}].ports[{number}]"
                if port.get("protocol") not in PROTOCOLS:
                    yield unsupported(f"{field}.protocol", port.get("protocol"), PROTOCOLS)
                if isinstance(port.get("port"), int):
                    yield from _port(f"{field}.port", port["port"])
                elif isinstance(port.get("port"), str):
                    yield from _port_name(f"{field}.port", port["port"])


def _ip_block(field: str, block: Document) -> Violations:
    cidr = block.get("cidr")
    if not cidr:
        yield required(f"{field}.cidr")
        return
    whole = _prefix(cidr)
    if whole is None:
        yield invalid(f"{field}.cidr", cidr, _CIDR_WORDS)
        return
    for index, text in enumerate(_list(block.get("except"))):
        part = _prefix(text)
        if part is None:
            yield invalid(f"{field}.except[{index}]", text, _CIDR_WORDS)
        elif part.family is not whole.family or part == whole or not _within(part, whole):
            yield invalid(f"{field}.except[{index}]", text, "must be a strict subset of `cidr`")


def _within(part: Prefix, whole: Prefix) -> bool:
    return part.first in whole and part.last in whole


def _prefix(text: Any) -> Prefix | None:
    try:
        return parse_sloppy_prefix(text) if isinstance(text, str) and "/" in text else None
    except AddressError:
        return None


def _budget(document: Document) -> Violations:
    spec = _map(document.get("spec"))
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        both = {key: spec[key] for key in ("minAvailable", "maxUnavailable")}
        yield invalid("spec", both, "minAvailable and maxUnavailable cannot be both set")
    for name in ("minAvailable", "maxUnavailable"):
        if isinstance(spec.get(name), int) and spec[name] < 0:
            yield invalid(f"spec.{name}", spec[name], _NOT_NEGATIVE)


_KINDS: Mapping[tuple[str, str], Callable[[Document], Violations]] = {
    ("", "ConfigMap"): _config,
    ("", "Secret"): _secret,
    ("", "Service"): _service,
    ("", "Pod"): _pod,
    ("", "ReplicationController"): _workload,
    **{("apps", kind): _workload for kind in _WORKLOADS},
    ("batch", "Job"): _job,
    ("batch", "CronJob"): _cron_job,
    ("discovery.k8s.io", "EndpointSlice"): _slice,
    ("networking.k8s.io", "Ingress"): _ingress,
    ("networking.k8s.io", "NetworkPolicy"): _network_policy,
    ("policy", "PodDisruptionBudget"): _budget,
}


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _maps(value: Any) -> Iterator[Mapping[str, Any]]:
    return (item for item in _list(value) if isinstance(item, Mapping))
