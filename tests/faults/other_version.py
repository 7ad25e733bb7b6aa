"""The command line of a jobqueue whose scripts have other texts: `python -m tests.faults.other_version worker ...`."""

from pathlib import Path

_read_text = Path.read_text


def _of_another_version(path: Path, *args: str | None, **options: str | None) -> str:
    text = _read_text(path, *args, **options)  # type: ignore[arg-type]
    return f"{text}-- of another version\n" if path.suffix == ".lua" else text


if __name__ == "__main__":
    Path.read_text = _of_another_version  # type: ignore[assignment, method-assign]
    from jobqueue.broker import scripts
    from jobqueue.cli.main import main

    assert all(script.source.endswith("-- of another version\n") for script in scripts.ALL.values())
    main()
