"""Reads the objects that a kube-apiserver stored and printed (scripts/record-objects)."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

_GOLDEN = Path(__file__).parents[2] / "golden" / "apiserver" / "objects.json.gz"
OBJECTS: list[dict[str, Any]] = json.loads(gzip.decompress(_GOLDEN.read_bytes()))["objects"]


def title(row: dict[str, Any]) -> str:
    """Returns the id of a test's case."""
    document = row["input"]
    return f"{document['kind']}-{document['metadata']['name']}"
