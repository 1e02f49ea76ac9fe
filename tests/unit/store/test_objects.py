from __future__ import annotations

from emulator.store.objects import Key, uid_of
from emulator.store.store import Store


def test_uid_is_known_before_the_object_is_there() -> None:
    store = Store()
    key = Key("ConfigMap", "default", "a")
    wanted = uid_of(key, store.resourceVersion + 1)
    stored = store.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}, now="now")
    assert (stored.key, stored.uid) == (key, wanted)


def test_custom_kind_may_have_no_namespace() -> None:
    store = Store()
    store.unnamespaced = frozenset({"Widget.example.org"})
    manifest = {"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "a"}}
    assert store.create(manifest, now="now").key == Key("Widget.example.org", "", "a")
