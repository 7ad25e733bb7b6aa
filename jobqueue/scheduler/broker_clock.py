"""What time it is by the broker's clock, which alone decides what is due."""

from jobqueue.clock import Clock


class BrokerClock:
    """The broker's time as its replies tell, carried on by the monotonic clock here: behind it by the way of a reply,
    and ahead of it only after it was set back."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset_ms = 0.0
        self._heard: float | None = None

    def heard(self, now_ms: int) -> None:
        """The broker has said that it is *now_ms*."""
        self._heard = self._clock.monotonic()
        self._offset_ms = now_ms - self._heard * 1000

    def now_ms(self) -> int:
        """0 while nothing was heard."""
        return 0 if self._heard is None else int(self._offset_ms + self._clock.monotonic() * 1000)

    def silence_s(self) -> float:
        """How long nothing was heard."""
        return float("inf") if self._heard is None else self._clock.monotonic() - self._heard
