"""What the demo tells at its end."""

import click
import msgspec

from jobqueue.cli.demo.run import Account
from jobqueue.cli.output import table, text

_LARGEST = 6
_LONGEST_ERROR = 90


def summary(account: Account) -> str:
    """The totals, and the largest modules."""
    totals = {name: sum(each[name] for each in account.counts.values()) for name in _COUNTED}
    attempts = sum(account.outcomes.values())
    rows = [
        ["files", _number(len(account.paths))],
        ["completed", _number(len(account.counts))],
        ["dead", _number(len(account.letters))],
        *([name, _number(total)] for name, total in totals.items()),
        ["attempts", _number(attempts)],
        ["retries", _number(account.outcomes.get("retrying", 0))],
        ["seconds", f"{account.seconds:.1f}"],
        ["jobs/s", _number(round(len(account.paths) / account.seconds))],
    ]
    width = max(len(value) for _, value in rows)
    lines = [f"  {name:<11}{value.rjust(width)}" for name, value in rows]
    return "\n".join([click.style("The standard library", bold=True), *lines, "", _largest(account)])


_COUNTED = ("lines", "functions", "classes", "imports")


def _largest(account: Account) -> str:
    ranked = sorted(account.counts.items(), key=lambda each: each[1]["lines"], reverse=True)[:_LARGEST]
    rows = [[account.paths[job_id], *(counts[name] for name in _COUNTED)] for job_id, counts in ranked]
    return _indented(table(rows, ("largest files", *_COUNTED)))


def dead_letters(account: Account) -> str:
    """The files that could not be analysed, with their errors."""
    rows = [
        [
            msgspec.json.decode(stored.letter.body)["payload"]["path"],
            stored.letter.attempts,
            f"{stored.letter.error_class}: {_short(stored.letter.error_message)}",
        ]
        for stored in sorted(account.letters, key=lambda stored: account.paths.get(stored.letter.job_id, ""))
    ]
    head = click.style("Dead letters", bold=True) + ", as Postgres has them: CPython ships files that do not parse"
    return f"{head}\n{_indented(table(rows, ('file', 'attempts', 'error')))}"


def account_lines(account: Account) -> str:
    """Whether it adds up."""
    stats = account.stats
    mark = click.style("ok", fg="green") if account.settled else click.style("WRONG", fg="red")
    lines = [
        f"{click.style('The account', bold=True)}: {mark}",
        f"  {stats.enqueued} enqueued = {stats.completed} completed + {stats.died} dead; {stats.live} left over",
        f"  {len(account.paths)} files = {len(account.counts)} results in Redis + {len(account.letters)} dead letters "
        f"in Postgres",
    ]
    lines += [f"  missing: {path}" for path in account.missing]
    lines += [f"  both completed and dead: {path}" for path in account.twice]
    lines += [f"  {each.rule} broken: {each.message}" for each in account.violations]
    if not account.violations:
        lines.append("  every invariant holds: no job lost, none doubled, none left behind")
    return "\n".join(lines)


NEXT = """Where to look next
  jobqueue dev -A your.module    your own tasks, on private servers, in one terminal
  jobqueue --help                every command
  README.md, docs/, examples/    the first job, step by step; the tasks of this demo: """


def _indented(block: str) -> str:
    return "\n".join(f"  {line}" for line in block.splitlines())


def _number(value: int) -> str:
    return f"{value:,}".replace(",", " ")


def _short(message: str) -> str:
    line = text(message.splitlines()[0] if message else "")
    return line if len(line) <= _LONGEST_ERROR else line[: _LONGEST_ERROR - 1] + "…"
