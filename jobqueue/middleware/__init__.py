"""Middleware: what wraps every attempt."""

from jobqueue.middleware.base import CallNext, Middleware, compose
from jobqueue.middleware.logging import log_attempts
from jobqueue.middleware.metrics import Metrics

__all__ = ["CallNext", "Metrics", "Middleware", "compose", "log_attempts"]
