import re
from pathlib import Path

import pytest

from jobqueue.errors import ConfigError
from jobqueue.repository.postgres.migration import Script, find_migrations, read_migrations


def folder(tmp_path: Path, *names: str) -> Path:
    for name in names:
        (tmp_path / name).write_text(f"-- {name}\n")
    return tmp_path


def test_ours_are_found_in_order_and_in_pairs() -> None:
    migrations = find_migrations()

    assert [each.version for each in migrations] == list(range(1, len(migrations) + 1))
    assert migrations[0].title == "0001_history_and_dead_letters"
    assert "CREATE TABLE jobqueue.executions" in migrations[0].up.sql
    assert "DROP TABLE jobqueue.executions" in migrations[0].down.sql


def test_ours_name_every_object_with_its_schema_and_record_themselves() -> None:
    for each in find_migrations():
        created = re.findall(r"^(?:CREATE TABLE|CREATE FUNCTION)(?: IF NOT EXISTS)? (\S+)", each.up.sql, re.MULTILINE)
        assert all(name.startswith("jobqueue.") for name in created)
        assert f"VALUES ({each.version}, '{each.name}');" in each.up.sql


def test_pairs_are_read_oldest_first_and_other_files_left_alone(tmp_path: Path) -> None:
    place = folder(tmp_path, "0002_b.sql", "0001_a.down.sql", "0002_b.down.sql", "0001_a.sql", "README.md", "x.sql")

    first, second = read_migrations(place)

    assert (first.version, first.name, first.up.sql) == (1, "a", "-- 0001_a.sql\n")
    assert (second.title, second.down.file) == ("0002_b", "0002_b.down.sql")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["0001_a.sql"], "0001_a needs both"),
        (["0001_a.sql", "0001_b.down.sql"], "needs both"),
        (["0002_a.sql", "0002_a.down.sql"], "without a gap, found 0002"),
        (["0001_a.sql", "0001_a.down.sql", "0001_b.sql", "0001_b.down.sql"], "without a gap, found 0001, 0001"),
        ([], "found none"),
    ],
)
def test_a_folder_that_makes_no_sense_is_refused(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_migrations(folder(tmp_path, *names))


def test_a_missing_folder_is_a_broken_installation(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not installed completely"):
        read_migrations(tmp_path / "nowhere")


def test_a_checksum_minds_words_and_not_line_ends() -> None:
    one = Script("x.sql", "SELECT 1;\nSELECT 2;\n")

    assert one.checksum == Script("y.sql", "SELECT 1;\r\nSELECT 2;\r\n").checksum
    assert one.checksum != Script("x.sql", "SELECT 1;\nSELECT 3;\n").checksum


def test_a_file_without_transaction_is_run_statement_by_statement() -> None:
    script = Script(
        "x.sql",
        "-- jobqueue: no transaction\n-- why; because\nCREATE INDEX CONCURRENTLY a\n  ON b (c);\n\nSELECT ';' AS x;\n",
    )

    assert not script.in_transaction
    assert script.statements == ["CREATE INDEX CONCURRENTLY a\n  ON b (c)", "SELECT ';' AS x"]


def test_dollar_quotes_need_a_transaction() -> None:
    script = Script("x.sql", "-- jobqueue: no transaction\nDO $$ BEGIN; END $$;\n")

    with pytest.raises(ConfigError, match="no dollar quotes"):
        _ = script.statements
