"""Answers the reviews of authentication and authorization.

Every client that has shown who it is may do everything: podwire keeps Roles and their bindings, and decides
nothing by them. A review says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from .users import ISSUER, User

AUTHENTICATION, AUTHORIZATION = "authentication.k8s.io", "authorization.k8s.io"


class TokenIssuer(Protocol):
    """Issues and checks tokens of service accounts (:class:`emulator.serving.identity.Tokens`)."""

    def issue(
        self,
        namespace: str,
        account: Mapping[str, str],
        *,
        audiences: Sequence[str] = (),
        seconds: int = 3600,
        bound: Mapping[str, Any] | None = None,
    ) -> tuple[str, float]:
        """Returns a token, and when it ends in seconds since 1970."""

    def user(self, token: str, audiences: Sequence[str] = (ISSUER,)) -> User | None:
        """Returns whose ``token`` is, None if it is void."""


def review(kind: str, body: Mapping[str, Any], user: User, tokens: TokenIssuer | None) -> dict[str, Any]:
    """Returns the status of a review of ``kind``."""
    spec = body.get("spec")
    spec = spec if isinstance(spec, Mapping) else {}
    if kind == "SelfSubjectReview":
        return {"userInfo": user.document()}
    if kind == "TokenReview":
        return _token_review(spec, tokens)
    if kind == "SelfSubjectRulesReview":
        return {
            "incomplete": False,
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        }
    return {"allowed": True, "reason": "podwire lets every client that it knows do everything"}


def _token_review(spec: Mapping[str, Any], tokens: TokenIssuer | None) -> dict[str, Any]:
    token, given = spec.get("token"), spec.get("audiences")
    audiences = [str(one) for one in given] if isinstance(given, list) and given else [ISSUER]
    found = tokens.user(token, audiences) if tokens and isinstance(token, str) else None
    if found is None:
        return {"authenticated": False, "error": "invalid bearer token", "user": {}}
    return {"authenticated": True, "user": found.document(), "audiences": audiences}
