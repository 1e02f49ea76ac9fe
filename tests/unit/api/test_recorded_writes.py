"""Holds patches, managed fields and server-side apply against writes that a real kube-apiserver answered.

tests/golden/apiserver/writes.json.gz has ``steps``: verb (apply, put, json, merge or smp: a strategic merge
patch), manager, force, kind, apiVersion, body, the object before (None: it was created) and after, the
code, and of a refusal its message and causes. The objects after have defaults that are not these modules'
matter.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from emulator.api import managed, patch, typed
from emulator.api.resources import RESOURCES
from emulator.api.shapes import written
from emulator.api.status import ApiError

GOLDEN = Path(__file__).parents[2] / "golden/apiserver/writes.json.gz"
STEPS = json.loads(gzip.decompress(GOLDEN.read_bytes()))["steps"]
FORMS = {"smp": patch.STRATEGIC_MERGE_PATCH, "merge": patch.MERGE_PATCH, "json": patch.JSON_PATCH}
KINDS = {(one.apiVersion, one.kind): one for one in RESOURCES}
GIVEN = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "namespace")


def owners(document: dict[str, Any]) -> list[str]:
    rows = document["metadata"].get("managedFields") or []
    return sorted(json.dumps({**row, "time": ""}, sort_keys=True) for row in rows)


def bare(document: dict[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in document["metadata"].items() if key not in GIVEN}
    return written({**document, "metadata": metadata})


def order(document: dict[str, Any]) -> list[Any]:
    spec = document.get("spec", {})
    rows = spec.get("template", {}).get("spec", {}).get("containers") or []
    ports = [port["port"] for port in spec.get("ports", [])]
    return [ports, *([row["name"], [e["name"] for e in row.get("env", [])]] for row in rows)]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"{step['verb']}-{step['kind']}-{step['code']}")
def test_a_write_ends_as_at_a_real_server(step: dict[str, Any]) -> None:
    before, body = step["before"], step["body"]
    write = managed.Write(step["manager"], "2026-12-01T00:00:00Z")

    def do() -> dict[str, Any]:
        if step["verb"] == "apply":
            return managed.apply(before, body, write, force=step["force"])
        if step["verb"] == "put":
            return body
        resource = KINDS[step["apiVersion"], step["kind"]]
        return patch.apply_patch(FORMS[step["verb"]], before, json.dumps(body).encode(), resource)

    if step["code"] >= 400:
        with pytest.raises(ApiError) as caught:
            do()
        assert caught.value.code == step["code"]
        assert caught.value.reason == step["reason"]
        assert sorted(caught.value.message.split("\n")) == sorted(step["message"].split("\n"))
        causes = sorted((one["reason"], one["message"], one["field"]) for one in step["causes"])
        assert sorted(map(tuple, caught.value.causes)) == causes
        return
    mine, after = do(), step["after"]
    if step["verb"] == "apply":
        assert owners(mine) == owners(after)
    else:
        sent = {key: value for key, value in after["metadata"].items() if key != "managedFields"}
        assert owners(managed.update(before, {**after, "metadata": sent}, write)) == owners(after)
    if step["verb"] != "put":
        found = typed.of_kind(step["apiVersion"], step["kind"]).compare(bare(mine), bare(after))
        assert not found.modified
        assert not found.removed
        assert order(mine) == order(after)
