"""`python -m testutil.chaos --minutes 5 --seed 7 --profile standalone`; exit code 0 only when all is well."""

import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import cast

import click

from testutil.chaos.profile import PROFILES, Binary, small
from testutil.chaos.report import Report
from testutil.chaos.run import run


@click.command()
@click.option("--minutes", type=click.FloatRange(0.1, 600), help="How long things are broken. [default: 5, smoke: 1]")
@click.option("--seed", type=int, help="The same seed, the same schedule of faults. [default: drawn, and told]")
@click.option("--profile", "names", type=click.Choice([*PROFILES, "all"]), default="standalone", show_default=True)
@click.option("--binary", type=click.Choice(["valkey", "redis-server"]), help="Another server than the profile's own.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Where histories and report stay.")
@click.option("--runs", type=click.IntRange(1, 100), default=1, show_default=True, help="Runs of each profile.")
@click.option("--smoke", is_flag=True, help="A smaller crew, for one minute.")
def main(
    minutes: float | None, seed: int | None, names: str, binary: str | None, out: Path | None, runs: int, smoke: bool
) -> None:
    """Run the plant under faults, and judge what came of it."""
    minutes = minutes or (1 if smoke else 5)
    first = random.SystemRandom().randrange(10_000) if seed is None else seed
    chosen = list(PROFILES) if names == "all" else [names]
    several = len(chosen) * runs > 1
    base = out or Path(tempfile.mkdtemp(prefix="jobqueue-chaos-"))
    clean = True
    for name in chosen:
        for number in range(first, first + runs):
            folder = base / f"{name}-{number}" if several else base
            clean &= _one(name, number, minutes, cast("Binary | None", binary), folder, smoke=smoke)
    sys.exit(0 if clean else 1)


def _one(name: str, seed: int, minutes: float, binary: Binary | None, folder: Path, *, smoke: bool) -> bool:
    if folder.exists() and any(folder.iterdir()):
        raise click.UsageError(f"{folder} is not empty: histories of two runs would be judged as one")
    command = f"python -m testutil.chaos --minutes {minutes:g} --seed {seed} --profile {name}"
    command += (f" --binary {binary}" if binary else "") + (" --smoke" if smoke else "")
    profile = small(PROFILES[name]) if smoke else PROFILES[name]
    click.echo(f"{time.strftime('%H:%M:%S')} {command}; writes to {folder}", err=True)
    report = asyncio.run(run(profile, seed=seed, seconds=minutes * 60, folder=folder, binary=binary, command=command))
    report.write(folder)
    _tell(report, folder)
    return report.ok


def _tell(report: Report, folder: Path) -> None:
    click.echo(report.line)
    for line in report.details:
        click.echo(f"  {line}")
    click.echo(f"{folder / 'report.html'}", err=True)


if __name__ == "__main__":
    main()
