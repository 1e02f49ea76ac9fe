from __future__ import annotations

import socket
import ssl
import threading
from base64 import b64decode
from datetime import datetime, timedelta, timezone

import pytest
import yaml

from emulator.serving.certificates import Authority, Pair, client_context, kubeconfig, server_context
from emulator.serving.identity import Identity


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> tuple[object, str | None]:
    """Returns the client's certificate and the protocol as the server sees them."""
    near, far = socket.socketpair()
    failed: list[BaseException] = []

    def dial() -> None:
        try:
            with client.wrap_socket(near, server_hostname=name) as dialled:
                dialled.recv(1)
        except (ssl.SSLError, OSError) as error:
            failed.append(error)
        finally:
            near.close()

    thread = threading.Thread(target=dial)
    thread.start()
    try:
        with server.wrap_socket(far, server_side=True) as accepted:
            accepted.settimeout(5)
            seen = accepted.getpeercert(), accepted.selected_alpn_protocol()
            accepted.sendall(b"x")
    finally:
        far.close()
        thread.join(5)
    if failed:
        raise failed[0]
    return seen


@pytest.mark.parametrize(
    "name", ["127.0.0.1", "localhost", "kubernetes.default.svc", "10.96.0.1", "172.18.0.2"]
)
def test_server_is_trusted_by_its_names(name: str) -> None:
    authority = Authority()
    server = server_context(authority.certificate, authority.server(["172.18.0.2"]))
    client = client_context(authority.certificate, authority.client("ann", ["dev", "ops"]))
    client.set_alpn_protocols(["h2", "http/1.1"])
    certificate, protocol = handshake(server, client, name)
    assert isinstance(certificate, dict)
    assert protocol == "http/1.1"
    user = Identity.make().user(certificate, None)
    assert user is not None
    assert (user.name, user.groups) == ("ann", ("dev", "ops", "system:authenticated"))


def test_client_needs_no_certificate() -> None:
    authority = Authority()
    server = server_context(authority.certificate, authority.server())
    certificate, _ = handshake(server, client_context(authority.certificate), "localhost")
    assert not certificate


@pytest.mark.parametrize("name", ["example.org", "10.96.0.2"])
def test_server_is_not_trusted_by_another_name(name: str) -> None:
    authority = Authority()
    server = server_context(authority.certificate, authority.server())
    with pytest.raises(ssl.SSLError):
        handshake(server, client_context(authority.certificate), name)


def test_client_of_another_authority_is_refused() -> None:
    authority = Authority()
    server = server_context(authority.certificate, authority.server())
    stranger: Pair = Authority().client("system:admin", ["system:masters"])
    with pytest.raises((ssl.SSLError, OSError)):
        handshake(server, client_context(authority.certificate, stranger), "localhost")


def test_certificate_that_has_ended_is_refused() -> None:
    past = Authority(datetime.now(timezone.utc) - timedelta(days=400))
    server = server_context(past.certificate, past.server())
    with pytest.raises(ssl.SSLError):
        handshake(server, client_context(past.certificate), "localhost")


def test_kubeconfig_names_server_and_client() -> None:
    authority = Authority()
    client = authority.client("ann")
    config = yaml.safe_load(kubeconfig("https://127.0.0.1:6443", authority.certificate, client, name="demo"))
    assert config["current-context"] == "demo"
    cluster = config["clusters"][0]["cluster"]
    assert cluster["server"] == "https://127.0.0.1:6443"
    assert b64decode(cluster["certificate-authority-data"]) == authority.certificate
    assert b64decode(config["users"][0]["user"]["client-key-data"]) == client.key
