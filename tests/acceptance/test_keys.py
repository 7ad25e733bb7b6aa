"""`jobqueue keys` and `jobqueue audit` as people run them: with Postgres, and with Redis alone."""

import getpass
import re
from pathlib import Path

import pytest

from jobqueue.access.key import KEY_REGEX, read
from tests.acceptance.test_cli import Shop

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=["postgres", "redis"])
def shop(request: pytest.FixtureRequest, redis_url: str, tmp_path: Path, namespace: str) -> Shop:
    place = {"DATABASE_URL": request.getfixturevalue("database_url")} if request.param == "postgres" else {}
    return Shop(tmp_path, REDIS_URL=redis_url, JOBQUEUE_NAMESPACE=namespace, **place)


def test_a_key_lives_from_its_making_to_its_end(shop: Shop) -> None:
    none = shop.run("keys", "ls")
    options = ("--scope", "jobs:read", "--scope", "dlq:read", "--queue", "mail.*", "--expires", "90d", "--rate", "5")
    made = shop.run("keys", "create", "billing", *options)
    (first,) = shop.json("keys", "ls")
    rotated = shop.run("keys", "rotate", first["id"], "--overlap", "1h", "--env", "test")
    second, ending = shop.json("keys", "ls")
    unanswered = shop.run("keys", "revoke", first["id"], code=1)
    revoked = shop.run("keys", "revoke", first["id"], "--yes")
    again = shop.run("keys", "rotate", first["id"], code=1)

    assert "no keys yet" in none.stderr
    secret = made.stdout.strip()
    presented = read(secret)
    assert presented
    assert presented.id == first["id"]
    assert secret not in made.stderr
    assert "shown this once" in made.stderr
    assert (first["name"], first["state"], first["rate"]) == ("billing", "good", 5.0)
    assert (first["scopes"], first["queues"]) == (["dlq:read", "jobs:read"], ["mail.*"])
    assert first["created_by"] == f"cli:{getpass.getuser()}"
    assert re.fullmatch(KEY_REGEX, rotated.stdout.strip())
    assert rotated.stdout.startswith("jq_test_")
    assert f"key {first['id']} is void in 1h" in rotated.stderr
    assert (ending["id"], ending["state"], second["state"]) == (first["id"], "ending", "good")
    assert [second[each] for each in ("scopes", "queues", "rate")] == [
        first[each] for each in ("scopes", "queues", "rate")
    ]
    assert "give --yes" in unanswered.stderr
    assert f"key {first['id']} is void within 5 s" in revoked.stdout
    assert {each["id"]: each["state"] for each in shop.json("keys", "ls")}[first["id"]] == "revoked"
    assert "cannot be rotated: it is revoked" in again.stderr


def test_a_first_key_that_may_not_do_everything_comes_with_a_warning(shop: Shop) -> None:
    first = shop.run("keys", "create", "shop")
    second = shop.run("keys", "create", "shop")

    assert "this is the first key" in first.stderr
    assert "jobqueue keys create --kind admin NAME" in first.stderr
    assert "first key" not in second.stderr


def test_every_change_of_a_key_leaves_one_entry_and_no_secret(shop: Shop) -> None:
    made = shop.json("keys", "create", "ci", "--kind", "admin")
    rotated = shop.json("keys", "rotate", made["id"])
    shop.run("keys", "revoke", rotated["id"], "--yes")

    entries = shop.json("audit", "ls")
    of_first = shop.json("audit", "ls", "--target", made["id"])
    newest = shop.run("audit", "ls", "--limit", "1", "--actor", f"cli:{getpass.getuser()}")
    none = shop.run("audit", "ls", "--action", "queue.purge")

    assert [(each["action"], each["target"]) for each in entries] == [
        ("key.revoke", rotated["id"]),
        ("key.rotate", made["id"]),
        ("key.create", made["id"]),
    ]
    assert {each["actor"] for each in entries} == {f"cli:{getpass.getuser()}"}
    assert [each["action"] for each in of_first] == ["key.rotate", "key.create"]
    assert "keys:admin" in of_first[1]["detail"]["scopes"]
    assert made["secret"][17:] not in str(entries)
    assert "the newest 1" in newest.stderr
    assert newest.stdout.count("key.") == 1
    assert "nothing yet" in none.stderr


def test_what_is_wrong_is_said_and_nothing_is_made(shop: Shop) -> None:
    for arguments, code, said in (
        (["create", "x", "--scope", "everything"], 2, "--scope"),
        (["create", "x", "--queue", "a*b"], 1, "neither the name of a queue"),
        (["create", "x", "--rate", "0"], 1, "at least 0.001"),
        (["create", "x", "--expires", "soon"], 2, "is not a duration"),
        (["create", "a\nb"], 1, "key's name"),
        (["revoke", "nobody00", "--yes"], 1, "no key has the id 'nobody00'"),
        (["rotate", "nobody00"], 1, "no key has the id"),
    ):
        refused = shop.run("keys", *arguments, code=code)

        assert said in refused.stderr
        assert refused.stdout == ""
    assert shop.json("keys", "ls") == []
    assert shop.json("audit", "ls") == []
