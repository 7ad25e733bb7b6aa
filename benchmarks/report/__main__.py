"""The command: python -m benchmarks.report RESULTS."""

from pathlib import Path

import click

from benchmarks.report import write

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.argument("results", type=_FILE)
@click.option("--scale", type=_FILE, help="The output of benchmarks.scale; else scale.json beside the results.")
@click.option("--docs", type=click.Path(path_type=Path, file_okay=False), default=Path("docs"), show_default=True)
def main(results: Path, scale: Path | None, docs: Path) -> None:
    """Write docs/reference/benchmarks.md and its charts."""
    click.echo(f"written: {write(results, scale, docs)}")


if __name__ == "__main__":
    main()
