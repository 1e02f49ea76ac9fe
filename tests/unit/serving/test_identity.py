from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from emulator.api.users import ISSUER
from emulator.serving.identity import Identity, Tokens

ACCOUNT = {"name": "builder", "uid": "u-1"}


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_token_is_of_its_account() -> None:
    tokens = Tokens(now=Clock())
    token, ends = tokens.issue("ci", ACCOUNT, seconds=600, bound={"pod": {"name": "p", "uid": "u-2"}})
    assert ends == 1_000_600
    user = tokens.user(token)
    assert user is not None
    assert user.name == "system:serviceaccount:ci:builder"
    assert user.uid == "u-1"
    assert user.groups == (
        "system:serviceaccounts",
        "system:serviceaccounts:ci",
        "system:authenticated",
    )
    assert user.extra["authentication.kubernetes.io/pod-name"] == ("p",)


def test_token_ends() -> None:
    clock = Clock()
    tokens = Tokens(now=clock)
    token, _ = tokens.issue("ci", ACCOUNT, seconds=600)
    clock.now += 599
    assert tokens.user(token)
    clock.now += 1
    assert tokens.user(token) is None


def test_token_is_for_its_audience() -> None:
    tokens = Tokens()
    token, _ = tokens.issue("ci", ACCOUNT, audiences=["vault"])
    assert tokens.user(token) is None
    assert tokens.user(token, ["vault", "other"])


def test_token_ends_with_what_it_is_bound_to() -> None:
    gone: set[str] = set()

    def exists(bound: Mapping[str, Any]) -> bool:
        return bound["pod"]["uid"] not in gone

    tokens = Tokens(exists=exists)
    token, _ = tokens.issue("ci", ACCOUNT, bound={"pod": {"name": "p", "uid": "u-2"}})
    assert tokens.user(token)
    gone.add("u-2")
    assert tokens.user(token) is None


def forged(algorithm: str, key: Any) -> str:
    claims = {
        "iss": ISSUER,
        "sub": "x",
        "aud": [ISSUER],
        "iat": 0,
        "exp": 4_000_000_000,
        "kubernetes.io": {"namespace": "kube-system", "serviceaccount": ACCOUNT},
    }
    return jwt.encode(claims, key, algorithm=algorithm)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a.b.c",
        "é.é.é",
        forged("none", None),
        forged("ES256", ec.generate_private_key(ec.SECP256R1())),
        forged("HS256", "k" * 32),
    ],
)
def test_token_of_another_is_void(token: str) -> None:
    identity = Identity.make()
    assert identity.tokens.user(token) is None
    assert identity.user(None, f"Bearer {token}") is None


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic eDp5"])
def test_nobody_is_who_shows_nothing(header: str | None) -> None:
    assert Identity.make().user({}, header) is None


def test_bearer_is_read_in_any_case() -> None:
    identity = Identity.make()
    token, _ = identity.tokens.issue("ci", ACCOUNT)
    assert identity.user(None, f"bearer {token}") == identity.tokens.user(token)
