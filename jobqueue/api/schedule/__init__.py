"""Schedules over HTTP: what is sent, what is shown, and the way between."""
