"""The page that says what happens in every failure scenario, and which test shows it.

    python -m testutil.fault_matrix            write docs/explanation/fault-matrix.md
    python -m testutil.fault_matrix --check    exit 1 when it is out of date, or a scenario has no test

The triggers are the table below. What happens is the first line of the docstring of each test whose name begins
with the scenario's id: `test_f12_...`, or `test_f34_f35_...` for several.
"""

import argparse
import ast
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "explanation" / "fault-matrix.md"
TESTS = ROOT / "tests"

_IDS = re.compile(r"test((?:_f\d\d)+)_")

_REMOTE = "there are no workers over HTTP yet"

# Scenario id -> trigger; a heading stands before its first one.
PARTS: dict[str, dict[str, str]] = {
    "Producer": {
        "F01": "The reply to an enqueue is lost",
        "F02": "The connection is reset between request and reply, again and again",
        "F03": "Calls are cancelled at any moment",
        "F04": "Enqueue while Redis is down",
        "F05": "One job of a batch cannot be queued",
        "F06": "Redis reaches `maxmemory`, policy `noeviction`",
        "F07": "Redis is set to evict keys",
        "F08": "The disk under Redis is full",
        "F09": "A payload is too big, too deep, or has no JSON form",
        "F10": "An idempotency key comes again with another body",
        "F11": "Jobs are queued before any worker has ever been there",
    },
    "Worker": {
        "F12": "Worker killed after it took a job, before it started it",
        "F13": "Worker killed while a handler runs",
        "F14": "Worker killed after the side effect, before the settlement",
        "F15": "Worker killed after it sent a settlement, before the reply",
        "F16": "Worker suspended for longer than its lease, then resumed",
        "F17": "A handler blocks the event loop for longer than a lease",
        "F18": "A handler ignores its cancellation, or never returns",
        "F19": "A job kills every worker that runs it",
        "F20": "SIGTERM under load",
        "F21": "A second signal, or kill -9, during shutdown",
        "F22": "The reply to a fetch is lost",
        "F23": "Heartbeats fail for a while",
        "F24": "A connection is half open: no bytes, no end",
        "F25": "The socket timeout is shorter than a blocking read",
        "F26": "Handlers use the queue's connections to the full",
        "F27": "A result is too large, or has no JSON form",
        "F28": "This worker does not know the task",
        "F29": "Two workers under one consumer name",
        "F30": "A read brings more jobs than there are free slots",
    },
    "Redis": {
        "F31": "Redis killed, `appendfsync everysec`",
        "F32": "Redis killed, `appendfsync always`",
        "F33": "Redis restarts with the tail of its AOF cut off",
        "F34": "Redis is down for longer than a lease, and comes back",
        "F35": "Redis stands still for longer than a lease",
        "F36": "Scripts vanish from Redis: `SCRIPT FLUSH`, restart",
        "F37": "`FLUSHALL`, or a consumer group destroyed",
        "F38": "The consumer group is lost and the stream is kept",
        "F39": "An operator deletes a consumer that has jobs",
        "F40": "Hundreds of short-lived workers",
        "F41": "An operator trims a job stream",
        "F42": "A script meets a key of a wrong type, or very many members",
        "F43": "A script would run for long",
        "F44": "Very many delayed jobs are due in one millisecond",
        "F45": "One worker of many dies, with very many jobs running",
        "F46": "Pending entries are read again",
        "F47": "Redis closes connections again and again",
        "F48": "Redis comes back with an old backup",
    },
    "Failover, cluster, network": {
        "F49": "Sentinel failover with asynchronous replication",
        "F50": "A client still talks to the demoted primary",
        "F51": "A failover loses a claim",
        "F52": "A failover loses a settlement",
        "F53": "Redis Cluster, or a service that refuses undeclared keys",
        "F54": "Slots migrate under load",
        "F55": "Queue names with braces, stars, line breaks",
        "F56": "One worker, many queues, on several cluster nodes",
        "F57": "A living worker is cut off from Redis",
        "F58": "Requests arrive and replies do not",
        "F59": "A slow network, with large replies",
    },
    "Scheduler and time": {
        "F60": "Several schedulers fire one cron schedule",
        "F61": "Scheduler killed while it fires a cron schedule",
        "F62": "No scheduler for an hour",
        "F63": "A worker's clock is wrong, or jumps",
        "F64": "The clock of the Redis server jumps",
        "F65": "Daylight saving begins or ends",
        "F66": "A cron schedule is edited while it fires",
        "F67": "Killed while due jobs are promoted",
        "F68": "A delayed job is cancelled when it falls due",
        "F69": "The holder of a unique key dies, or runs for very long",
    },
    "Postgres, dead letters, remote workers": {
        "F70": "Postgres is down when jobs die",
        "F71": "The connection is lost during COMMIT",
        "F72": "Shipper killed between COMMIT and trim",
        "F73": "Postgres hangs",
        "F74": "pgbouncer in transaction mode",
        "F75": "Calls to Postgres are cancelled at any moment",
        "F76": "History piles up while Postgres is down",
        "F77": "A dead letter is requeued twice at once, or half way",
        "F78": "Postgres refuses writes: read-only, disk full",
        "F79": "The answer to a remote worker's lease is lost",
        "F80": "A remote worker settles twice, or another's job",
        "F81": "API server killed with leases out",
        "F82": "A callback's target is slow, broken or hostile",
        "F83": "A background loop meets an exception",
        "F84": "Old and new version side by side",
        "F85": "Two applications on one Redis; a database number in a cluster",
    },
}

NOT_YET: dict[str, str] = {
    **dict.fromkeys(["F79", "F80", "F81", "F82"], _REMOTE),
}

TRIGGERS = {id: trigger for part in PARTS.values() for id, trigger in part.items()}

_INTRODUCTION = """\
# Fault matrix

<!-- Written by `python -m testutil.fault_matrix` from the tests' names and docstrings: change those, not this page. -->

What happens when things go wrong, scenario by scenario, and the tests that show it. Nearly all of them make the
failure happen: real servers are killed, stopped, filled and cut off, and real workers, too; a few show a rule alone.
What the guarantees rest on is told in [delivery guarantees](delivery-guarantees.md).

Repeat a row in a checkout, with the development extra installed:

<!-- not run: it runs tests, and this page is run by one -->
```sh
python3 -m pytest -k f12
```
"""


@dataclass(frozen=True, slots=True)
class Proof:
    """A test, the scenarios in its name, and what its docstring says first."""

    ids: tuple[str, ...]
    path: str
    name: str
    sentence: str


def proofs_in(folder: Path, *, root: Path = ROOT) -> list[Proof]:
    """The tests below *folder* whose names begin with a scenario's id, by path and place in the file."""
    return [
        proof
        for path in sorted(folder.rglob("test_*.py"))
        for proof in _proofs_of(ast.parse(path.read_text(encoding="utf-8")), path.relative_to(root).as_posix(), "")
    ]


def _proofs_of(node: ast.AST, path: str, prefix: str) -> Iterator[Proof]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield from _proofs_of(child, path, f"{prefix}{child.name}::")
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and (found := _IDS.match(child.name)):
            sentence = (ast.get_docstring(child) or "").partition("\n")[0].strip()
            ids = tuple(found[1].upper().strip("_").split("_"))
            yield Proof(ids, path, f"{prefix}{child.name}", sentence)


def problems(
    proofs: Sequence[Proof],
    *,
    triggers: Mapping[str, str] = TRIGGERS,
    not_yet: Mapping[str, str] = NOT_YET,
) -> list[str]:
    """What keeps the matrix from being true and whole; empty when nothing does."""
    proved = {id for proof in proofs for id in proof.ids}
    found = [
        f"{id}: no test named test_{id.lower()}_..., and no reason" for id in triggers.keys() - proved - not_yet.keys()
    ]
    found += [f"{id}: has a test, so it is no longer 'not yet'" for id in proved & not_yet.keys()]
    found += [f"{id}: not yet, and not in the catalogue" for id in not_yet.keys() - triggers.keys()]
    for proof in proofs:
        if not proof.sentence.endswith((".", "!")):
            found.append(f"{proof.path}::{proof.name}: the docstring's first line must be one sentence: what happens")
        found += [f"{proof.path}::{proof.name}: there is no scenario {id}" for id in proof.ids if id not in triggers]
    return sorted(found)


def page(
    proofs: Sequence[Proof],
    *,
    parts: Mapping[str, Mapping[str, str]] = PARTS,
    not_yet: Mapping[str, str] = NOT_YET,
) -> str:
    """The whole page."""
    lines = [_INTRODUCTION]
    for heading, scenarios in parts.items():
        lines += [f"## {heading}", "", "| | when | then | test |", "|---|---|---|---|"]
        for id, trigger in scenarios.items():
            mine = [proof for proof in proofs if id in proof.ids]
            then = "<br>".join(_once(_cell(proof.sentence) for proof in mine)) or f"*Not yet: {not_yet.get(id, '?')}.*"
            lines.append(f"| {id} | {_cell(trigger)} | {then} | {'<br>'.join(map(_link, mine))} |")
        lines.append("")
    return "\n".join(lines)


def _once(sentences: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(sentences))


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def _link(proof: Proof) -> str:
    return f"[`{proof.path.removeprefix('tests/')}::{proof.name}`](../../{proof.path})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the page. Returns 0, or 1 when something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m testutil.fault_matrix", description=__doc__.partition("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("--check", action="store_true", help="compare only, and write nothing")
    check = parser.parse_args(arguments).check
    proofs = proofs_in(TESTS)
    found, text = problems(proofs), page(proofs)
    if not check:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        found.append(f"{PAGE.relative_to(ROOT)} is out of date: run python -m testutil.fault_matrix")
    for problem in found:
        print(problem, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
