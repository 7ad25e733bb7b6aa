"""What a run amounts to: one line, JSON, and a page."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from testutil.chaos import html, stall
from testutil.chaos.history import Answer, Settled, Start, Ticked, read_faults, read_logs, read_records
from testutil.chaos.profile import Profile
from testutil.chaos.strike import Struck
from testutil.chaos.verdict import Verdict


@dataclass(slots=True, kw_only=True)
class Report:
    """Times are seconds since the first fault could come; *throughput* holds (second, count) pairs by name."""

    profile: str
    seed: int
    seconds: float
    command: str
    servers: str
    when: str
    ok: bool
    failures: dict[str, int]
    measures: dict[str, Any]
    details: list[str]
    faults: list[dict[str, Any]]
    throughput: dict[str, list[tuple[int, int]]]
    recoveries: list[dict[str, Any]] = field(default_factory=list)

    @property
    def line(self) -> str:
        """All that counts, in one line."""
        took = sum(fault["took"] for fault in self.faults)
        broken = {name: count for name, count in self.failures.items() if count}
        parts = [
            f"{'CLEAN' if self.ok else 'BROKEN'} {self.profile} seed={self.seed} minutes={self.seconds / 60:g}",
            f"faults={took}",
            *(f"{_word(name)}={_figure(value)}" for name, value in self.measures.items() if value is not None),
            f"checks={len(self.failures)}",
            *(f"{_word(name)}={count}" for name, count in broken.items()),
            f"[{self.servers}]",
        ]
        return " ".join(parts)

    def write(self, folder: Path) -> None:
        """`report.json`, `report.html` and `report.txt`."""
        data = {"line": self.line, **asdict(self)}
        (folder / "report.json").write_text(json.dumps(data, indent=1), encoding="utf-8")
        (folder / "report.html").write_text(html.page(data), encoding="utf-8")
        (folder / "report.txt").write_text("\n".join([self.line, *self.details]) + "\n", encoding="utf-8")


def make_report(
    *,
    profile: Profile,
    seed: int,
    seconds: float,
    began: float,
    faults: Sequence[Struck],
    verdict: Verdict,
    folder: Path,
    servers: str,
    command: str,
) -> Report:
    """Read the histories in *folder* for what the page shows beside the verdict."""
    return Report(
        profile=profile.name,
        seed=seed,
        seconds=seconds,
        command=command,
        servers=servers,
        when=datetime.fromtimestamp(began, UTC).isoformat(timespec="seconds"),
        ok=verdict.ok,
        failures=dict(verdict.failures),
        measures={**verdict.measures, "machine_stalls": _stalls(folder)},
        details=list(verdict.details),
        faults=[_fault(struck, began) for struck in faults],
        throughput=_throughput(folder, began),
        recoveries=_recoveries(folder, began),
    )


def _fault(struck: Struck, began: float) -> dict[str, Any]:
    return {
        "kind": struck.fault.kind,
        "target": struck.target,
        "value": struck.fault.value,
        "began_s": round(struck.began - began, 2),
        "ended_s": round(struck.ended - began, 2),
        "took": struck.took,
        "error": struck.error,
    }


def _stalls(folder: Path) -> int:
    """How often the machine stood still for more than half a second."""
    return sum(fault.kind == stall.KIND for fault in read_faults(folder))


def _throughput(folder: Path, began: float) -> dict[str, list[tuple[int, int]]]:
    found = {
        "acknowledged": Counter[int](),
        "started": Counter[int](),
        "settled": Counter[int](),
        "ticked": Counter[int](),
    }
    for _, record in read_records(folder):
        match record:
            case Answer(op="enqueue", answer="new"):
                name = "acknowledged"
            case Start():
                name = "started"
            case Settled():
                name = "settled"
            case Ticked():
                name = "ticked"
            case _:
                continue
        found[name][int(record.at - began)] += 1
    seconds = {second for counts in found.values() for second in counts if second >= 0}
    return {name: [(second, counts[second]) for second in _all(seconds)] for name, counts in found.items()}


def _all(seconds: Iterable[int]) -> range:
    return range(max(seconds, default=-1) + 1)


def _recoveries(folder: Path, began: float) -> list[dict[str, Any]]:
    """When dead workers' jobs were given back."""
    return [
        {"at_s": round(line.at - began, 2), "jobs": line.fields["jobs"], "worker": line.fields["worker"]}
        for line in read_logs(folder)
        if line.event == "worker.reaped"
    ]


def _word(name: str) -> str:
    return name.replace(" ", "_")


def _figure(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
