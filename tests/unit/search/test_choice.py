import pytest

from jobqueue.job import JobState, Priority, new_id
from jobqueue.search import JobFilter
from jobqueue.status import JobStatus

FOUND = {
    "a word": ("ada", ['{"to":"ada@example.org"}']),
    "several, in any order": ("org ada", ['{"to":"ada@example.org"}']),
    "the last one begun": ("ada exam", ['{"to":"ada@example.org"}']),
    "over two texts": ("ada ValueError", ['{"to":"ada"}', "ValueError"]),
    "bytes": ("zürich", ["Zürich".encode()]),
    "behind an escape": ("two", [r'"one\ntwo"']),
    "a name of an argument": ("to", ['{"to":1}']),
    "punctuation is no part of it": ("--ada--", ["ada"]),
}
NOT_FOUND = {
    "the middle of a word": ("da", ["ada"]),
    "the beginning of a word that is not the last": ("exam ada", ["ada@example.org"]),
    "one of two": ("ada bob", ["ada"]),
    "no word": ("%", ["%"]),
    "behind what is read": ("ada", ["x " * 5_000 + "ada"]),
    "no text": ("ada", [None, ""]),
}


@pytest.mark.parametrize(("q", "texts"), FOUND.values(), ids=FOUND.keys())
def test_words_are_found(q: str, texts: list[str | bytes | None]) -> None:
    assert JobFilter(q=q).is_in(*texts)


@pytest.mark.parametrize(("q", "texts"), NOT_FOUND.values(), ids=NOT_FOUND.keys())
def test_words_are_not_found(q: str, texts: list[str | bytes | None]) -> None:
    assert not JobFilter(q=q).is_in(*texts)


@pytest.mark.parametrize("q", [None, ""])
def test_who_looks_for_nothing_finds_all(q: str | None) -> None:
    assert JobFilter(q=q).is_in("anything", None)


def test_a_job_id_is_known_in_any_spelling() -> None:
    job_id = new_id()

    spelled = [job_id, job_id.upper(), job_id.replace("-", "")]

    assert {JobFilter(q=each).job_id for each in spelled} == {job_id}
    assert [JobFilter(q=each).job_id for each in (None, "", "ada", job_id[:-1])] == [None] * 4


def test_queues_are_those_that_both_filters_let_through() -> None:
    names = ["web", "mail", "attic"]

    assert JobFilter().among(names) == ["attic", "mail", "web"]
    assert JobFilter(queue="mail").among(names) == ["mail"]
    assert JobFilter(queues=("web", "none")).among(names) == ["web"]
    assert JobFilter(queue="mail", queues=("web",)).among(names) == []


@pytest.mark.parametrize(
    ("where", "fits"),
    [
        (JobFilter(), True),
        (JobFilter(state=JobState.QUEUED, type="a", queue="mail"), True),
        (JobFilter(state=JobState.DEAD), False),
        (JobFilter(type="b"), False),
        (JobFilter(queues=("web",)), False),
    ],
)
def test_a_job_is_of_a_filter_when_all_of_it_fits(where: JobFilter, fits: bool) -> None:
    job = JobStatus(id=new_id(), type="a", queue="mail", priority=Priority.LOW, state=JobState.QUEUED, attempt=1)

    assert where.is_of(job) is fits
