"""The schedule of faults: reproducible, dense enough, and never the end of everything."""

from dataclasses import replace
from itertools import combinations, pairwise

import pytest

from testutil.chaos.crew_faults import CREW_FAULTS
from testutil.chaos.history_faults import HISTORY_FAULTS
from testutil.chaos.nemesis import KINDS, QUIET_SHARE, Fault, overlaps, plan
from testutil.chaos.profile import PROFILES, Profile, small
from testutil.chaos.redis_faults import REDIS_FAULTS

STANDALONE = PROFILES["standalone"]
SEEDS = range(20)
CREW = ("worker", "scheduler", "producer")


@pytest.fixture(params=PROFILES.values(), ids=lambda profile: profile.name)
def profile(request: pytest.FixtureRequest) -> Profile:
    return request.param


def test_the_same_seed_gives_the_same_schedule(profile: Profile) -> None:
    assert plan(7, 300, profile) == plan(7, 300, profile)


def test_the_same_seed_gives_the_same_schedule_in_every_process() -> None:
    one_kind = replace(STANDALONE, weights={"worker.kill": 1.0}, musts=())

    first = plan(7, 60, one_kind)[0]

    assert first == Fault(at_s=2.35, lasts_s=9.85, kind="worker.kill", target=2, value=0.0)


def test_another_seed_gives_another_schedule() -> None:
    assert plan(7, 300, STANDALONE) != plan(8, 300, STANDALONE)


def test_each_profile_has_a_schedule_of_its_own() -> None:
    schedules = [plan(7, 300, profile) for profile in PROFILES.values()]

    assert all(one != other for one, other in combinations(schedules, 2))


@pytest.mark.parametrize(("seconds", "at_least"), [(10, 2), (60, 12), (300, 60)])
def test_there_are_twelve_faults_a_minute_and_more(profile: Profile, seconds: float, at_least: int) -> None:
    assert min(len(plan(seed, seconds, profile)) for seed in SEEDS) >= at_least


def test_faults_last_from_2_to_15_seconds_and_overlap(profile: Profile) -> None:
    for seed in SEEDS:
        faults = plan(seed, 300, profile)

        assert all(2 <= fault.lasts_s <= 15 for fault in faults)
        assert overlaps(faults) > 30


def test_the_last_tenth_is_quiet(profile: Profile) -> None:
    for seed in SEEDS:
        assert max(fault.ends_s for fault in plan(seed, 300, profile)) <= 300 * (1 - QUIET_SHARE) + 0.01


def test_outages_leave_more_time_than_they_take_and_a_breath_between_them(profile: Profile) -> None:
    for seed in SEEDS:
        outages = [fault for fault in plan(seed, 300, profile) if KINDS[fault.kind].outage]

        assert sum(fault.lasts_s for fault in outages) < 110
        assert all(later.at_s - earlier.ends_s >= 3.9 for earlier, later in pairwise(outages))


@pytest.mark.parametrize("role", CREW)
@pytest.mark.parametrize("crew", [STANDALONE, small(STANDALONE)], ids=["whole", "small"])
def test_one_process_of_each_role_is_always_whole(role: str, crew: Profile) -> None:
    for seed in SEEDS:
        faults = [fault for fault in plan(seed, 300, crew) if fault.role == role]

        for instant in (fault.at_s for fault in faults):
            hit = [fault.target for fault in faults if fault.at_s <= instant < fault.ends_s]
            assert len(hit) == len(set(hit)) < crew.size(role)


def test_every_run_of_a_minute_has_what_its_profile_must_have(profile: Profile) -> None:
    for seed in SEEDS:
        kinds = [fault.kind for fault in plan(seed, 60, profile)]

        assert not [must for must in profile.musts if kinds.count(must) < profile.musts.count(must)]


def test_every_run_of_a_minute_stops_a_worker_for_longer_than_its_lease(profile: Profile) -> None:
    for seed in SEEDS:
        stops = [fault for fault in plan(seed, 60, profile) if fault.kind == "worker.stop"]

        assert max(fault.lasts_s for fault in stops) > 1.5 * profile.lease_s


def test_every_kind_of_fault_comes_in_some_run(profile: Profile) -> None:
    seen = {fault.kind for seed in range(60) for fault in plan(seed, 300, profile)}

    assert seen == set(profile.weights)


def test_every_kind_of_fault_can_be_carried_out() -> None:
    named = {kind for profile in PROFILES.values() for kind in (*profile.weights, *profile.musts)}

    assert named == set(KINDS) == set(CREW_FAULTS | REDIS_FAULTS | HISTORY_FAULTS)
