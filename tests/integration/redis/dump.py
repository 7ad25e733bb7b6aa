"""All that a namespace holds, byte by byte."""

import redis.asyncio


async def dump(raw: "redis.asyncio.Redis", namespace: str) -> dict[bytes, bytes | None]:
    keys = [key async for key in raw.scan_iter(match=f"*{namespace}:*", count=1000)]
    return {key: await raw.dump(key) for key in sorted(keys)}
