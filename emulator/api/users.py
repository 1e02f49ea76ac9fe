"""Defines who asks, as authentication finds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ISSUER = "https://kubernetes.default.svc.cluster.local"  # issues the tokens; the audience of the API, too
MASTERS = "system:masters"


@dataclass(frozen=True, slots=True)
class User:
    """Describes a client: ``extra`` is what authentication knows beside name and groups."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Returns the ``userInfo`` of a review."""
        info: dict[str, Any] = {"username": self.name, "groups": list(self.groups)}
        if self.uid:
            info["uid"] = self.uid
        if self.extra:
            info["extra"] = {key: list(values) for key, values in self.extra.items()}
        return info


def service_account(claim: Mapping[str, Any]) -> User | None:
    """Returns the user of a token's claim ``kubernetes.io``, None if it names none."""
    namespace, account = claim.get("namespace"), claim.get("serviceaccount")
    if not isinstance(namespace, str) or not isinstance(account, Mapping):
        return None
    groups = (
        "system:serviceaccounts",
        f"system:serviceaccounts:{namespace}",
        "system:authenticated",
    )
    extra = {}
    if isinstance(pod := claim.get("pod"), Mapping):
        extra = {
            f"authentication.kubernetes.io/pod-{key}": (str(pod[key]),)
            for key in ("name", "uid")
            if key in pod
        }
    name = f"system:serviceaccount:{namespace}:{account.get('name')}"
    return User(name, groups, str(account.get("uid", "")), extra)
