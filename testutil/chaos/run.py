"""One run: servers and crew up, faults, heal, drain, read, judge.

report = await run(PROFILES["standalone"], seed=7, seconds=300, folder=Path("/tmp/chaos"))
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from jobqueue.embedded import PostgresServer, start_postgres
from jobqueue.repository.postgres.migrate import migrate_up
from testutil.chaos.check import check
from testutil.chaos.crew import Crew
from testutil.chaos.crew_faults import CREW_FAULTS
from testutil.chaos.editions import watch_editions
from testutil.chaos.editor import begin_schedules, end_schedules
from testutil.chaos.final import FinalState, read_connections, read_final
from testutil.chaos.history_faults import HISTORY_FAULTS
from testutil.chaos.nemesis import KINDS, Fault, plan
from testutil.chaos.profile import Binary, Profile
from testutil.chaos.redis_faults import REDIS_FAULTS
from testutil.chaos.report import Report, make_report
from testutil.chaos.sampler import sample
from testutil.chaos.stage import Stage
from testutil.chaos.stall import watching
from testutil.chaos.strike import Struck, strike_all
from testutil.chaos.verdict import Rules
from testutil.chaos.wire import Wire
from testutil.proxy import ProxyHost
from testutil.topology import open_topology

STRIKES: Final = CREW_FAULTS | REDIS_FAULTS | HISTORY_FAULTS

_TEND_S: Final = 0.5
_SWITCH_S: Final = 0.0005
_STARTED_LIMIT_S: Final = 60.0
_READY_LIMIT_S: Final = 60.0
_FINISH_LIMIT_S: Final = 30.0
_DRAIN_LIMIT_S: Final = 120.0
_SHORTEST_FOR_STALE_S: Final = 100.0


async def run(
    profile: Profile,
    *,
    seed: int,
    seconds: float,
    folder: Path,
    binary: Binary | None = None,
    command: str = "",
    faults: Sequence[Fault] | None = None,
    drain_s: float = _DRAIN_LIMIT_S,
) -> Report:
    """Break things for *seconds*, and judge what came of it. Everything is written to *folder*.

    *faults* take the place of those that seed and profile draw.
    """
    # The proxies run in this process: what we read and sort must not keep them waiting.
    sys.setswitchinterval(_SWITCH_S)
    async with _stage(profile, seed, folder, binary or profile.binary) as stage:
        drawn = plan(seed, seconds, profile) if faults is None else faults
        async with watching(stage):
            began, struck = await _suffer(stage, drawn, seconds, profile.schedules)
            final = await _settle_down(stage, drain_s, profile.schedules)
        rules = Rules(loses=profile.loses, weak_ok=seconds < _SHORTEST_FOR_STALE_S, lease_s=profile.lease_s)
        verdict = await asyncio.to_thread(check, folder, final, rules)
        return make_report(
            profile=profile,
            seed=seed,
            seconds=seconds,
            began=began,
            faults=struck,
            verdict=verdict,
            folder=folder,
            servers=_servers(stage),
            command=command,
        )


@asynccontextmanager
async def _stage(profile: Profile, seed: int, folder: Path, binary: Binary) -> AsyncIterator[Stage]:
    """Servers, proxies, and a crew that works."""
    replicas = 1 if profile.topology == "cluster" else 0
    with ProxyHost() as host:
        async with (
            open_topology(profile.topology, proxied=True, binary=binary, replicas=replicas) as topology,
            _open_postgres() as postgres,
        ):
            history = host.add(postgres.url, commands=False)
            links = {f"worker-{index}": host.add(topology.url) for index in range(profile.links)}
            crew = Crew(
                topology.url,
                history.through(postgres.url),
                folder,
                seed,
                workers=profile.workers,
                slots=profile.slots,
                producers=profile.producers,
                schedulers=profile.schedulers,
                lease_s=profile.lease_s,
                rate=profile.rate,
                durability=profile.durability,
                schedules=profile.schedules,
                direct_url=topology.direct_url,
                urls={name: link.through(topology.url) for name, link in links.items()},
            )
            stage = Stage(
                folder=folder,
                topology=topology,
                wires={node.name: Wire(node.proxy) for node in topology.data_nodes if node.proxy is not None},
                links={name: Wire(link) for name, link in links.items()},
                postgres=postgres,
                history=Wire(history),
                crew=crew,
                losing=frozenset(_losing(profile)),
            )
            try:
                crew.start()
                yield stage
            finally:
                crew.close()


def _losing(profile: Profile) -> list[str]:
    """Whatever makes a primary look dead ends in a failover."""
    if not profile.loses:
        return []
    slow = ("wire.latency", "wire.throttle")
    return [kind for kind in profile.weights if KINDS[kind].outage or kind in slow]


@asynccontextmanager
async def _open_postgres() -> AsyncIterator[PostgresServer]:
    postgres = await asyncio.to_thread(start_postgres, extra_args=("-c", "max_connections=200"))
    try:
        await migrate_up(postgres.url)
        await watch_editions(postgres.url)
        yield postgres
    finally:
        await asyncio.to_thread(postgres.stop)


async def _suffer(
    stage: Stage, faults: Sequence[Fault], seconds: float, schedules: Sequence[str]
) -> tuple[float, list[Struck]]:
    """The faults, beginning when jobs run; then what is left of the time in quiet."""
    await _wait_for_work(stage)
    await begin_schedules(*stage.doors, stage.folder, schedules)
    sampling = asyncio.create_task(sample(stage.topology.direct_url, stage.folder))
    tending = asyncio.create_task(_tend(stage.crew))
    began = time.time()
    try:
        struck = await strike_all(stage, faults, STRIKES)
        await asyncio.sleep(began + seconds - time.time())
    finally:
        for task in (tending, sampling):
            task.cancel()
        await asyncio.wait([tending, sampling])
    return began, struck


async def _wait_for_work(stage: Stage) -> None:
    """Every worker has run a job: its history holds something; and every scheduler says that it has started."""
    deadline = time.monotonic() + _STARTED_LIMIT_S
    workers = [member.name for member in stage.crew.of("worker")]
    schedulers = [member.name for member in stage.crew.of("scheduler")]

    def at_work() -> bool:
        return all(
            any(path.stat().st_size for path in stage.folder.glob(f"{name}.*.jsonl")) for name in workers
        ) and all(
            any(b"scheduler.started" in path.read_bytes() for path in stage.folder.glob(f"{name}.*.log"))
            for name in schedulers
        )

    while not at_work():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the crew did not begin to work within {_STARTED_LIMIT_S:g} s; see {stage.folder}")
        await asyncio.sleep(0.1)


async def _tend(crew: Crew) -> None:
    while True:
        crew.tend()
        await asyncio.sleep(_TEND_S)


async def _settle_down(stage: Stage, drain_s: float, schedules: Sequence[str]) -> FinalState:
    await asyncio.to_thread(stage.heal_servers)
    stage.crew.heal()
    with suppress(TimeoutError):  # the drain tells whether it matters
        await asyncio.to_thread(stage.topology.wait_ready, _READY_LIMIT_S)
    await stage.crew.finish_producing(_FINISH_LIMIT_S)
    await end_schedules(*stage.doors, stage.folder, schedules)
    drained = await stage.crew.drain(drain_s)
    nodes = [node.url for node in await asyncio.to_thread(stage.topology.primaries)]
    final = await read_final(stage.postgres.url, nodes, drained=drained)
    await stage.crew.shut_down()
    await read_connections(final, nodes)
    return final


def _servers(stage: Stage) -> str:
    server = stage.topology.data_nodes[0].server
    return f"{server.flavour} {server.version}, postgres {stage.postgres.version}"
