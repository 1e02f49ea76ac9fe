"""Finds the user of a request: that of a client certificate, or of a service account's token.

Tokens are JWTs as TokenRequest gives them (KEP-1205: bound service account tokens): an issuer, audiences, a
time after which they are void, and the object that they are bound to, whose end is theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from ..api.users import ISSUER, User, service_account
from .certificates import Authority, Pair, server_context

ADMIN = ("kubernetes-admin", ("system:masters",))
PROXY = "system:kube-proxy"  # the user to whom Kubernetes binds the ClusterRole system:node-proxier
_ALGORITHM = "ES256"


class Tokens:
    """Issues and checks tokens of service accounts; ``now`` says the time in seconds since 1970.
    ``exists`` returns whether the service account, and the object that the token is bound to, are still
    there: it gets the claim ``kubernetes.io``.
    """

    def __init__(
        self,
        *,
        now: Callable[[], float] = lambda: datetime.now(timezone.utc).timestamp(),
        exists: Callable[[Mapping[str, Any]], bool] = lambda _: True,
    ) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._public = self._key.public_key()
        self._now, self.exists = now, exists

    def issue(
        self,
        namespace: str,
        account: Mapping[str, str],
        *,
        audiences: Sequence[str] = (),
        seconds: int = 3600,
        bound: Mapping[str, Any] | None = None,
    ) -> tuple[str, float]:
        """Returns a token of ``account`` (``name``, ``uid``) and when it ends, in seconds since 1970.
        ``bound``: more of the claim ``kubernetes.io`` (``{"pod": {"name": …, "uid": …}}``).
        """
        now = int(self._now())
        claims = {
            "iss": ISSUER,
            "sub": f"system:serviceaccount:{namespace}:{account['name']}",
            "aud": list(audiences) or [ISSUER],
            "iat": now,
            "nbf": now,
            "exp": now + seconds,
            "jti": str(uuid4()),
            "kubernetes.io": {"namespace": namespace, "serviceaccount": dict(account), **(bound or {})},
        }
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM), float(now + seconds)

    def user(self, token: str, audiences: Sequence[str] = (ISSUER,)) -> User | None:
        """Returns the user of ``token``, None if the token is not valid here: not signed by this cluster,
        too old, for another audience, or of an account that is gone.
        """
        try:
            claims = jwt.decode(
                token,
                self._public,
                algorithms=[_ALGORITHM],
                audience=list(audiences),
                issuer=ISSUER,
                options={"require": ["exp", "iat", "sub", "aud"], "verify_exp": False, "verify_nbf": False},
            )
        except (jwt.InvalidTokenError, ValueError):
            return None
        if not claims["iat"] - 60 <= self._now() < claims["exp"]:
            return None
        bound = claims.get("kubernetes.io")
        if not isinstance(bound, dict) or not self.exists(bound):
            return None
        return service_account(bound)


@dataclass(frozen=True, slots=True)
class Identity:
    """Holds the cluster's keys: ``authority`` signs, ``admin`` is the user of the kubeconfig."""

    authority: Authority
    server: Pair
    admin: Pair
    tokens: Tokens

    @classmethod
    def make(cls, addresses: Sequence[str] = ()) -> Identity:
        """Makes all keys anew; ``addresses``: those of the nodes at which the API is served."""
        authority = Authority()
        return cls(authority, authority.server(addresses), authority.client(*ADMIN), Tokens())

    def context(self) -> Any:
        """Returns the server's TLS settings."""
        return server_context(self.authority.certificate, self.server)

    def user(self, certificate: Mapping[str, Any] | None, authorization: str | None) -> User | None:
        """Returns the user of a request: by the client certificate as the ssl module shows it (verified by
        the handshake), or else by the header Authorization.
        """
        if certificate and (found := _of_certificate(certificate)):
            return found
        scheme, _, token = (authorization or "").partition(" ")
        return self.tokens.user(token.strip()) if scheme.lower() == "bearer" and token.strip() else None


def _of_certificate(certificate: Mapping[str, Any]) -> User | None:
    pairs = [pair for part in certificate.get("subject", ()) for pair in part]
    names = [value for key, value in pairs if key == "commonName"]
    groups = [value for key, value in pairs if key == "organizationName"]
    return User(names[-1], (*groups, "system:authenticated")) if names else None
