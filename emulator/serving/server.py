"""Serves the API over HTTP: finds the user and the resource of a request, and answers from the registry in
the form that the client accepts.

A request is answered by a Status document whatever it holds. The store is written in the loop's one thread,
so that writes come one after the other; readers never hold one up (:mod:`.fanout`).
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket as sockets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from ..api import bodies, discovery, openapi, status
from ..api.registry import APPLY, Answer, Caller, Listing, Registry, Target
from ..api.tables import table
from ..store.errors import ExpiredError
from . import forms
from .fanout import Hub, Watcher
from .identity import Identity
from .logs import LogOptions, selected
from .paths import Route, route
from .runtime import Runtime, RuntimeRefusedError
from .streams import MOST_PORTS, forward_ports, run_process

LONGEST_BODY = 3 * 1024 * 1024  # bytes (k8s.io/apiserver, MaxRequestBodyBytes)
_SLOWEST_BODY = 60.0  # seconds
_BOOKMARKS = 60.0  # seconds between them
_PACE = 0.02  # seconds between two sends to one watcher: in a burst of writes each send has several events
_log = logging.getLogger(__name__)
_WARNING = web.RequestKey("warning", str)
# by resource: what every answer warns of
_DEPRECATED = {
    "endpoints": "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
}
_OPEN = ("/healthz", "/livez", "/readyz", "/version")
_PATCHES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    APPLY,
)


class Server:
    """Serves one registry. ``wrote`` is called after each request that may have written: whoever runs the
    controllers lets them run then. After every change of the store, whoever made it calls :meth:`publish`.
    """

    def __init__(
        self,
        registry: Registry,
        identity: Identity,
        runtime: Runtime | None = None,
        *,
        wrote: Callable[[], None] = lambda: None,
    ) -> None:
        self.registry, self.identity, self.runtime = registry, identity, runtime
        self.hub = Hub(registry)
        self._wrote = wrote
        self._texts: dict[tuple[Any, str], tuple[int, bytes]] = {}
        self._runner: web.AppRunner | None = None

    # --- the server -----------------------------------------------------------------------------------------

    async def start(self, listeners: Sequence[sockets.socket]) -> None:
        """Starts to serve at sockets that are bound already."""
        application = web.Application(client_max_size=LONGEST_BODY)
        application.on_response_prepare.append(_warn_of_deprecated)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(
            application,
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=0.5,
            max_field_size=65536,
        )
        await self._runner.setup()
        await self.listen(listeners)

    async def listen(self, listeners: Sequence[sockets.socket]) -> None:
        """Serves at more sockets, after :meth:`start`."""
        if self._runner is None:
            raise AssertionError("it has not been started")
        context = self.identity.context()
        for listener in listeners:
            await web.SockSite(self._runner, listener, ssl_context=context, backlog=512).start()

    async def close(self) -> None:
        """Ends all connections."""
        self.hub.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def publish(self) -> None:
        """Sends the watchers what was written."""
        self.hub.publish()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._answer(request)
        except status.ApiError as error:
            return _refusal(error)
        except RuntimeRefusedError as refused:
            return _refusal(status.runtime_refused(str(refused), refused.code))
        except web.HTTPRequestEntityTooLarge:
            return _refusal(status.too_large(LONGEST_BODY))
        except web.HTTPException as error:
            return _refusal(status.bad_request(error.reason))
        except Exception as error:
            _log.exception("%s %s", request.method, request.rel_url.raw_path)
            return _refusal(status.internal(type(error).__name__))

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.rel_url.raw_path
        if path.startswith(_OPEN):
            return _open_answer(path)
        transport = request.transport
        certificate = transport.get_extra_info("peercert") if transport is not None else None
        user = self.identity.user(certificate, request.headers.get("Authorization"))
        if user is None:
            raise status.unauthorized()
        if (described := self._describe(request, path)) is not None:
            return described
        found = route(path, self.registry.catalog)
        if found is None:
            raise _nowhere(path, request.method, self.registry)
        request[_WARNING] = _DEPRECATED.get(found.target.resource.name, "")
        query = dict(request.rel_url.query.items())
        if found.watch:
            query["watch"] = "true"
        agent = request.headers.get("User-Agent", "").split("/")[0][:128]
        caller = Caller(user, query.get("fieldManager") or agent or "unknown")
        return await self._dispatch(request, found, query, caller)

    async def _dispatch(
        self, request: web.Request, found: Route, query: dict[str, str], caller: Caller
    ) -> web.StreamResponse:
        target, method = found.target, request.method
        resource = target.resource
        verb = _verb(method, target, query)
        if (resource.plural, target.subresource) in _STREAMED and resource.group == "":
            return await self._stream(request, target, query)
        if verb is None or not resource.allows(verb, target.subresource):
            raise status.method_not_allowed(resource)
        form = forms.choose(request.headers.get("Accept", ""))
        if form is None:
            raise status.not_acceptable()
        if verb == "get":
            return self._object(self.registry.get(target), target, form, query)
        if verb == "list":
            return self._list(self.registry.list(target, query), form, query)
        if verb == "watch":
            return await self._watch(request, target, query, form)
        try:
            return await self._write(request, verb, target, query, caller, form)
        finally:
            self.publish()
            self._wrote()

    async def _write(
        self,
        request: web.Request,
        verb: str,
        target: Target,
        query: dict[str, str],
        caller: Caller,
        form: forms.Form,
    ) -> web.StreamResponse:
        body = await _body(request)
        media = request.headers.get("Content-Type", "").split(";")[0].strip().lower()
        if verb == "patch":
            if media not in _PATCHES:
                raise status.unsupported_media_type(_PATCHES)
            return self._object(self.registry.patch(target, body, media, query, caller), target, form, query)
        if verb in ("delete", "deletecollection"):
            options = bodies.decode(body, media, "DeleteOptions") if body.strip() else {}
            if verb == "deletecollection":
                return self._list(
                    self.registry.delete_collection(target, options, query, caller), form, query
                )
            return self._object(self.registry.delete(target, options, query, caller), target, form, query)
        kind = target.resource.subresources[target.subresource].kind if target.subresource else ""
        document = bodies.decode(body, media, kind or target.resource.kind)
        if verb == "create":
            answer = self.registry.create(target, document, query, caller, body)
        else:
            answer = self.registry.update(target, document, query, caller, body)
        return self._object(answer, target, form, query)

    # --- what is served beside objects ----------------------------------------------------------------------

    def _describe(self, request: web.Request, path: str) -> web.StreamResponse | None:
        """Answers discovery and OpenAPI; None for any other path."""
        catalog = self.registry.catalog
        if path == "/" or path == "":
            return _json(
                {"paths": ["/api", "/apis", "/healthz", "/livez", "/openapi/v3", "/readyz", "/version"]}
            )
        accept = request.headers.get("Accept", "")
        found: tuple[Any, str] | None
        if path.startswith("/openapi"):
            found = openapi.answer(path, accept, catalog)
        else:
            found = discovery.answer(path, accept, catalog)
        if found is None:
            return None
        if request.method not in ("GET", "HEAD"):
            raise status.method_not_allowed(None)
        document, media = found
        response = _response(document if isinstance(document, bytes) else forms.dump(document))
        response.headers["Content-Type"] = media
        return response

    # --- forms ----------------------------------------------------------------------------------------------

    def _object(
        self, answer: Answer, target: Target, form: forms.Form, query: Mapping[str, str]
    ) -> web.Response:
        document = answer.document
        if form == "table" and document.get("kind") != "Status":
            document = table(target.resource, [document], self.registry.now(), query.get("includeObject", ""))
        elif form == "metadata" and document.get("kind") != "Status":
            document = forms.metadata_only(document)
        return _json(document, answer.code, answer.warnings, yaml=form == "yaml")

    def _list(self, listing: Listing, form: forms.Form, query: Mapping[str, str]) -> web.Response:
        resource = listing.resource
        documents = (self.registry.document(one, resource) for one in listing.rows)
        if form == "table":
            shown = table(resource, [*documents], self.registry.now(), query.get("includeObject", ""))
            return _json({**shown, "metadata": {**listing.metadata}})
        head: dict[str, Any] = {
            "kind": f"{resource.kind}List",
            "apiVersion": resource.apiVersion,
            "metadata": listing.metadata,
        }
        if form == "metadata":
            head |= {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}
            return _json({**head, "items": [forms.metadata_only(one) for one in documents]})
        if form == "yaml":
            return _json({**head, "items": [*documents]}, yaml=True)
        # Go's lists hold structs, whose kind the list's says
        text = self._bare_text if resource.schema is None else self._text
        return _response(forms.join_items(head, map(text, documents)))

    def _text(self, document: Mapping[str, Any]) -> bytes:
        """Returns an object as JSON."""
        return forms.with_kind(self._bare_text(document), document)

    def _bare_text(self, document: Mapping[str, Any]) -> bytes:
        """Returns an object as JSON without its kind; it is encoded once in each of its versions."""
        metadata = document["metadata"]
        key = (metadata["uid"], document["apiVersion"])
        held = self._texts.get(key)
        if held is not None and held[0] == metadata["resourceVersion"]:
            return held[1]
        if len(self._texts) > 100_000:
            self._texts.clear()
        text = forms.without_kind(document)
        self._texts[key] = (metadata["resourceVersion"], text)
        return text

    # --- watches --------------------------------------------------------------------------------------------

    async def _watch(
        self, request: web.Request, target: Target, query: Mapping[str, str], form: forms.Form
    ) -> web.StreamResponse:
        include = query.get("includeObject", "")
        encode = self._encoder(target, form, include)
        error: bytes | None = None
        watcher: Watcher | None = None
        try:
            self.publish()
            watch = self.registry.watch(target, query)
            watcher = Watcher(watch, f"{form} {include}", encode)
            for stored in watch.initial:
                watcher.put(encode("ADDED", self.registry.document(stored, watch.resource)), initial=True)
            if watch.marks and watch.bookmarks:
                watcher.put(self._bookmark(watcher, watch.since, ends=True), initial=True)
            self.hub.add(watcher)
        except ExpiredError as expired:
            error = forms.dump({"type": "ERROR", "object": status.expired(str(expired)).document()}) + b"\n"
        response = web.StreamResponse(
            headers={"Content-Type": "application/json", "Cache-Control": "no-cache"}
        )
        response.enable_chunked_encoding()
        await response.prepare(request)
        try:
            if error is not None:
                await response.write(error)
            elif watcher is not None:
                await self._send_events(request, response, watcher)
            with suppress(ConnectionError):
                await response.write_eof()
        except ConnectionError:
            pass  # the client has gone
        finally:
            if watcher is not None:
                self.hub.remove(watcher)
        return response

    async def _send_events(
        self, request: web.Request, response: web.StreamResponse, watcher: Watcher
    ) -> None:
        """Sends until the watch's time is over, or its client falls behind: then the connection is cut."""
        loop = asyncio.get_running_loop()
        seconds = watcher.watch.seconds
        end = loop.time() + (seconds if seconds else random.uniform(1800, 3600))

        def cut() -> None:
            if request.transport is not None:
                request.transport.abort()

        watcher.on_overrun = cut
        marked = self.hub.version
        while not watcher.overrun and not watcher.closed and (left := end - loop.time()) > 0:
            lines = await watcher.lines(min(left, _BOOKMARKS))
            if lines:
                await response.write(lines)
                await asyncio.sleep(_PACE)
            elif watcher.watch.bookmarks and self.hub.version != marked:
                marked = self.hub.version
                await response.write(self._bookmark(watcher, marked))

    def _encoder(
        self, target: Target, form: forms.Form, include: str
    ) -> Callable[[str, Mapping[str, Any]], bytes]:
        def encode(type_: str, document: Mapping[str, Any]) -> bytes:
            head = b'{"type":"' + type_.encode() + b'","object":'
            if form == "table":
                text = forms.dump(table(target.resource, [document], self.registry.now(), include))
            elif form == "metadata":
                text = forms.dump(forms.metadata_only(document))
            else:
                text = forms.dump(document) if type_ == "DELETED" else self._text(document)
            return head + text + b"}\n"

        return encode

    def _bookmark(self, watcher: Watcher, version: int, *, ends: bool = False) -> bytes:
        resource = watcher.watch.resource
        metadata: dict[str, Any] = {"resourceVersion": str(version)}
        if ends:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        mark: dict[str, Any] = {
            "kind": resource.kind,
            "apiVersion": resource.apiVersion,
            "metadata": metadata,
        }
        if watcher.form.startswith("table"):
            row = {"cells": [], "object": forms.metadata_only(mark)}
            mark = {
                "kind": "Table",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": {"resourceVersion": str(version)},
                "columnDefinitions": table(resource, [], self.registry.now(), "")["columnDefinitions"],
                "rows": [row],
            }
        elif watcher.form.startswith("metadata"):
            mark = forms.metadata_only(mark)
        return forms.dump({"type": "BOOKMARK", "object": mark}) + b"\n"

    # --- streams --------------------------------------------------------------------------------------------

    async def _stream(
        self, request: web.Request, target: Target, query: Mapping[str, str]
    ) -> web.StreamResponse:
        pod = self.registry.get(Target(target.resource, target.namespace, target.name)).document
        if self.runtime is None:
            raise RuntimeRefusedError("no node of this API runs Pods", 501)
        if target.subresource == "log":
            if request.method != "GET":
                raise status.method_not_allowed(target.resource)
            return await self._logs(request, self.runtime, pod, query)
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise status.bad_request("Upgrade request required")
        if target.subresource == "portforward":
            texts = [part for one in request.rel_url.query.getall("ports", ()) for part in one.split(",")]
            ports = [int(one) if one.isdecimal() and len(one) < 6 else 0 for one in texts]
            if len(ports) > MOST_PORTS or any(not 0 < one < 65536 for one in ports):
                raise status.bad_request('query parameter "ports" must be port numbers')
            return await forward_ports(request, self.runtime, pod, ports)
        wanted = {
            name: query.get(name, "").lower() in ("true", "1") for name in ("stdin", "stdout", "stderr")
        }
        tty = query.get("tty", "").lower() in ("true", "1")
        if not any(wanted.values()):
            raise status.bad_request("you must specify at least 1 of stdin, stdout, stderr")
        container = _container(pod, query.get("container", ""))
        argv = request.rel_url.query.getall("command", ())
        runtime = self.runtime
        if target.subresource == "exec" and not argv:
            raise status.bad_request("you must specify a command: command: Required value")

        async def start() -> Any:
            if target.subresource == "exec":
                return await runtime.exec(pod, container, argv, tty=tty, stdin=wanted["stdin"])
            return await runtime.attach(pod, container, tty=tty, stdin=wanted["stdin"])

        return await run_process(request, start, **wanted)

    async def _logs(
        self, request: web.Request, runtime: Runtime, pod: Mapping[str, Any], query: Mapping[str, str]
    ) -> web.StreamResponse:
        container = _container(pod, query.get("container", ""))
        options = log_options(query, self.registry.now())
        lines, more = await runtime.logs(pod, container, previous=options.previous)
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        try:
            async for data in selected(lines, more, options):
                await response.write(data)
            await response.write_eof()
        except ConnectionError:
            pass  # the client has gone
        finally:
            if (close := getattr(more, "aclose", None)) is not None:
                await close()
        return response


async def serve(
    registry: Registry,
    listeners: Sequence[sockets.socket],
    identity: Identity,
    runtime: Runtime | None = None,
    *,
    wrote: Callable[[], None] = lambda: None,
) -> Server:
    """Serves ``registry`` at ``listeners``, which are bound already, until :meth:`Server.close`."""
    server = Server(registry, identity, runtime, wrote=wrote)
    await server.start(listeners)
    return server


# --- parts of requests --------------------------------------------------------------------------------------

_STREAMED = {("pods", name) for name in ("log", "exec", "attach", "portforward")}
_VERBS = {
    "GET": "get",
    "HEAD": "get",
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}


def _verb(method: str, target: Target, query: Mapping[str, str]) -> str | None:
    """Returns the verb of a request (kubernetes.io/docs, "Determine the request verb")."""
    verb = _VERBS.get(method)
    if verb == "get" and query.get("watch", "").lower() in ("true", "1"):
        return "watch"
    if not target.name:
        return {"get": "list", "delete": "deletecollection", "create": "create"}.get(verb or "")
    return verb if verb != "create" or target.subresource else None


async def _body(request: web.Request) -> bytes:
    try:
        return await asyncio.wait_for(request.read(), _SLOWEST_BODY)
    except asyncio.TimeoutError as error:
        raise status.bad_request("the body did not come in time") from error


def _container(pod: Mapping[str, Any], name: str) -> str:
    """Returns the container that a request means: the one that it names, the Pod's default, or the only
    one. Raises ApiError.
    """
    spec, metadata = pod.get("spec") or {}, pod.get("metadata") or {}
    names = [
        str(one.get("name"))
        for key in ("containers", "initContainers", "ephemeralContainers")
        for one in spec.get(key) or ()
        if isinstance(one, Mapping)
    ]
    wanted = name or str(
        (metadata.get("annotations") or {}).get("kubectl.kubernetes.io/default-container", "")
    )
    first = [str(one.get("name")) for one in spec.get("containers") or () if isinstance(one, Mapping)]
    if not wanted and len(first) == 1:
        wanted = first[0]
    if not wanted:
        raise status.bad_request(
            f"a container name must be specified for pod {metadata.get('name')}, choose one of:"
            f" [{' '.join(names)}]"
        )
    if wanted not in names:
        raise status.bad_request(f"container {wanted} is not valid for pod {metadata.get('name')}")
    return wanted


def log_options(query: Mapping[str, str], now: str) -> LogOptions:
    """Returns the options of a request for logs. Raises ApiError."""

    def number(name: str, lowest: int) -> int | None:
        text = query.get(name, "")
        if not text:
            return None
        if not (text.isdecimal() and text.isascii() and len(text) < 18) or int(text) < lowest:
            raise status.bad_request(f'{name}: Invalid value: "{text[:40]}": must be at least {lowest}')
        return int(text)

    since = query.get("sinceTime", "")
    seconds = number("sinceSeconds", 1)
    if since and seconds is not None:
        raise status.bad_request("at most one of `sinceTime` or `sinceSeconds` may be specified")
    try:
        if seconds is not None:
            time = datetime.fromisoformat(now.replace("Z", "+00:00"))
            since = (time - timedelta(seconds=min(seconds, 1 << 31))).strftime("%Y-%m-%dT%H:%M:%S")
        elif since:
            time = datetime.fromisoformat(since.replace("Z", "+00:00")).astimezone(timezone.utc)
            since = time.strftime("%Y-%m-%dT%H:%M:%S")
    except (ValueError, OverflowError) as error:
        raise status.bad_request(f'sinceTime: Invalid value: "{since[:40]}"') from error

    def flag(name: str) -> bool:
        return query.get(name, "").lower() in ("true", "1")

    return LogOptions(
        follow=flag("follow"),
        previous=flag("previous"),
        timestamps=flag("timestamps"),
        since=since,
        tail=number("tailLines", 0),
        limit=number("limitBytes", 1),
    )


# --- answers ------------------------------------------------------------------------------------------------


async def _warn_of_deprecated(request: web.BaseRequest, response: web.StreamResponse) -> None:
    if warning := request.get(_WARNING):
        response.headers.add("Warning", f"299 - {_quoted(warning)}")


def _nowhere(path: str, method: str, registry: Registry) -> status.ApiError:
    """Returns the refusal of a path that names no resource. Below a group that is not served, Kubernetes
    answers in plain text, and clients say what they asked for: it is said here.
    """
    parts = path.strip("/").split("/")
    asked = ""
    if parts[0] == "apis" and len(parts) > 3 and parts[1] not in registry.catalog.groups:
        plural = parts[5] if parts[3] == "namespaces" and len(parts) > 5 else parts[3]
        asked = f" ({method.lower()} {unquote(plural)}.{parts[1]})"
    return status.page_not_found(asked)


def _refusal(error: status.ApiError) -> web.Response:
    response = _json(error.document(), error.code)
    if error.code == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="podwire"'
    if error.seconds:
        response.headers["Retry-After"] = str(error.seconds)
    return response


def _json(
    document: Mapping[str, Any], code: int = 200, warnings: Sequence[str] = (), *, yaml: bool = False
) -> web.Response:
    body = bodies.as_yaml(document) if yaml else forms.dump(document)
    response = _response(body, code)
    if yaml:
        response.content_type = "application/yaml"
    for warning in warnings:
        response.headers.add("Warning", f"299 - {_quoted(warning)}")
    return response


def _response(body: bytes, code: int = 200) -> web.Response:
    return web.Response(
        body=body,
        status=code,
        content_type="application/json",
        headers={"Cache-Control": "no-cache, private"},
    )


def _quoted(text: str) -> str:
    """Returns a warning as a header has it (RFC 7234, 5.5): nothing in it ends the header."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text)[:256]
    return '"' + shown.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _open_answer(path: str) -> web.Response:
    if path.rstrip("/") == "/version":
        return _json(discovery.VERSION)
    return web.Response(text="ok")
