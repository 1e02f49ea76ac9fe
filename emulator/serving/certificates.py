"""Makes the certificates of a cluster: its CA, its server's, its clients'; and the kubeconfig with them.

All are made anew at each start and end with the cluster. Keys are ECDSA P-256, as small and fast as TLS has
them. A client's user is its common name, its groups are its organisations (kubernetes.io/docs: X509 client
certificates).
"""

from __future__ import annotations

import ssl
import tempfile
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID = timedelta(days=365)
_EARLIER = timedelta(minutes=5)  # begins before now: clocks of clients differ
SERVER_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
SERVER_ADDRESSES = ("127.0.0.1", "::1", "10.96.0.1")


@dataclass(frozen=True, slots=True)
class Pair:
    """Holds a certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes


class Authority:
    """Holds the cluster's CA, and signs."""

    def __init__(self, now: datetime | None = None) -> None:
        self._now = now or datetime.now(timezone.utc)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
        identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        self._certificate = (
            self._builder(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(identifier, critical=False)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def certificate(self) -> bytes:
        """Returns the CA's certificate, PEM."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def server(self, addresses: Sequence[str] = ()) -> Pair:
        """Returns a server certificate for the names and addresses of the API, and for ``addresses``, those
        of its nodes.
        """
        names = [x509.DNSName(name) for name in SERVER_NAMES]
        numbers = [x509.IPAddress(ip_address(one)) for one in dict.fromkeys((*SERVER_ADDRESSES, *addresses))]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")])
        alternatives = x509.SubjectAlternativeName([*names, *numbers])
        return self._issue(subject, ExtendedKeyUsageOID.SERVER_AUTH, alternatives)

    def client(self, user: str, groups: Sequence[str] = ()) -> Pair:
        """Returns a client certificate of ``user`` in ``groups``."""
        organisations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject = x509.Name([*organisations, x509.NameAttribute(NameOID.COMMON_NAME, user)])
        return self._issue(subject, ExtendedKeyUsageOID.CLIENT_AUTH, None)

    def _issue(
        self, subject: x509.Name, use: x509.ObjectIdentifier, names: x509.SubjectAlternativeName | None
    ) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = (
            self._builder(subject, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
            .add_extension(issuer, critical=False)
        )
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        signed = builder.sign(self._key, hashes.SHA256())
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return Pair(signed.public_bytes(serialization.Encoding.PEM), private)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - _EARLIER)
            .not_valid_after(self._now + VALID)
        )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def server_context(ca: bytes, server: Pair) -> ssl.SSLContext:
    """Returns the TLS settings of the server: TLS 1.2 or newer, HTTP/1.1 alone, and a client certificate of
    ``ca`` where the client has one.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(cadata=ca.decode())
    _load(context, server)
    context.set_alpn_protocols(["http/1.1"])
    return context


def client_context(ca: bytes, client: Pair | None = None) -> ssl.SSLContext:
    """Returns the TLS settings of a client that trusts ``ca`` alone, and shows ``client``."""
    context = ssl.create_default_context(cadata=ca.decode())
    if client is not None:
        _load(context, client)
    return context


def _load(context: ssl.SSLContext, pair: Pair) -> None:
    """Gives ``context`` a certificate: the ssl module reads a key from a file only, readable by us alone."""
    with tempfile.TemporaryDirectory(prefix="podwire-") as folder:
        both = Path(folder, "pair.pem")
        both.touch(mode=0o600)
        both.write_bytes(pair.certificate + pair.key)
        context.load_cert_chain(both)


def kubeconfig(address: str, ca: bytes, client: Pair, *, name: str = "podwire") -> str:
    """Returns the text of a kubeconfig: the server at ``address`` (``https://127.0.0.1:6443``), and
    ``client``'s key. Whoever writes it to a file keeps that file from others.
    """
    cluster = {"server": address, "certificate-authority-data": b64encode(ca).decode()}
    user = {
        "client-certificate-data": b64encode(client.certificate).decode(),
        "client-key-data": b64encode(client.key).decode(),
    }
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}],
        "current-context": name,
        "preferences": {},
    }
    return yaml.safe_dump(document, sort_keys=False)
