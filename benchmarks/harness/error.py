"""What goes wrong with a system ends its measurement, not the run."""

from collections.abc import Mapping


class Failed(Exception):
    """A measurement that could not be completed; *figures* are those that are known all the same."""

    def __init__(self, message: str, figures: Mapping[str, float] | None = None) -> None:
        super().__init__(message)
        self.figures = dict(figures or {})
