"""`/queues`: how they do; hold, let go, empty."""

from jobqueue.api import show, view
from jobqueue.api.call import Call
from jobqueue.api.problem import Refusal
from jobqueue.api.request import Purge


async def ls(call: Call) -> view.Queues:
    """The caller's queues."""
    return view.Queues(items=await call.site.live.queues(call.caller.queues))


async def stats(call: Call) -> view.Queue:
    """One queue in full."""
    return await _look(call, await there(call))


async def depth(call: Call) -> view.Depth:
    """What waits in one queue."""
    found = await call.queue.stats(await there(call))
    return view.Depth(name=found.queue, depth=show.depth(found), ready=found.depth, delayed=found.delayed)


async def pause(call: Call) -> view.Queue:
    """Let no more jobs be started."""
    name = await there(call)
    await call.queue.pause(name)
    call.note(name)
    return await _look(call, name)


async def resume(call: Call) -> view.Queue:
    """Undo `pause`."""
    name = await there(call)
    await call.queue.resume(name)
    call.note(name)
    return await _look(call, name)


async def purge(call: Call) -> view.Purged:
    """Cancel what waits; the queue's name must be said twice."""
    name, body = await there(call), call.body
    assert isinstance(body, Purge)
    if body.confirm != name:
        raise Refusal("conflict", f"to purge this queue, `confirm` must be its name: {name!r}")
    cancelled = await call.queue.purge(name, delayed=body.delayed)
    call.note(name, cancelled=cancelled, delayed=body.delayed)
    return view.Purged(cancelled=cancelled)


async def there(call: Call) -> str:
    """The queue of the path.

    Raises:
        Refusal: there is none of this name that the caller sees.
    """
    name = call.path["name"]
    if not call.caller.sees(name) or name not in await call.queue.queues():
        raise Refusal("not-found", f"there is no queue {name!r}; one begins with its first job or worker")
    return name


async def _look(call: Call, name: str) -> view.Queue:
    found = await call.site.live.queue(name)
    if found is None:
        raise Refusal("not-found", f"there is no queue {name!r} any more")
    return found
