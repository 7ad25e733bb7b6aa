"""What a server has spent, read from a connection of its own."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import redis

_END_LIMIT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Since the server began, or between two readings; without what the probe asked."""

    cpu_us: float
    commands: int
    """INFO total_commands_processed, which is the sum of INFO commandstats: calls inside scripts count, too."""
    dataset: int
    """Bytes in keys: used_memory without buffers, scripts, and the table of keys itself."""
    memory: int
    """used_memory."""

    def since(self, before: Self) -> "Spent":
        """What was spent from *before* to this."""
        return Spent(
            cpu_us=self.cpu_us - before.cpu_us,
            commands=self.commands - before.commands,
            dataset=self.dataset - before.dataset,
            memory=self.memory - before.memory,
        )


class Probe:
    """Reads INFO, and counts what it asks itself."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url, decode_responses=True)
        self._asked = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def ask(self, *command: str) -> Any:
        """One command, left out of what `read` and `listen` tell."""
        self._asked += 1
        return self._client.execute_command(*command)

    def read(self) -> Spent:
        """What has been spent until now."""
        info = self.ask("INFO")
        return Spent(
            cpu_us=(info["used_cpu_user"] + info["used_cpu_sys"]) * 1e6,
            commands=info["total_commands_processed"] - self._asked,
            dataset=info["used_memory_dataset"],
            memory=info["used_memory"],
        )

    @contextmanager
    def listen(self) -> "Iterator[Sent]":
        """Count what clients send meanwhile, by MONITOR: scripts' calls are told apart there, by INFO they are not.

        It costs the server as much as a cheap command, for every command.
        """
        sent = Sent(self.ask("CLIENT INFO")["addr"])
        with self._client.monitor() as monitor:
            listener = threading.Thread(target=sent.listen_to, args=(monitor,), daemon=True)
            listener.start()
            self._asked += 1
            try:
                yield sent
            finally:
                self.ask("ECHO", sent.end)
                listener.join(_END_LIMIT_S)
        if listener.is_alive():
            raise TimeoutError("MONITOR has not shown the end")


class Sent:
    """How many commands clients have sent."""

    end = "end-of-listening"

    def __init__(self, own_address: str) -> None:
        self.commands = 0
        self._own = own_address

    def listen_to(self, monitor: Any) -> None:
        """Until the probe says that it is over."""
        while self.end not in (heard := monitor.next_command())["command"]:
            by_a_client = heard["client_type"] != "lua"
            self.commands += by_a_client and f"{heard['client_address']}:{heard['client_port']}" != self._own
