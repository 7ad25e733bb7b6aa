"""The scenes of the security tests: those of the fault tests, and logging that is as before when a test is over."""

import logging
from collections.abc import Iterator

import pytest
import structlog

from tests.faults.conftest import registry, scene, short_block, stored_scene

__all__ = ["logging_as_before", "registry", "scene", "short_block", "stored_scene"]


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """What the command line configures."""
    root, watched = logging.getLogger(), logging.getLogger("watchfiles")
    handlers, levels = root.handlers[:], (root.level, watched.level)
    yield
    structlog.reset_defaults()
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    watched.setLevel(levels[1])
