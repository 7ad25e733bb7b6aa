"""`python -m testutil.chaos.broken`: exit code 0 only when every mutant was caught and every control is clean."""

import asyncio
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from testutil.chaos.broken.mutant import MUTANTS
from testutil.chaos.broken.scenario import SCENARIOS
from testutil.chaos.broken.trial import Trial, try_mutant, try_whole

_MOST_DETAILS = 8


@click.command()
@click.option("--only", type=click.Choice([*MUTANTS, *SCENARIOS]), multiple=True, help="A mutant, or a control.")
@click.option("--seconds", type=click.FloatRange(1, 600), help="At least so long. [default: what the scenario says]")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Where histories stay.")
def main(only: tuple[str, ...], seconds: float | None, seed: int, out: Path | None) -> None:
    """Show that the checker sees what broken brokers do, and sees nothing where nothing is broken."""
    base = out or Path(tempfile.mkdtemp(prefix="jobqueue-broken-"))
    chosen = only or tuple(_controls_first())
    trials = [_try(name, base, seed, seconds) for name in chosen]
    click.echo(table(trials))
    sys.exit(0 if all(trial.ok for trial in trials) else 1)


def _controls_first() -> Iterator[str]:
    """Each scenario, whole, then the mutants that are run under it."""
    for scenario in SCENARIOS:
        yield scenario
        yield from (name for name, mutant in MUTANTS.items() if mutant.scenario.name == scenario)


def _try(name: str, base: Path, seed: int, seconds: float | None) -> Trial:
    folder = base / name
    if name in MUTANTS:
        trial = asyncio.run(try_mutant(MUTANTS[name], folder, seed=seed, seconds=seconds))
    else:
        trial = asyncio.run(try_whole(SCENARIOS[name], folder, seed=seed, seconds=seconds))
    click.echo(f"{_row(trial)}   {folder}")
    if not trial.ok:
        click.echo(f"  {trial.line}")
        for line in trial.details[:_MOST_DETAILS]:
            click.echo(f"  {line}")
    return trial


def table(trials: list[Trial]) -> str:
    """A line for each trial."""
    return "\n".join(
        ["", f"{'mutant':26} {'verdict':8} {'s':>5}  caught by, and what failed beside it", *map(_row, trials)]
    )


def _row(trial: Trial) -> str:
    if trial.mutant is None:
        verdict, told = "clean" if trial.ok else "BROKEN", ", ".join(f"{k} {n}" for k, n in trial.failed.items())
    else:
        expected = trial.mutant.caught_by
        verdict = "caught" if trial.ok else "MISSED"
        others = ", ".join(f"{name} {count}" for name, count in trial.failed.items() if name != expected)
        told = f"{expected} {trial.failed.get(expected, 0)}" + (f" ({others})" if others else "")
    return f"{trial.name:26} {verdict:8} {trial.seconds:5.1f}  {told}"


if __name__ == "__main__":
    main()
