"""A shipper in a process of its own that says when it has come to a step, and waits there to be killed."""

import asyncio
import sys
from pathlib import Path

from jobqueue.config import PostgresSettings
from jobqueue.repository.postgres.archive import PostgresArchive
from jobqueue.repository.postgres.database import Database
from tests.integration.postgres.journal import FileJournal, ship_once


async def main(url: str, journal: str, kind: str, last_step: str) -> None:
    async def step(name: str) -> None:
        if name == last_step:
            print(name, flush=True)
            await asyncio.Event().wait()

    async with Database(PostgresSettings(url=url)) as database:
        await ship_once(PostgresArchive(database), FileJournal(Path(journal)), kind=kind, step=step)  # type: ignore[arg-type]


asyncio.run(main(*sys.argv[1:]))
