"""The scenes of the security tests: those of the fault tests."""

from tests.faults.conftest import database_url, postgres, registry, scene, short_block, stored_scene

__all__ = ["database_url", "postgres", "registry", "scene", "short_block", "stored_scene"]
