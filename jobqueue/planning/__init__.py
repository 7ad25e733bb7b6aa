"""Schedules as their users see them: define, change, pause, look at, run, backfill."""

from jobqueue.planning.schedules import Schedules

__all__ = ["Schedules"]
