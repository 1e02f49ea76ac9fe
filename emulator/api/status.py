"""Makes the Status documents of the API: refusals with kube-apiserver's reasons, codes and words.

Sources: apimachinery, pkg/api/errors/errors.go and pkg/apis/meta/v1/types.go (StatusReason, CauseType).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from ..errors import PodwireError, printable
from ..load.faults import IS_REQUIRED, Fault, FaultKind, path_text
from ..store.errors import AlreadyExistsError, ConflictError, InvalidError, NotFoundError
from .resources import Resource

Document = dict[str, Any]
MOST_SHOWN = 200  # characters of a value


class Cause(NamedTuple):
    """Describes one cause of a refusal: its reason, in words, and the field."""

    reason: str
    message: str
    field: str = ""


class ApiError(PodwireError):
    """Reports a refused request. :meth:`document` is its Status."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        resource: Resource | _Named | None = None,
        name: str = "",
        causes: Iterable[Sequence[str]] = (),
        seconds: int = 0,
        kind: bool = False,
    ) -> None:
        """Makes a refusal of a request about the object ``name`` of ``resource``. ``kind``: its details name
        the kind, not the resource, as those of invalid objects do.
        """
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message
        self._resource, self._name, self._kind = resource, name, kind
        self.seconds = seconds  # after which to ask again
        self.causes = tuple(Cause(*one) for one in causes)

    def document(self) -> Document:
        """Returns the Status."""
        details: Document = {}
        if self._name:
            details["name"] = self._name
        if self._resource is not None:
            if self._resource.group:
                details["group"] = self._resource.group
            details["kind"] = self._resource.kind if self._kind else self._resource.plural
        if self.causes:
            details["causes"] = [
                {
                    key: value
                    for key, value in (("reason", one.reason), ("message", one.message), ("field", one.field))
                    if value
                }
                for one in self.causes
            ]
        if self.seconds:
            details["retryAfterSeconds"] = self.seconds
        status: Document = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
        }
        if details:
            status["details"] = details
        return {**status, "code": self.code}

    def __str__(self) -> str:
        return printable(self.message)


def success(resource: Resource, name: str, uid: str) -> Document:
    """Returns the Status of an object that was deleted."""
    details: Document = {"name": name, "kind": resource.plural, "uid": uid}
    if resource.group:
        details = {"name": name, "group": resource.group, "kind": resource.plural, "uid": uid}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


# --- refusals -------------------------------------------------------------------------------------------


def not_found(resource: Resource | None, name: str) -> ApiError:
    what = resource.name if resource else "the server"
    return ApiError(404, "NotFound", f'{what} "{name}" not found', resource=resource, name=name)


def page_not_found(asked: str = "") -> ApiError:
    """Returns the refusal of a path that names no resource; ``asked``: in brackets, which one it would be."""
    return ApiError(404, "NotFound", f"the server could not find the requested resource{printable(asked)}")


def already_exists(resource: Resource, name: str) -> ApiError:
    return ApiError(
        409, "AlreadyExists", f'{resource.name} "{name}" already exists', resource=resource, name=name
    )


def conflict(resource: Resource, name: str, why: str, causes: Iterable[Sequence[str]] = ()) -> ApiError:
    """Returns the refusal of a write that another one came before."""
    message = f'Operation cannot be fulfilled on {resource.name} "{name}": {why}'
    return ApiError(409, "Conflict", message, resource=resource, name=name, causes=causes)


def apply_conflict(message: str, causes: Iterable[Sequence[str]]) -> ApiError:
    """Returns the refusal of a server-side apply whose fields others own."""
    return ApiError(409, "Conflict", message, causes=causes)


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden(resource: Resource, name: str, why: str, causes: Iterable[Sequence[str]] = ()) -> ApiError:
    message = f'{resource.name} "{name}" is forbidden: {why}'
    return ApiError(403, "Forbidden", message, resource=resource, name=name, causes=causes)


def method_not_allowed(resource: Resource | None) -> ApiError:
    return ApiError(
        405,
        "MethodNotAllowed",
        "the server does not allow this method on the requested resource",
        resource=resource,
    )


def not_acceptable() -> ApiError:
    message = "only the following media types are accepted: application/json, application/yaml"
    return ApiError(406, "NotAcceptable", message)


def unsupported_media_type(accepted: Sequence[str]) -> ApiError:
    """Returns the refusal of a body, or a patch, in a form that is not read."""
    known = ", ".join(accepted)
    message = f"the body of the request was in an unknown format - accepted media types include: {known}"
    return ApiError(415, "UnsupportedMediaType", message)


def expired(message: str) -> ApiError:
    return ApiError(410, "Expired", message)


def too_large_version(wanted: int, current: int) -> ApiError:
    """Returns the refusal of a resourceVersion that is not there yet (504, as storage errors have it)."""
    return ApiError(
        504,
        "Timeout",
        f"Timeout: Too large resource version: {wanted}, current: {current}",
        causes=[("ResourceVersionTooLarge", "Too large resource version", "")],
        seconds=1,
    )


def too_large(most: int) -> ApiError:
    return ApiError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {most}")


def too_many_requests(message: str, seconds: int = 0, causes: Iterable[Sequence[str]] = ()) -> ApiError:
    return ApiError(429, "TooManyRequests", message, causes=causes, seconds=seconds)


def internal(message: str) -> ApiError:
    return ApiError(500, "InternalError", f"Internal error occurred: {message}")


def runtime_refused(message: str, code: int) -> ApiError:
    """Returns the refusal of something that a Pod cannot do."""
    return ApiError(code, {404: "NotFound", 400: "BadRequest"}.get(code, "InternalError"), message)


class _Named(NamedTuple):
    """Names a kind that is no resource, as the details of a refusal do."""

    group: str
    kind: str
    plural: str = ""


LIST_OPTIONS = _Named("meta.k8s.io", "ListOptions")
TOKEN_REQUEST = _Named("authentication.k8s.io", "TokenRequest")


def field_cause(field: str, kind: FaultKind, detail: str, value: Any = None) -> Cause:
    """Returns the cause that a field error is."""
    return Cause(kind.value, _field_error(kind, value, detail), field)


def invalid_kind(named: _Named, causes: Sequence[Cause]) -> ApiError:
    """Returns the refusal of parameters, or of a body, that is no object of a resource."""
    told = [f"{one.field}: {one.message}" for one in causes]
    text = told[0] if len(told) == 1 else f"[{', '.join(told)}]"
    message = f'{named.kind}.{named.group} "" is invalid: {text}'
    return ApiError(422, "Invalid", message, resource=named, causes=causes, kind=True)


def invalid_option(field: str, kind: FaultKind, detail: str, value: Any = None) -> ApiError:
    """Returns the refusal of a request's parameter."""
    message = _field_error(kind, value, detail)
    return ApiError(
        422, "Invalid", f' "" is invalid: {field}: {message}', causes=[(kind.value, message, field)]
    )


def invalid(resource: Resource, name: str, causes: Sequence[Cause]) -> ApiError:
    """Returns the refusal of an object with ``causes``."""
    told = [f"{one.field}: {one.message}" if one.field else one.message for one in causes]
    text = told[0] if len(told) == 1 else f"[{', '.join(told)}]"
    return ApiError(
        422,
        "Invalid",
        f'{resource.kindName} "{name}" is invalid: {text}',
        resource=resource,
        name=name,
        causes=causes,
        kind=True,
    )


def invalid_fields(resource: Resource, name: str, faults: Iterable[Any]) -> ApiError:
    """Returns the refusal of an object with ``faults`` (field, reason, message)."""
    return invalid(resource, name, [Cause(one.reason, one.message, one.field) for one in faults])


def invalid_scale(name: str, replicas: int) -> ApiError:
    message = f"Invalid value: {replicas}: must be greater than or equal to 0"
    return ApiError(
        422,
        "Invalid",
        f'Scale.autoscaling "{name}" is invalid: spec.replicas: {message}',
        name=name,
        causes=[("FieldValueInvalid", message, "spec.replicas")],
    )


# The words of each kind, and whether the value follows them (field/errors.go, Error.ErrorBody).
_WORDS: Mapping[FaultKind, tuple[str, bool]] = {
    FaultKind.INVALID: ("Invalid value", True),
    FaultKind.TYPE_INVALID: ("Invalid value", True),
    FaultKind.REQUIRED: ("Required value", False),
    FaultKind.NOT_SUPPORTED: ("Unsupported value", True),
    FaultKind.DUPLICATE: ("Duplicate value", True),
    FaultKind.FORBIDDEN: ("Forbidden", False),
    FaultKind.TOO_MANY: ("Too many", True),
}


def _field_error(kind: FaultKind, value: Any, detail: str) -> str:
    words, has_value = _WORDS[kind]
    return ": ".join(filter(None, (words, _shown(value) if has_value else "", detail)))


def cause_of(fault: Fault, document: Mapping[str, Any]) -> Cause:
    """Returns a fault of admission as a cause, with the value that ``document`` has at its field."""
    value: Any = document
    for step in fault.path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            value = None
            break
    detail = f"{fault.what} ({fault.hint})" if fault.hint else fault.what
    if fault.kind is FaultKind.NOT_SUPPORTED:
        detail = supported_values(fault.supported)
    elif fault.kind is FaultKind.DUPLICATE or fault.what == IS_REQUIRED:
        detail = ""  # the words of the kind say it
    elif fault.kind is FaultKind.TOO_MANY:
        value = len(value) if isinstance(value, (list, dict)) else value
    return Cause(fault.kind.value, _field_error(fault.kind, value, detail), path_text(fault.path))


def supported_values(values: Iterable[str]) -> str:
    """Returns the values of a field that takes no others, as field errors name them."""
    return "supported values: " + ", ".join(json.dumps(one) for one in sorted(values))


def _shown(value: Any) -> str:
    """Returns a value as field errors show it: as JSON."""
    return printable(json.dumps(value, ensure_ascii=False, separators=(",", ":")))[:MOST_SHOWN]


@contextmanager
def refusals(resource: Resource, name: str, document: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Turns the store's refusals into the API's."""
    try:
        yield
    except InvalidError as error:
        raise invalid(resource, name, [cause_of(one, document or {}) for one in error.faults]) from None
    except AlreadyExistsError:
        raise already_exists(resource, name) from None
    except NotFoundError:
        raise not_found(resource, name) from None
    except ConflictError:
        why = "the object has been modified; please apply your changes to the latest version and try again"
        raise conflict(resource, name, why) from None


# --- parts of answers -----------------------------------------------------------------------------------


def strict(how: str, faults: Sequence[str], resource: Resource) -> tuple[str, ...]:
    """Returns the warnings of a custom resource with unknown fields. ``how`` is the parameter
    fieldValidation: Strict refuses them, Ignore says nothing.
    """
    if how == "Strict" and faults:
        raise bad_request(
            f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: strict'
            f" decoding error: {', '.join(faults)}"
        )
    return tuple(faults) if how == "Warn" else ()


def selector_text(selector: Mapping[str, Any]) -> str:
    """Returns a LabelSelector, or a plain map, as the text of a query (LabelSelectorAsSelector)."""
    if not any(key in selector for key in ("matchLabels", "matchExpressions")):
        return ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
    terms = [(str(key), f"{key}={value}") for key, value in (selector.get("matchLabels") or {}).items()]
    for one in selector.get("matchExpressions") or ():
        key, values = str(one.get("key")), ",".join(sorted(map(str, one.get("values") or ())))
        forms = {
            "In": f"{key} in ({values})",
            "NotIn": f"{key} notin ({values})",
            "Exists": key,
            "DoesNotExist": f"!{key}",
        }
        if text := forms.get(str(one.get("operator"))):
            terms.append((key, text))
    return ",".join(text for _, text in sorted(terms))
