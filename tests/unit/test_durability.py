import pytest

from jobqueue.durability import LOCAL, Durability, read_durability
from jobqueue.errors import InvalidJob


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("local", LOCAL),
        ("fsync", Durability("fsync")),
        ("replicated", Durability("replicated", 1)),
        ("replicated:3", Durability("replicated", 3)),
    ],
)
def test_it_is_read_as_written(text: str, read: Durability) -> None:
    assert read_durability(text) == read
    assert read_durability(str(read)) == read
    assert read_durability(read) is read


@pytest.mark.parametrize(
    "text", ["", "disk", "fsync:1", "local:2", "replicated:0", "replicated:-1", "replicated:100", 1]
)
def test_anything_else_is_refused_with_what_is_allowed(text: object) -> None:
    with pytest.raises(InvalidJob, match=r"must be local, fsync, replicated or replicated:2, got"):
        read_durability(text)  # type: ignore[arg-type]
