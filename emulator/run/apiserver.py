"""Serves the API of a cluster that lives, over its store and its Pods."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from ..api.givenout import GivenOut
from ..api.registry import Registry
from ..controllers.apps.disruption import may_evict
from ..controllers.apps.namespaces import ROOT_CA
from ..controllers.kubelet import rfc3339
from ..errors import InputError
from ..serving.identity import Identity
from ..serving.server import Server
from ..store.objects import Key
from ..store.store import Store
from ..workload.journal import Journal
from ..workload.launcher import Launcher
from .engine import Engine
from .probes import Probes
from .runtime import PodRuntime


@asynccontextmanager
async def api_server(
    engine: Engine,
    launcher: Launcher,
    journal: Journal,
    listeners: Sequence[socket.socket],
    identity: Identity,
    say: Callable[[str], None],
) -> AsyncIterator[None]:
    """Serves at ``listeners`` as long as the context lasts, and sends the probes of containers."""
    registry = Registry(
        engine.plane.store,
        lambda: rfc3339(time.time()),
        random.SystemRandom().randrange,
        tokens=identity.tokens,
        may_evict=_may_evict,
        settle=partial(_settle, engine),
        given_out=GivenOut(engine.plane.serviceSubnet),
    )
    registry.provide_namespaces()
    identity.tokens.exists = partial(_exists, engine.plane.store)
    _provide_authority(engine, identity.authority.certificate.decode())
    runtime = PodRuntime(engine, launcher, journal, identity)
    server = Server(registry, identity, runtime, wrote=engine.poke)
    probes = Probes(engine, runtime.run, say)
    engine.followers += [server.publish, probes.follow, runtime.follow]
    await server.start(listeners)
    try:
        yield
    finally:
        probes.close()
        await server.close()
        runtime.close()


def _provide_authority(engine: Engine, certificate: str) -> None:
    """Writes the CA of the API for the controller of Namespaces, which gives each Namespace a copy."""
    metadata = {"name": ROOT_CA, "namespace": "kube-system"}
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    engine.plane.store.write({**document, "data": {"ca.crt": certificate}}, now=rfc3339(time.time()))


def _settle(engine: Engine) -> list[tuple[str, str]]:
    """Lets the controllers act on what was written, and returns the problems that are new since."""
    plane = engine.plane
    known = set(plane.findings.problems)
    plane.now = rfc3339(time.time())
    try:
        plane.reconcile()
        found = plane.findings.problems
    except InputError as error:
        found = error.problems
    return [
        (f"Invalid value: {one.what}" + (f" ({one.hint})" if one.hint else ""), one.path)
        for one in dict.fromkeys(found)
        if one not in known
    ]


def _exists(store: Store, bound: Mapping[str, Any]) -> bool:
    """Returns whether the service account of a token is still there, and the Pod that it is bound to.
    ``bound`` is the token's claim ``kubernetes.io``.
    """
    namespace = str(bound.get("namespace"))
    return all(
        (found := store.get(Key(kind, namespace, str(claim.get("name"))))) is not None
        and found.uid == claim.get("uid")
        for kind, name in (("ServiceAccount", "serviceaccount"), ("Pod", "pod"))
        if isinstance(claim := bound.get(name), Mapping)
    )


def _may_evict(store: Store, pod: Key, now: str) -> tuple[int, str, str] | None:
    """Returns why a PodDisruptionBudget forbids an eviction, None if none does."""
    return may_evict(store, pod, now=now)
