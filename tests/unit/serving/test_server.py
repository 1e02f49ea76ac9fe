from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientSession, TCPConnector

from emulator.api.registry import Registry
from emulator.serving import fanout
from emulator.serving.certificates import client_context
from emulator.serving.identity import Identity
from emulator.serving.runtime import LogLine
from emulator.serving.server import LONGEST_BODY, Server, log_options, serve
from tests.unit.api.registries import CALLER, config, made, pod, registry, target

from .runtimes import LocalRuntime

CONFIGS = "/api/v1/namespaces/default/configmaps"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


class Client:
    """Speaks to a server as its admin."""

    def __init__(self, session: ClientSession, url: str, server: Server, runtime: LocalRuntime) -> None:
        self.session, self.url, self.server, self.runtime = session, url, server, runtime
        self.api: Registry = server.registry

    def ask(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        data = (
            None if body is None else BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
        )
        return self.session.request(method, self.url + path, data=data, **more)

    async def json(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, Any]:
        headers = {"Content-Type": "application/json", **more.pop("headers", {})}
        async with self.ask(method, path, body, headers=headers, **more) as response:
            return response.status, await response.json()


@asynccontextmanager
async def serving(*, anonymous: bool = False) -> AsyncIterator[Client]:
    identity = Identity.make()
    runtime = LocalRuntime()
    listener = socket.create_server(("127.0.0.1", 0))
    api = registry(tokens=identity.tokens)
    server = await serve(api, [listener], identity, runtime)
    context = client_context(identity.authority.certificate, None if anonymous else identity.admin)
    connector = TCPConnector(ssl=context, limit=0)
    try:
        async with ClientSession(connector=connector) as session:
            url = f"https://127.0.0.1:{listener.getsockname()[1]}"
            yield Client(session, url, server, runtime)
    finally:
        await runtime.end()
        await server.close()
        listener.close()
        await asyncio.sleep(0)


def with_client(work: Callable[[Client], Awaitable[Any]], *, anonymous: bool = False) -> Any:
    async def run() -> Any:
        async with serving(anonymous=anonymous) as client:
            return await asyncio.wait_for(work(client), 60)

    return asyncio.run(run())


async def events(response: ClientResponse, count: int) -> list[Any]:
    return [json.loads(await asyncio.wait_for(response.content.readline(), 10)) for _ in range(count)]


# --- who asks -----------------------------------------------------------------------------------------------


def test_stranger_gets_nothing_but_health() -> None:
    async def work(client: Client) -> None:
        for path in ("/healthz", "/livez", "/readyz", "/version", "/readyz?verbose"):
            async with client.ask("GET", path) as response:
                assert response.status == 200, path
        for path in ("/api", CONFIGS, "/openapi/v3", "/nowhere"):
            code, document = await client.json("GET", path)
            assert (code, document["reason"]) == (401, "Unauthorized"), path
        headers = {"Authorization": "Bearer x.y.z"}
        assert (await client.json("GET", CONFIGS, headers=headers))[0] == 401

    with_client(work, anonymous=True)


def test_token_of_a_service_account_opens() -> None:
    async def work(client: Client) -> None:
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "builder"}}
        made(client.api, "serviceaccounts", account)
        identity = client.server.identity
        uid = client.api.get(target(client.api, "serviceaccounts", "builder")).document["metadata"]["uid"]
        token, _ = identity.tokens.issue("default", {"name": "builder", "uid": uid})
        headers = {"Authorization": f"Bearer {token}"}
        path = "/api/v1/namespaces/default/serviceaccounts/builder/token"
        spec = {"audiences": ["vault"], "expirationSeconds": None}
        code, given = await client.json("POST", path, {"spec": spec}, headers=headers)
        assert code == 201
        code, review = await client.json(
            "POST",
            "/apis/authentication.k8s.io/v1/tokenreviews",
            {"spec": {"token": given["status"]["token"], "audiences": ["vault"]}},
            headers=headers,
        )
        assert review["status"]["authenticated"] is True
        assert review["status"]["user"]["username"] == "system:serviceaccount:default:builder"
        headers = {"Authorization": f"Bearer {given['status']['token']}"}
        assert (await client.json("GET", CONFIGS, headers=headers))[0] == 401  # for another audience

    with_client(work, anonymous=True)


# --- bad requests -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "code", "reason"),
    [
        ("GET", "/nowhere", None, {}, 404, "NotFound"),
        ("GET", "/api/v1/widgets", None, {}, 404, "NotFound"),
        ("GET", "/api/v1/namespaces/default/nodes", None, {}, 404, "NotFound"),
        ("GET", f"{CONFIGS}/a%2fb", None, {}, 404, "NotFound"),
        ("GET", f"{CONFIGS}/none", None, {}, 404, "NotFound"),
        ("GET", f"{CONFIGS}/none/scale", None, {}, 404, "NotFound"),
        ("PUT", CONFIGS, b"{}", {}, 405, "MethodNotAllowed"),
        ("TRACE", CONFIGS, None, {}, 405, "MethodNotAllowed"),
        ("GET", CONFIGS, None, {"Accept": "application/vnd.kubernetes.protobuf"}, 406, "NotAcceptable"),
        ("GET", f"{CONFIGS}?limit=x", None, {}, 400, "BadRequest"),
        ("GET", f"{CONFIGS}?labelSelector=((", None, {}, 400, "BadRequest"),
        ("GET", f"{CONFIGS}?fieldSelector=spec.x=1", None, {}, 400, "BadRequest"),
        ("GET", f"{CONFIGS}?continue=x", None, {}, 400, "BadRequest"),
        ("POST", CONFIGS, b"", {}, 400, "BadRequest"),
        ("POST", CONFIGS, b"{", {}, 400, "BadRequest"),
        ("POST", CONFIGS, b"[1]", {}, 400, "BadRequest"),
        ("POST", CONFIGS, b"\xff\xfe", {}, 400, "BadRequest"),
        ("POST", CONFIGS, b'{"a":' * 100_000, {}, 400, "BadRequest"),
        ("POST", CONFIGS, b'{"a":' * 500 + b"1" + b"}" * 500, {}, 400, "BadRequest"),
        ("POST", CONFIGS, b"a: &x [1]\nb: *x", {"Content-Type": "application/yaml"}, 400, "BadRequest"),
        ("POST", CONFIGS, b"{}", {"Content-Type": "text/html"}, 415, "UnsupportedMediaType"),
        ("PATCH", f"{CONFIGS}/a", b"{}", {"Content-Type": "text/html"}, 415, "UnsupportedMediaType"),
        ("POST", CONFIGS, b" " * (LONGEST_BODY + 1), {}, 413, "RequestEntityTooLarge"),
        ("DELETE", f"{CONFIGS}/none", b'{"propagationPolicy":"Odd"}', {}, 404, "NotFound"),
    ],
)
def test_bad_request_is_answered_by_a_status(
    method: str, path: str, body: bytes | None, headers: Mapping[str, str], code: int, reason: str
) -> None:
    async def work(client: Client) -> None:
        found, document = await client.json(method, path, body, headers=headers)
        assert (found, document["kind"], document["reason"]) == (code, "Status", reason)
        assert document["code"] == code

    with_client(work)


def test_warning_is_a_header() -> None:
    async def work(client: Client) -> None:
        body = {"metadata": {"name": "a"}, "odd": "\n"}
        headers = {"Content-Type": "application/json"}
        async with client.ask("POST", CONFIGS, body, headers=headers) as response:
            assert response.status == 201
            assert response.headers["Warning"] == '299 - "unknown field \\"odd\\""'

    with_client(work)


# --- forms --------------------------------------------------------------------------------------------------


def test_objects_come_in_the_form_that_is_asked_for() -> None:
    async def work(client: Client) -> None:
        made(client.api, "configmaps", config("a"))
        _, listed = await client.json("GET", CONFIGS)
        assert listed["kind"] == "ConfigMapList"
        assert [one["metadata"]["name"] for one in listed["items"]] == ["a"]
        _, table = await client.json("GET", CONFIGS, headers={"Accept": TABLE})
        assert table["kind"] == "Table"
        assert table["rows"][0]["cells"][:2] == ["a", 1]
        assert table["metadata"]["resourceVersion"] == listed["metadata"]["resourceVersion"]
        accept = {"Accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"}
        _, bare = await client.json("GET", CONFIGS, headers=accept)
        assert bare["items"][0].keys() == {"kind", "apiVersion", "metadata"}
        async with client.ask("GET", f"{CONFIGS}/a", headers={"Accept": "application/yaml"}) as response:
            assert response.content_type == "application/yaml"
            assert "kind: ConfigMap\n" in await response.text()

    with_client(work)


def test_discovery_and_openapi_are_there() -> None:
    async def work(client: Client) -> None:
        accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
        async with client.ask("GET", "/apis", headers={"Accept": accept}) as response:
            assert "as=APIGroupDiscoveryList" in response.headers["Content-Type"]
            assert (await response.json(content_type=None))["kind"] == "APIGroupDiscoveryList"
        code, index = await client.json("GET", "/openapi/v3")
        assert code == 200
        assert "apis/apps/v1" in index["paths"]

    with_client(work)


# --- watches ------------------------------------------------------------------------------------------------


def label(api: Registry, name: str, **labels: str) -> None:
    body = json.dumps({"metadata": {"labels": labels}}).encode()
    api.patch(target(api, "configmaps", name), body, "application/merge-patch+json", {}, CALLER)


def test_watch_follows_a_selector() -> None:
    async def work(client: Client) -> list[Any]:
        api = client.api
        start = api.store.resourceVersion
        path = f"{CONFIGS}?watch=true&labelSelector=app%3Dweb&resourceVersion={start}"
        async with client.ask("GET", path) as response:
            made(api, "configmaps", config("a"))
            label(api, "a", app="web")
            label(api, "a", app="web", x="y")
            label(api, "a", app="db")
            made(api, "configmaps", config("b") | {"metadata": {"name": "b", "labels": {"app": "web"}}})
            await client.json("DELETE", f"{CONFIGS}/b")
            found = await events(response, 5)
        versions = [int(one["object"]["metadata"]["resourceVersion"]) for one in found]
        assert versions == sorted(set(versions))
        return found

    found = with_client(work)
    assert [(one["type"], one["object"]["metadata"]["name"]) for one in found] == [
        ("ADDED", "a"),
        ("MODIFIED", "a"),
        ("DELETED", "a"),
        ("ADDED", "b"),
        ("DELETED", "b"),
    ]


def test_initial_events_end_with_a_bookmark() -> None:
    async def work(client: Client) -> None:
        for name in ("a", "b"):
            made(client.api, "configmaps", config(name))
        path = (
            f"{CONFIGS}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
            "&allowWatchBookmarks=true"
        )
        async with client.ask("GET", path) as response:
            *added, mark = await events(response, 3)
            assert [one["object"]["metadata"]["name"] for one in added] == ["a", "b"]
            assert mark["type"] == "BOOKMARK"
            metadata = mark["object"]["metadata"]
            assert metadata["annotations"] == {"k8s.io/initial-events-end": "true"}
            assert metadata["resourceVersion"] == str(client.api.store.resourceVersion)
            made(client.api, "configmaps", config("c"))
            client.server.publish()
            (later,) = await events(response, 1)
            assert (later["type"], later["object"]["metadata"]["name"]) == ("ADDED", "c")

    with_client(work)


def test_watch_of_a_forgotten_version_is_an_error_event() -> None:
    async def work(client: Client) -> None:
        client.api.store.forget()
        async with client.ask("GET", f"{CONFIGS}?watch=1&resourceVersion=1") as response:
            assert response.status == 200
            (event,) = await events(response, 1)
            assert event["type"] == "ERROR"
            assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")
            assert await response.content.read() == b""

    with_client(work)


def test_watch_ends_in_time() -> None:
    async def work(client: Client) -> None:
        async with client.ask("GET", f"{CONFIGS}?watch=1&timeoutSeconds=1") as response:
            assert await response.content.read() == b""
        assert len(client.server.hub) == 0

    with_client(work)


def test_table_events_have_rows() -> None:
    async def work(client: Client) -> None:
        made(client.api, "configmaps", config("a"))
        async with client.ask("GET", f"{CONFIGS}?watch=1", headers={"Accept": TABLE}) as response:
            (event,) = await events(response, 1)
            assert event["object"]["kind"] == "Table"
            assert event["object"]["rows"][0]["cells"][0] == "a"

    with_client(work)


def test_reader_that_falls_behind_is_cut_and_delays_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "MOST_BYTES", 1 << 20)

    async def work(client: Client) -> None:
        async with (
            client.ask("GET", f"{CONFIGS}?watch=1") as slow,
            client.ask("GET", f"{CONFIGS}?watch=1") as quick,
        ):
            slow.connection.transport.pause_reading()  # type: ignore[union-attr]
            seen = 0
            for index in range(100):
                made(client.api, "configmaps", config(f"c{index}", data={"a": "x" * 200_000}))
                client.server.publish()
                seen += len(await events(quick, 1))
            assert seen == 100
            assert len(client.server.hub) == 1

    with_client(work)


def test_many_watchers_lose_nothing() -> None:
    async def work(client: Client) -> None:
        async def follow() -> list[str]:
            async with client.ask("GET", f"{CONFIGS}?watch=1") as response:
                ready.append(1)
                return [one["object"]["metadata"]["name"] for one in await events(response, 100)]

        ready: list[int] = []
        readers = [asyncio.create_task(follow()) for _ in range(40)]
        while len(ready) < 40:
            await asyncio.sleep(0.01)
        for index in range(100):
            made(client.api, "configmaps", config(f"c{index}"))
            client.server.publish()
            await asyncio.sleep(0)
        for found in await asyncio.gather(*readers):
            assert found == [f"c{index}" for index in range(100)]

    with_client(work)


def test_watcher_that_goes_is_forgotten() -> None:
    async def work(client: Client) -> None:
        async with client.ask("GET", f"{CONFIGS}?watch=1") as response:
            assert len(client.server.hub) == 1
            response.close()
        while len(client.server.hub):
            await asyncio.sleep(0.01)

    with_client(work)


# --- logs ---------------------------------------------------------------------------------------------------

LINES = [LogLine(f"2026-12-01T12:00:0{index}.500000000Z", f"line {index}\n".encode()) for index in range(4)]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("", "line 0\nline 1\nline 2\nline 3\n"),
        ("?tailLines=2", "line 2\nline 3\n"),
        ("?tailLines=0", ""),
        ("?limitBytes=9", "line 0\nli"),
        ("?sinceTime=2026-12-01T12:00:02Z", "line 2\nline 3\n"),
        ("?sinceTime=2026-12-01T13:00:03%2B01:00&timestamps=true", "2026-12-01T12:00:03.500000000Z line 3\n"),
        ("?follow=true&tailLines=1", "line 3\nmore\n"),
    ],
)
def test_logs_are_what_is_asked_for(query: str, text: str) -> None:
    async def work(client: Client) -> None:
        made(client.api, "pods", pod("p", nodeName="n"))
        client.runtime.lines = LINES
        client.runtime.coming = [LogLine("2026-12-01T12:00:09.000000000Z", b"more\n")]
        async with client.ask("GET", f"/api/v1/namespaces/default/pods/p/log{query}") as response:
            assert response.content_type == "text/plain"
            assert await response.text() == text

    with_client(work)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("?container=x", "container x is not valid for pod p"),
        ("?previous=true", 'previous terminated container "c" not found'),
        ("?tailLines=-1", 'tailLines: Invalid value: "-1": must be at least 0'),
        (
            "?sinceTime=2026-12-01T12:00:00Z&sinceSeconds=1",
            "at most one of `sinceTime` or `sinceSeconds` may be specified",
        ),
    ],
)
def test_logs_that_cannot_be_are_refused(query: str, message: str) -> None:
    async def work(client: Client) -> None:
        made(client.api, "pods", pod("p", nodeName="n"))
        code, document = await client.json("GET", f"/api/v1/namespaces/default/pods/p/log{query}")
        assert (code, document["message"]) == (400, message)

    with_client(work)


def test_since_seconds_is_before_now() -> None:
    assert log_options({"sinceSeconds": "60"}, "2026-12-01T12:00:00Z").since == "2026-12-01T11:59:00"
