import pytest

from jobqueue.errors import ConfigError
from jobqueue.job import JobState, new_id
from jobqueue.search import JobFilter
from jobqueue.search.place import Stage, Standing, read, stages, write


@pytest.mark.parametrize(
    "standing",
    [
        Standing(Stage.QUEUED),
        Standing(Stage.RUNNING, "mail", "2-1790000000000-7"),
        Standing(Stage.ENDED, "", "WzE3OTAwMDBd"),
    ],
)
def test_a_cursor_is_read_as_it_was_written(standing: Standing) -> None:
    cursor = write(standing)

    assert cursor is not None
    assert cursor.isascii()
    assert read(cursor, JobFilter()) == standing


@pytest.mark.parametrize("cursor", ["", "=", "nonsense", "é", "\x00", "W10", "bnVsbA", "x" * 100_000])
def test_no_text_of_somebodys_own_is_a_cursor(cursor: str) -> None:
    with pytest.raises(ConfigError, match="cursor must be one that the page before returned"):
        read(cursor, JobFilter())


def test_a_filter_has_only_the_stages_where_its_jobs_can_be() -> None:
    assert stages(JobFilter()) == [Stage.RUNNING, Stage.QUEUED, Stage.DELAYED, Stage.ENDED]
    assert stages(JobFilter(state=JobState.RETRYING)) == [Stage.DELAYED]
    assert stages(JobFilter(state=JobState.DEAD, q=new_id())) == [Stage.ID, Stage.ENDED]
    assert all(stages(JobFilter(state=state)) for state in JobState)
