"""`create_app` refuses what it cannot serve, before it is mounted."""

from types import ModuleType
from typing import Any

import pytest

from jobqueue.api.app import create_app
from jobqueue.testing import memory_queue


async def test_what_is_no_queue_is_refused() -> None:
    with pytest.raises(TypeError, match=r"create_app takes a JobQueue, such as JobQueue.connect\(...\) makes, got 'x'"):
        create_app("x")  # type: ignore[arg-type]


@pytest.mark.parametrize("registry", ["shop.jobs", ModuleType("shop")])
async def test_what_only_names_a_registry_is_refused(registry: Any) -> None:
    with pytest.raises(TypeError, match=r"registry must be the Registry itself, such as shop.jobs.registry, got"):
        create_app(memory_queue(), registry=registry)
