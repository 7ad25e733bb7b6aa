"""The command: python -m benchmarks.scale FIGURE..."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import structlog

from benchmarks.scale import consumers, delayed, depth, herd, idle, payload, retention, row, workers
from benchmarks.scale.lab import Lab
from benchmarks.scale.row import Row

_FIGURES: dict[str, Callable[[Lab], Iterator[Row]]] = {
    "depth": depth.measure,
    "workers": workers.measure,
    "consumers": consumers.measure,
    "herd": herd.measure,
    "payload": payload.measure,
    "delayed": delayed.measure,
    "retention": retention.measure,
    "idle": idle.measure,
}


@click.command()
@click.argument("figures", nargs=-1, required=True, type=click.Choice([*_FIGURES, "all"]))
@click.option("--rounds", default=1, show_default=True, type=click.IntRange(1), help="Medians over so many are shown.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write every row as JSON.")
@click.option("--redis-server", is_flag=True, help="The redis-server on PATH instead of Valkey.")
@click.option("--quick", is_flag=True, help="A twentieth of the jobs: whether it works, not what it costs.")
def main(figures: tuple[str, ...], rounds: int, output: Path | None, redis_server: bool, quick: bool) -> None:
    """Measure how jobqueue's costs grow. Progress goes to stderr; tables come at the end."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    logging.getLogger(asyncio.__name__).setLevel(logging.ERROR)
    lab = Lab(binary="redis-server" if redis_server else "valkey", quick=quick)
    chosen = list(_FIGURES) if "all" in figures else list(dict.fromkeys(figures))
    with lab.server() as (server, _):
        about = {**row.machine(), "server": f"{server.flavour} {server.version}", "rounds": rounds, "quick": quick}
    rows: list[Row] = []
    failed: list[str] = []
    for number in range(1, rounds + 1):
        for figure in chosen:
            started = time.monotonic()
            try:
                for each in _FIGURES[figure](lab):
                    rows.append(row.numbered(each, number))
            except Exception as error:  # the others are measured all the same
                failed.append(f"{figure}, round {number}: {type(error).__name__}: {error}")
                lab.say(failed[-1])
            lab.say(f"{figure}: round {number} of {rounds} took {time.monotonic() - started:.0f} s")
            if output is not None:
                row.write(output, rows, {**about, "failed": failed})
    row.show(rows)
    if failed:
        raise click.ClickException("; ".join(failed))


if __name__ == "__main__":
    main()
