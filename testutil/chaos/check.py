"""Judge a run: a pure function of what was written down and of what the servers hold in the end.

final = await read_final(...)      # testutil.chaos.final
verdict = check(folder, final, Rules(loses=True))
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from testutil.chaos import check_delivery, check_plant, check_record, check_recovery, check_repeats, check_ticks
from testutil.chaos.evidence import Evidence, load
from testutil.chaos.final import FinalState
from testutil.chaos.verdict import Rules, Verdict

_MOST_DETAILS = 5
_KEPT = "final.json"


def check(folder: Path, final: FinalState, rules: Rules) -> Verdict:
    """The verdict on the run that was written down in *folder*; keeps there what it was given, to judge it again."""
    (folder / _KEPT).write_bytes(msgspec.json.encode((final, rules)))
    return judge(load(folder, final, rules))


def check_again(folder: Path) -> Verdict:
    """The verdict on a run that was checked before."""
    final, rules = msgspec.json.decode((folder / _KEPT).read_bytes(), type=tuple[FinalState, Rules])
    return judge(load(folder, final, rules))


def judge(evidence: Evidence) -> Verdict:
    """Every rule, applied."""
    verdict = Verdict()
    lost, lost_async = check_delivery.lost(evidence)
    enqueued, enqueued_async = check_delivery.enqueued_twice(evidence)
    unexpected, unexpected_async = check_delivery.unexpected(evidence)
    requeues, requeues_async = check_delivery.requeues_lost(evidence)
    cancelled, cancelled_async = check_delivery.cancelled_and_started(evidence)
    unique, unique_async = check_delivery.unique_violated(evidence)
    stale, double, double_async = check_record.settled_twice(evidence)
    unrecorded, unrecorded_async = check_record.unrecorded(evidence)
    miscounted = check_record.miscounted(evidence)
    letters = check_record.letters_amiss(evidence)
    forgetful = evidence.rules.loses and any(fault.loses for fault in evidence.faults)
    repeats, causes = check_repeats.check_repeats(evidence)
    ticks, ticks_async = check_ticks.check_ticks(evidence)
    recoveries = check_recovery.recoveries(evidence)
    rejected = check_plant.rejected(evidence)
    broken: dict[str, Sequence[str]] = {
        "lost": lost,
        "requeues_lost": requeues,
        "stuck": check_plant.stuck(evidence),
        "enqueued_twice": enqueued,
        "unexpected": unexpected,
        "unexplained_duplicates": repeats,
        "double_settlements": double,
        "stale_settlements_accepted": [*stale, *check_record.confirmed_to_the_fenced(evidence)],
        "completed_without_a_run": check_delivery.completed_without_a_run(evidence),
        "wrong_ends": check_delivery.wrong_ends(evidence),
        "early_starts": check_delivery.early(evidence),
        "unique_violated": unique,
        "cancelled_started": cancelled,
        "written_twice": [*check_record.written_twice(evidence), *check_ticks.written_twice(evidence)],
        "dead_letters_amiss": [] if forgetful else letters,
        "miscounted": [] if forgetful else miscounted,
        "unrecorded": unrecorded,
        "drift": check_plant.drift(evidence),
        **ticks,
        "leaked_consumers": evidence.final.leaked_consumers,
        "connections": [f"{evidence.final.connections} connections are left"] * evidence.final.connections,
        "memory": check_plant.left_in_redis(evidence),
        "recovery_late": check_recovery.late(recoveries),
        "reaped_without_amnesty": check_plant.reaped_without_amnesty(evidence),
        "leases_lost_without_cause": check_plant.leases_lost_without_cause(evidence),
        "dead_loops_kept_alive": check_plant.dead_loops_kept_alive(evidence),
        "nemesis_too_weak": ["no stale settlement was rejected"] if not rejected and not evidence.rules.weak_ok else [],
    }
    for rule, told in broken.items():
        verdict.failures[rule] = len(told)
        verdict.details += [f"{rule}: {line}" for line in told[:_MOST_DETAILS]]
    duplicates = sum(count for cause, count in causes.items() if cause not in check_repeats.WANTED)
    verdict.measures = {
        "jobs": len(evidence.enqueues),
        "enqueue_calls": sum(map(len, evidence.enqueues.values())),
        "starts": sum(map(len, evidence.starts.values())),
        "executions": len(evidence.final.executions),
        "dead_letters": len(evidence.final.letters),
        "samples": len(evidence.samples),
        "duplicates": duplicates,
        **{f"repeated_{cause}": count for cause, count in sorted(causes.items())},
        "stale_rejected": rejected,
        "leases_lost": sum(line.event == "lease.lost" for line in evidence.logs),
        "workers_reaped": sum(line.event == "worker.reaped" for line in evidence.logs),
        "settlements_repeated": sum(line.event == "settlement.repeated" for line in evidence.logs),
        "recovered_jobs": len(recoveries),
        "recovery_bound_s": round(check_recovery.bound_s(evidence), 2),
        **{f"recovery_{name}_s": value for name, value in _quantiles(recoveries, clean=True).items()},
        **{f"recovery_in_faults_{name}_s": value for name, value in _quantiles(recoveries, clean=False).items()},
        "lost_async": len(lost_async),
        "requeues_lost_async": len(requeues_async),
        "enqueued_twice_async": len(enqueued_async),
        "unexpected_async": len(unexpected_async),
        "cancelled_started_async": len(cancelled_async),
        "unique_violated_async": len(unique_async),
        "double_settlements_async": len(double_async),
        "unrecorded_async": len(unrecorded_async),
        "dead_letters_amiss_async": len(letters) if forgetful else 0,
        "miscounted_async": len(miscounted) if forgetful else 0,
        **check_ticks.counts(evidence),
        **{f"ticks_delay_{name}_s": value for name, value in check_ticks.delays(evidence).items()},
        **{f"{rule}_async": len(told) for rule, told in ticks_async.items()},
        "keys": len(evidence.final.keys),
        "memory_bytes": evidence.final.memory_bytes,
    }
    return verdict


def _quantiles(recoveries: Sequence[check_recovery.Recovery], *, clean: bool) -> dict[str, float]:
    return check_recovery.quantiles([each.seconds for each in recoveries if each.clean is clean])


if __name__ == "__main__":
    verdict = check_again(Path(sys.argv[1]))
    sys.stdout.write(f"{verdict.failures}\n{verdict.measures}\n")
    sys.stdout.writelines(f"{line}\n" for line in verdict.details)
    sys.exit(not verdict.ok)
