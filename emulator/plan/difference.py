"""Computes the operations that turn a kernel that holds one plan into one that holds another. Pure.

A plan of a whole cluster states what there is. Each of its operations makes one thing, which its identity
distinguishes from all others. Things in both plans cost nothing. Deletions come first, in the order of the
stages: neighbours, routes and addresses, then links, then namespaces. Additions follow in the order of the
new plan, rules last. Things that the kernel deletes together with others (a link's addresses and routes, the
routes whose source address goes) are not deleted again; they are added again if they are still wanted. Each
operation declares what it rests on and what is lost with it (:mod:`emulator.plan.operations.operation`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .operations import Addition, AddNetns, Operation, Plan, Stage
from .operations.operation import Identity, Thing


def difference(old: Plan, new: Plan) -> Plan:
    """Returns the operations that turn a kernel that holds ``old`` into one that holds ``new``, in an order
    that can be applied.

    Both are plans of whole clusters: ``ValueError`` for one that deletes. Raises :class:`UsageError` for
    changes that cannot be undone: a sysctl that ``new`` no longer sets, since its value before is not known,
    and IPVS and its sets. (Only another configuration of kube-proxy does that, which needs a restart in a
    cluster, too.)
    """
    before, after = _things(old), _things(new)
    lost = _Lost(before, after)
    additions: list[Operation] = []
    for identity, op in after.items():
        was = before.get(identity)
        if was is None or lost.concerns(op):
            additions.append(op)
        else:
            additions += op.change_from(was)
    undone = [op for _, op in sorted(lost.undone(), key=lambda row: (row[1].stage, row[0]))]
    first = [op for op in undone if op.stage < Stage.NAMESPACES]
    return Plan(name=new.name, operations=(*first, *additions, *undone[len(first) :]))


def _things(plan: Plan) -> dict[Identity, Addition]:
    """Returns the things of the plan, by identity. If two operations make the same thing, the later one
    counts.
    """
    things: dict[Identity, Addition] = {}
    for op in plan.operations:
        if not isinstance(op, Addition):
            raise ValueError(f"the plan of a change deletes, so it cannot be compared: {op}")
        identity = op.identity
        things.pop(identity, None)
        things[identity] = op
    return things


class _Lost:
    """Finds the things that a kernel loses on its way from ``before`` to ``after``."""

    def __init__(self, before: Mapping[Identity, Addition], after: Mapping[Identity, Addition]) -> None:
        self._netns = {
            op.netns for identity, op in before.items() if isinstance(op, AddNetns) and identity not in after
        }
        self._things: set[Thing] = set()
        self._going: list[Addition] = []  # no longer wanted, or to be made again in another way
        self._remade: set[Identity] = set()
        for identity, op in before.items():  # in a plan, the things that one rests on come before it
            now = after.get(identity)
            if now is None:
                self._going.append(op)
            elif not op.in_place and (not op.is_like(now) or self._lack(op.supports)):
                self._going.append(op)
                self._remade.add(identity)
            elif not self._lack(op.carriers):
                continue
            self._things.update(op.provides)

    def _lack(self, things: tuple[Thing, ...]) -> bool:
        return not self._things.isdisjoint(things)

    def concerns(self, op: Addition) -> bool:
        """Returns whether the kernel loses, or may lose, the thing of ``op`` although both plans have it."""
        return op.identity in self._remade or self._lack(op.supports)

    def undone(self) -> Iterator[tuple[Stage, Operation]]:
        """Yields the deletions that the kernel does not make by itself, each with the stage in which its
        thing was added. For a namespace that goes these are only the links that lead out of it.
        """
        for op in self._going:
            taken_along = op.namespaces and self._netns.issuperset(op.namespaces)
            if not taken_along and not self._lack(op.carriers):
                for operation in op.undo():
                    yield op.stage, operation
