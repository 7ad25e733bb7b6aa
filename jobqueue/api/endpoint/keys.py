"""`/keys` and `/audit`: who may do what, and who did."""

from datetime import UTC, datetime
from typing import Any

from jobqueue.access.base import ApiKey
from jobqueue.access.key import mint, replace
from jobqueue.access.scope import SCOPES_OF
from jobqueue.api import query, view
from jobqueue.api.call import Call
from jobqueue.api.problem import Refusal
from jobqueue.api.request import NewKey, Rotation


async def ls(call: Call) -> view.Keys:
    """All keys, revoked ones too. A key of some queues sees those of its queues."""
    return view.Keys(items=[view.Key(**_fields(each)) for each in await call.access.keys.list() if _below(call, each)])


async def create(call: Call) -> view.MadeKey:
    """Make a key; its secret is shown this once. Nobody gives away a right that they do not have."""
    new: NewKey = call.body
    scopes = SCOPES_OF[new.kind] if new.scopes is None else frozenset(new.scopes)
    secret, key = mint(
        new.name,
        kind=new.kind,
        scopes=scopes,
        queues=tuple(new.queues),
        expires=new.expires,
        rate=new.rate,
        created_by=call.caller.actor,
        now=datetime.now(UTC),
    )
    _check_below(call, key)
    await call.access.keys.add(key)
    call.site.callers.look_again()
    call.note(key.id, name=key.name, kind=key.kind.value, scopes=sorted(scopes), queues=list(key.queues))
    return view.MadeKey(**_fields(key), secret=secret)


async def rotate(call: Call) -> view.MadeKey:
    """A new key with the same rights; the old one stays good for `overlap`."""
    rotation: Rotation = call.body
    old, now = await _found(call), datetime.now(UTC)
    secret, key = replace(old, created_by=call.caller.actor, now=now, overlap=rotation.overlap)
    await call.access.keys.add(key)
    await call.access.keys.revoke(old.id, at=now + rotation.overlap)
    _forget(call, old)
    call.note(old.id, new=key.id, overlap_s=rotation.overlap.total_seconds())
    return view.MadeKey(**_fields(key), secret=secret)


async def revoke(call: Call) -> None:
    """Make a key void, everywhere within 5 s."""
    key = await _found(call)
    await call.access.keys.revoke(key.id, at=datetime.now(UTC))
    _forget(call, key)
    call.note(key.id, name=key.name)


async def audit(call: Call) -> view.AuditPage:
    """A page of changes, newest first."""
    asked: query.AuditQuery = call.query
    if not call.caller.sees_all:
        raise Refusal("forbidden", "the audit log tells of all queues; this key covers some")
    entries, more = await call.access.audit.list(
        actor=asked.actor,
        action=asked.action,
        target=asked.target,
        limit=asked.limit,
        after=call.cursor(),
    )
    items = [
        view.Audited(
            at=each.at,
            actor=each.actor,
            action=each.action,
            target=each.target,
            detail=dict(each.detail),
            address=each.address,
            request_id=each.request_id,
        )
        for each in entries
    ]
    return view.AuditPage(items=items, next_cursor=call.next_cursor(more))


async def _found(call: Call) -> ApiKey:
    key = await call.access.keys.get(call.path["key"])
    if key is None or not _below(call, key):
        raise Refusal("not-found", f"there is no key {call.path['key']!r}")
    return key


def _forget(call: Call, key: ApiKey) -> None:
    if call.site.gate is not None:
        call.site.gate.forget(key.id)


def _below(call: Call, key: ApiKey) -> bool:
    """Whether the caller could do all that the key can."""
    return key.scopes <= call.caller.scopes and all(_within(call, each) for each in key.queues)


def _within(call: Call, pattern: str) -> bool:
    mine = call.caller.queues
    if pattern.endswith("*"):
        return any(each.endswith("*") and pattern[:-1].startswith(each[:-1]) for each in mine)
    return call.caller.sees(pattern)


def _check_below(call: Call, key: ApiKey) -> None:
    if not key.scopes <= call.caller.scopes:
        lacking = ", ".join(sorted(key.scopes - call.caller.scopes))
        raise Refusal("forbidden", f"this key cannot give what it lacks: {lacking}")
    if not _below(call, key):
        raise Refusal("forbidden", "this key cannot give a key for queues that it does not cover")


def _fields(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "kind": key.kind,
        "scopes": sorted(key.scopes),
        "queues": list(key.queues),
        "rate": key.rate,
        "created_at": key.created_at,
        "created_by": key.created_by,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "last_used_at": key.last_used_at,
    }
