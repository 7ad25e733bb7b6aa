"""Every command once, on real servers. What runs on, and what takes signals or the user's code, has real processes."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner

from jobqueue.app import JobQueue
from jobqueue.cli.main import main
from jobqueue.config import SETTINGS
from jobqueue.embedded import start_redis
from jobqueue.job import Job

SHOP = """
import asyncio, os, threading, time
from pathlib import Path
from jobqueue import Discard, Registry, RetryPolicy

registry = Registry()

@registry.task("greet")
async def greet(name: str) -> str:
    return f"hello {name}"

@registry.task("fragile", retry=RetryPolicy(max_retries=0))
async def fragile() -> str:
    if not Path("repaired").exists():
        raise ValueError("it is broken")
    return "repaired"

@registry.task("hold")
async def hold() -> None:
    Path("hold.started").touch()
    while not Path("go on").exists():
        await asyncio.sleep(0.01)
    Path("hold.ended").touch()

@registry.task("stubborn")
def stubborn() -> None:
    Path("stubborn.started").touch()
    time.sleep(600)

@registry.task("crash", queue="crash")
async def crash() -> None:
    if not Path("crashed").exists():
        Path("crashed").touch()
        os._exit(66)
"""

HOUR = timedelta(hours=1)
SETTING_NAMES = {setting.env for setting in SETTINGS}
OF_A_PROCESS = {"worker", "scheduler", "api", "dev"}

pytestmark = pytest.mark.timeout(120)


class Shop:
    """A user's folder, with the environment that leads to its servers."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.environment = {name: value for name, value in os.environ.items() if name not in SETTING_NAMES}
        self.environment |= {"NO_COLOR": "1", "PYTHONUNBUFFERED": "1", **environment}
        (folder / "shop.py").write_text(SHOP)

    def run(self, *arguments: str, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, and look at its exit code.

        In this process, where it takes 50 ms and not 500, unless it imports the user's code or takes signals.
        """
        alone = "-A" in arguments or arguments[0] in OF_A_PROCESS
        done = (self._run_alone if alone else self._run_here)(arguments, self.environment | environment)
        assert done.returncode == code, f"{arguments} exited {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def _run_alone(self, arguments: Sequence[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "jobqueue", *arguments],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def _run_here(self, arguments: Sequence[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            patch.setattr("jobqueue.cli.session.configure_logging", lambda *_, **__: None)  # it is for a process
            settings = dict.fromkeys(SETTING_NAMES) | environment
            done = CliRunner().invoke(main, list(arguments), env=settings, catch_exceptions=False)
        return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)

    def json(self, *arguments: str, code: int = 0) -> Any:
        """What a reading command answers to `-o json`."""
        return json.loads(self.run(*arguments, "-o", "json", code=code).stdout)

    def enqueue(self, *arguments: str) -> str:
        return self.run("enqueue", *arguments).stdout.strip()

    def have(self, task: str, many: int = 1, *, delay: timedelta | None = None, **payload: Any) -> str:
        """Queue *many* from here, for what other commands do with them: a command takes half a second of processor.
        The id of the last.
        """

        async def enqueue() -> str:
            url, namespace = self.environment["REDIS_URL"], self.environment["JOBQUEUE_NAMESPACE"]
            async with JobQueue.connect(url, namespace=namespace) as queue:
                return (await queue.enqueue_many([Job(task, payload) for _ in range(many)], delay=delay))[-1].job_id

        return asyncio.run(enqueue())

    def burst(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("worker", "-A", "shop", "--burst", *arguments)

    @contextmanager
    def running(self, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
        """A long-running command; its output goes to `out`."""
        with (self.folder / "out").open("w") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "jobqueue", *arguments],
                cwd=self.folder,
                env=self.environment | environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            for survivor in family(process.pid):
                survivor.kill()
            process.wait()

    def until(self, said: str, *, times: int = 1, within_s: float = 40) -> None:
        """Wait until the running command has printed this."""
        eventually(lambda: self.output().count(said) >= times, f"{said!r} x{times}", within_s, self.output)

    def output(self) -> str:
        return (self.folder / "out").read_text()

    def has(self, name: str) -> bool:
        return (self.folder / name).exists()

    def go_on(self) -> None:
        """Let the jobs of `hold` end."""
        (self.folder / "go on").touch()


def family(pid: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


def eventually(
    look: Callable[[], bool], what: str, within_s: float = 40, explain: Callable[[], object] = lambda: ""
) -> None:
    deadline = time.monotonic() + within_s
    while not look():
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}\n{explain()}"
        time.sleep(0.05)


@pytest.fixture
def shop(redis_url: str, database_url: str, tmp_path: Path, namespace: str) -> Shop:
    """A folder, a namespace and a database of the test's own."""
    return Shop(tmp_path, REDIS_URL=redis_url, DATABASE_URL=database_url, JOBQUEUE_NAMESPACE=namespace)


def test_a_job_goes_all_the_way(shop: Shop) -> None:
    job_id = shop.enqueue("greet", '{"name": "Ada"}', "--priority", "high")
    waiting = shop.json("job", "show", job_id)
    worker = shop.burst()

    shop.run("scheduler", "--help")
    queues = {each["queue"]: each for each in shop.json("queue", "ls")}

    assert (waiting["state"], waiting["priority"], waiting["payload"]) == ("queued", "high", {"name": "Ada"})
    assert queues["default"]["completed"] == 1
    assert queues["default"]["ready"] == 0
    assert "worker.started" in worker.stderr
    assert worker.stdout == ""


def test_enqueue_checks_against_the_app_where_there_is_one(shop: Shop) -> None:
    unknown = shop.run("enqueue", "-A", "shop", "gret", code=1)
    wrong = shop.run("enqueue", "greet", '{"nam": 1}', code=1, JOBQUEUE_APP="shop:registry")
    own = shop.enqueue("-A", "shop", "crash")
    without = shop.run("enqueue", "greet", '{"name": "Ada"}')

    assert "did you mean 'greet'?" in unknown.stderr
    assert "name: Field required" in wrong.stderr
    assert shop.json("job", "show", own)["queue"] == "crash"
    assert "no app is known" in without.stderr
    assert without.stdout.count("\n") == 1


def test_a_worker_warns_of_queues_that_it_does_not_serve(shop: Shop) -> None:
    default = shop.burst().stderr
    all_of_them = shop.burst("--queues=default,crash").stderr

    assert "queues.unserved" in default
    assert "queues=crash" in default
    assert "tasks=crash" in default
    assert "queues.unserved" not in all_of_them
    assert f"redis={shop.environment['REDIS_URL']}" in default


def test_job_show_looks_again_for_history_that_is_on_its_way(shop: Shop) -> None:
    job_id = shop.enqueue("-A", "shop", "greet", '{"name": "Ada"}')
    shop.burst()
    shown = shop.run("job", "show", job_id).stdout
    unknown = shop.run("job", "show", "00000000-0000-7000-8000-000000000000", code=1)

    assert "history arrives within about a second" in unknown.stderr
    assert "completed" in shown
    assert shown.splitlines()[-2].split()[:3] == ["GENERATION", "ATTEMPT", "OUTCOME"]


def test_enqueue_with_every_option(shop: Shop) -> None:
    options = ["--queue=mail", "--priority=9", "--delay=1h", "--max-retries=1", "--timeout=1m", "--expires=1d"]
    keyed = ["--idempotency-key=order-17", "--unique-key=k"]
    first = shop.json("enqueue", "greet", '{"name": "Ada"}', *options, *keyed)
    at = shop.enqueue("greet", "{}", "--at", "2099-01-01T00:00:00+00:00", "--queue=mail")

    job = shop.json("job", "show", first["id"], "--queue", "mail")
    assert (job["state"], job["priority"]) == ("scheduled", "critical")
    assert shop.json("job", "show", at)["due_at"] == "2099-01-01T00:00:00Z"
    assert first["created"] is True


def test_enqueue_waits_for_the_result(shop: Shop) -> None:
    with shop.running("worker", "-A", "shop"):
        shop.until("worker.started")
        done = shop.json("enqueue", "greet", '{"name": "Ada"}', "--wait=40s")
        dead = shop.json("enqueue", "fragile", "--wait=40s", code=1)
        late = shop.run("enqueue", "greet", '{"name": "Ada"}', "--delay=1h", "--wait=300ms", code=1)

    assert (done["state"], done["result"]) == ("completed", "hello Ada")
    assert (dead["state"], dead["last_error"]) == ("dead", "ValueError")
    assert "has not ended within 300ms" in late.stderr


def test_a_dead_letter_is_listed_shown_retried_and_completes(shop: Shop) -> None:
    job_id = shop.have("fragile")
    shop.burst()

    (listed,) = shop.json("dlq", "ls")
    filtered = [shop.json("dlq", "ls", *words) for words in (["--error=BROKEN"], ["--type=greet"], ["--before=1h"])]
    shown = shop.json("dlq", "show", job_id)
    asked = shop.run("dlq", "retry", "--all", code=1)
    (shop.folder / "repaired").touch()
    retried = shop.run("dlq", "retry", job_id)
    again = shop.run("dlq", "retry", job_id)
    shop.burst()

    assert (listed["job_id"], listed["error"], listed["reason"]) == (job_id, "ValueError: it is broken", "exhausted")
    assert [len(letters) for letters in filtered] == [1, 0, 0]
    assert "it is broken" in shown["traceback"]
    assert "--yes" in asked.stderr
    assert "queued 1 dead letter again" in retried.stdout
    assert "queued 0 dead letters again" in again.stdout
    assert shop.json("dlq", "ls") == []
    assert shop.json("queue", "show", "default")["completed"] == 1
    assert [each["state"] for each in shop.json("check")] == ["ok"] * 3


def test_dead_letters_are_retried_and_purged_by_filter(shop: Shop) -> None:
    shop.have("fragile", 3)
    shop.burst()

    none = shop.run("dlq", "purge", "--all", "--type=greet", "--yes")
    shop.run("dlq", "retry", "--all", "--queue=default", "--yes")
    every = shop.run("dlq", "ls", "--all-states").stdout.splitlines()
    shop.burst()
    purged = shop.run("dlq", "purge", "--all", "--error", "broken", "--yes")
    unknown = shop.run("dlq", "retry", "00000000-0000-0000-0000-000000000000", code=1)

    assert "deleted 0 dead letters" in none.stdout
    assert "deleted 3 dead letters" in purged.stdout
    assert "STATE" in every[0]
    assert "REQUEUED AT" in every[0]
    assert sum("requeued" in line for line in every[1:]) == 3
    assert "no dead letter of job" in unknown.stderr
    assert shop.run("check").returncode == 0


def test_jobs_are_found_by_filter_on_one_list(shop: Shop) -> None:
    dead = shop.have("fragile")
    done = shop.have("greet", name="Ada")
    shop.burst()
    due = shop.have("greet", name="Bob", delay=HOUR)
    waits = shop.have("greet", name="Cleo")

    listed = shop.run("job", "ls").stdout.splitlines()
    short = shop.run("job", "ls", "--limit=1")
    filters = ["--state=completed", "--state=dead", "--search=bob", f"--search={dead}", "--queue=x"]
    found = [[each["id"] for each in shop.json("job", "ls", words)] for words in filters]

    assert listed[0].split() == ["ID", "QUEUE", "TYPE", "STATE", "ATTEMPT", "AT", "ERROR"]
    assert [line.split()[0] for line in listed[1:3]] == [waits, due]
    assert {line.split()[0] for line in listed[3:]} == {dead, done}
    assert "ValueError: it is broken" in next(line for line in listed if dead in line)
    assert len(short.stdout.splitlines()) == 2
    assert "--limit shows more" in short.stderr
    assert found == [[done], [dead], [due], [dead], []]


def test_jobs_are_cancelled_and_retried_by_filter(shop: Shop) -> None:
    due = shop.have("greet", name="Ada", delay=HOUR)
    shop.have("fragile", 3, delay=HOUR)

    would = shop.run("job", "cancel", "--type=fragile", "--dry-run").stdout
    asked = shop.run("job", "cancel", "--type=fragile", code=1).stderr
    cancelled = shop.run("job", "cancel", "--type=fragile", "--yes")
    left = [each["id"] for each in shop.json("job", "ls", "--state=scheduled")]
    retried = shop.run("job", "retry", "--state=scheduled", "--yes").stdout
    one = shop.run("job", "retry", due).stdout
    wrong = [
        shop.run("job", *words, code=code).stderr
        for words, code in (
            (("cancel",), 2),
            (("cancel", due, "--state=queued"), 2),
            (("cancel", "--state=dead", "--yes"), 1),
            (("retry", "--state=running", "--yes"), 1),
            (("retry", "00000000-0000-7000-8000-000000000000"), 1),
        )
    ]

    assert would == "would cancel 3 jobs\n"
    assert "--yes" in asked
    assert cancelled.stdout == "cancelled 3 jobs\n"
    assert "cancelling: 3 of 3" in cancelled.stderr
    assert left == [due]
    assert (retried, one) == ("retried 1 job\n", "queued\n")
    assert "which jobs?" in wrong[0]
    assert "not both" in wrong[1]
    assert "dead jobs have ended and cannot be cancelled" in wrong[2]
    assert "state must be one of scheduled, retrying, dead" in wrong[3]
    assert "neither live nor dead" in wrong[4]


def test_dead_letters_are_grouped_by_error(shop: Shop) -> None:
    shop.have("fragile", 2)
    shop.burst()

    (group,) = shop.json("dlq", "groups")
    table = shop.run("dlq", "groups").stdout.splitlines()

    assert (group["count"], group["type"], group["error_class"]) == (2, "fragile", "ValueError")
    assert table[0].split()[:3] == ["COUNT", "TYPE", "QUEUE"]
    assert shop.json("dlq", "groups", "--type=greet") == []


def test_a_worker_tells_where_it_runs(shop: Shop) -> None:
    with shop.running("worker", "-A", "shop", "--queues=default", "--concurrency=7") as process:
        shop.until("worker.started")
        eventually(lambda: len(shop.json("worker", "ls")) == 1, "the worker is listed")
        (worker,) = shop.json("worker", "ls")

    assert (worker["pid"], worker["slots"], worker["state"]) == (process.pid, 7, "alive")
    assert worker["host"] == socket.gethostname()


def test_queues_are_paused_resumed_and_purged(shop: Shop) -> None:
    shop.have("greet", name="Ada")
    cancelled = shop.have("greet", name="Bob", delay=HOUR)

    shop.run("queue", "pause", "default")
    paused = shop.json("queue", "show", "default")["state"]
    shop.run("queue", "resume", "default")
    shop.run("job", "cancel", cancelled)
    refused = shop.run("queue", "purge", "default", code=1)
    purged = shop.run("queue", "purge", "default", "--yes")
    unknown = [shop.run("queue", verb, "nope", code=1).stderr for verb in ("show", "pause", "resume", "purge")]

    assert paused == "paused"
    assert shop.json("queue", "show", "default")["state"] == "running"
    assert "nothing was done" in refused.stderr
    assert purged.stdout == "cancelled 1 job\n"
    assert all("no queue named 'nope'" in said and said.count("\n") == 1 for said in unknown)
    assert shop.run("job", "cancel", cancelled, code=1).stderr.startswith("error: ")
    assert shop.run("job", "show", "00000000-0000-7000-8000-000000000000", code=1).stderr.startswith("error: ")


def test_migrations_go_down_and_up_again(redis_url: str, empty_database_url: str, tmp_path: Path) -> None:
    shop = Shop(tmp_path, REDIS_URL=redis_url, DATABASE_URL=empty_database_url)
    before = {each["state"] for each in shop.json("migrate", "status")}
    dry = shop.run("migrate", "--dry-run").stdout
    shop.run("migrate", "up")
    after = {each["state"] for each in shop.json("migrate", "status")}
    refused = shop.run("migrate", "down", "--to=0", code=1)
    shop.run("migrate", "down", "--to=0", "--yes")

    assert (before, after) == ({"pending"}, {"applied"})
    assert "CREATE TABLE" in dry
    assert "--yes" in refused.stderr
    assert {each["state"] for each in shop.json("migrate", "status")} == {"pending"}
    assert "nothing to take back" in shop.run("migrate", "down").stdout
    unhealthy = {each["about"]: each for each in shop.json("doctor", code=3)}
    assert unhealthy["migrations"]["state"] == "failed"


def test_the_doctor_finds_a_healthy_system_healthy(database_url: str, tmp_path: Path) -> None:
    with start_redis() as redis:  # which writes to disk what it is told
        shop = Shop(tmp_path, REDIS_URL=redis.url, DATABASE_URL=database_url, JOBQUEUE_NAMESPACE="healthy")
        shop.have("greet", name="Ada")
        shop.burst()

        findings = shop.json("doctor")

    assert {each["state"] for each in findings} == {"ok"}
    assert {"redis", "eviction", "persistence", "role", "clock", "postgres", "migrations", "queue default"} <= {
        each["about"] for each in findings
    }


def test_the_doctor_and_the_worker_refuse_a_server_that_evicts(tmp_path: Path) -> None:
    arguments = ("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    with start_redis(appendonly=False, extra_args=arguments) as redis:
        shop = Shop(tmp_path, REDIS_URL=redis.url)
        findings = {each["about"]: each for each in shop.json("doctor", code=3)}
        worker = shop.run("worker", "-A", "shop", "--burst", code=1)
        scheduler = shop.run("scheduler", code=1)

    assert findings["eviction"]["state"] == "failed"
    assert findings["persistence"]["state"] == "warning"
    assert "allkeys-lru" in worker.stderr
    assert "allkeys-lru" in scheduler.stderr


def test_the_doctor_says_when_nothing_answers(tmp_path: Path) -> None:
    shop = Shop(tmp_path, REDIS_URL="redis://127.0.0.1:1", DATABASE_URL="postgresql://u:secret@127.0.0.1:1/x")

    findings = shop.json("doctor", code=3)

    assert {each["about"]: each["state"] for each in findings} == {"redis": "failed", "postgres": "failed"}
    assert "secret" not in str(findings)


def test_check_finds_a_broken_invariant(shop: Shop, redis_url: str) -> None:
    import redis

    job_id = shop.have("greet", name="Ada")
    with redis.Redis.from_url(redis_url) as client:
        namespace = shop.environment["JOBQUEUE_NAMESPACE"]
        assert client.hdel(f"{{{namespace}:default}}:jobs", job_id) == 1

    broken = shop.json("check", code=3)
    doctor = shop.run("doctor", code=3)

    assert {"I1", "I3"} & {each["rule"] for each in broken}
    assert "broken" in doctor.stdout


def test_a_worker_ends_in_order_and_lets_its_jobs_finish(shop: Shop) -> None:
    shop.have("hold")
    with shop.running("worker", "-A", "shop", "--concurrency=2") as worker:
        eventually(lambda: shop.has("hold.started"), "the job runs")
        (listed, *_) = shop.json("worker", "ls", "--queue=default")
        worker.send_signal(signal.SIGTERM)
        shop.until("worker.stopping")
        shop.go_on()

        assert worker.wait(30) == 0
    assert (listed["queue"], listed["running"], listed["state"]) == ("default", 1, "alive")
    assert shop.has("hold.ended")
    assert "worker.ended" in shop.output()
    assert shop.json("worker", "ls") == []


def test_a_second_signal_gives_back_what_runs(shop: Shop) -> None:
    job_id = shop.have("hold")
    with shop.running("worker", "-A", "shop") as worker:
        eventually(lambda: shop.has("hold.started"), "the job runs")
        worker.send_signal(signal.SIGINT)
        shop.until("worker.stopping")
        shop.until("a second Ctrl-C or SIGTERM gives them back now")
        worker.send_signal(signal.SIGINT)

        assert worker.wait(30) == 0
    assert shop.json("job", "show", job_id)["state"] == "queued"


def test_a_thread_left_behind_does_not_hold_up_the_end(shop: Shop) -> None:
    shop.have("stubborn")
    with shop.running("worker", "-A", "shop", "--shutdown-timeout=100ms", JOBQUEUE_CANCEL_GRACE="100ms") as worker:
        eventually(lambda: shop.has("stubborn.started"), "the job runs")
        worker.send_signal(signal.SIGTERM)

        assert worker.wait(30) == 0


def test_usr1_ends_after_the_running_jobs_and_usr2_shows_what_runs(shop: Shop) -> None:
    shop.have("hold")
    with shop.running("worker", "-A", "shop", "-c", "1") as worker:
        eventually(lambda: shop.has("hold.started"), "the job runs")
        worker.send_signal(signal.SIGUSR2)
        shop.until("--- end")
        worker.send_signal(signal.SIGUSR1)
        shop.until("worker.quiet")
        shop.go_on()

        assert worker.wait(30) == 0
    assert "in hold" in shop.output()
    assert "Thread 0x" in shop.output()
    assert shop.has("hold.ended")


def test_a_crashed_process_is_started_again_and_all_end_together(shop: Shop) -> None:
    environment = {"JOBQUEUE_LEASE": "1s", "JOBQUEUE_REAP_INTERVAL": "300ms"}
    shop.enqueue("-A", "shop", "crash")
    with shop.running("worker", "-A", "shop", "--processes=2", "--queues=crash", **environment) as supervisor:
        shop.until("process.ended")
        shop.until("worker.started", times=3)
        eventually(lambda: shop.json("queue", "show", "crash")["completed"] == 1, "the job ran again", 30, shop.output)
        members = family(supervisor.pid)
        supervisor.send_signal(signal.SIGTERM)

        assert supervisor.wait(30) == 0
    assert "exit code 66" in shop.output()
    assert len(members) == 3
    assert alive(members) == []


def test_processes_end_with_their_supervisor_even_when_it_is_killed(shop: Shop) -> None:
    with shop.running("worker", "-A", "shop", "--processes=2") as supervisor:
        shop.until("worker.started", times=2)
        members = family(supervisor.pid)
        supervisor.kill()

        eventually(lambda: not alive(members[1:]), "no survivors", 20)


def test_a_burst_of_processes_ends_when_the_queues_are_empty(shop: Shop) -> None:
    shop.have("greet", 5, name="Ada")

    shop.burst("--processes=2")

    assert shop.json("queue", "show", "default")["completed"] == 5


def test_a_wrong_app_ends_the_supervisor_at_once(shop: Shop) -> None:
    done = shop.run("worker", "-A", "shop:nothing", "--processes=2", code=1)

    assert "it has registry" in done.stderr


def test_the_scheduler_ships_and_ends_on_a_signal(shop: Shop) -> None:
    shop.have("greet", name="Ada")
    shop.burst()
    with shop.running("scheduler", LOG_FORMAT="json") as scheduler:
        shop.until("scheduler.started")
        eventually(lambda: shop.json("queue", "show", "default")["journal"] == 0, "the journal is shipped")
        scheduler.send_signal(signal.SIGTERM)

        assert scheduler.wait(30) == 0
    lines = [json.loads(line) for line in shop.output().splitlines()]
    assert [line["event"] for line in lines] == ["scheduler.started", "scheduler.stopping", "scheduler.ended"]


def test_the_scheduler_says_that_migrations_are_missing_and_goes_on(
    redis_url: str, empty_database_url: str, tmp_path: Path
) -> None:
    shop = Shop(tmp_path, REDIS_URL=redis_url, DATABASE_URL=empty_database_url, JOBQUEUE_NAMESPACE="unmigrated")
    with shop.running("scheduler") as scheduler:
        shop.until("schema.behind")
        shop.run("migrate")

        scheduler.send_signal(signal.SIGTERM)
        assert scheduler.wait(30) == 0


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Not `tmp_path`: as root, Postgres runs as `nobody`, who must get in."""
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="jobqueue-dev-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def dev_environment(shop: Shop) -> dict[str, str]:
    lines = [line.strip().removeprefix("export ") for line in shop.output().splitlines() if "export " in line]
    return dict(line.split("=", 1) for line in lines)


def free_port(neighbours: int = 0) -> int:
    """A port that nobody has, nor so many after it. Each process looks elsewhere; and below those that the system
    gives to whoever connects, who would have it a moment later."""
    for port in range(10_000 + os.getpid() * 8 % 20_000, 32_000, 1 + neighbours):
        with ExitStack() as probes, suppress(OSError):
            for each in range(port, port + 1 + neighbours):
                probes.enter_context(socket.socket()).bind(("127.0.0.1", each))
            return port
    raise AssertionError("no port is free")


def dashboard_of(shop: Shop) -> str:
    (url,) = (line.split()[1] for line in shop.output().splitlines() if line.startswith("  dashboard "))
    return url


def test_dev_runs_everything_reloads_and_leaves_nothing_when_killed(open_folder: Path) -> None:
    shop = Shop(open_folder)
    with shop.running("dev", "-A", "shop", "--reload", f"--api-port={free_port()}") as dev:
        shop.until("worker.joined")
        shop.until("api.started")
        done = shop.run("enqueue", "greet", '{"name": "Ada"}', "--wait=40s", **dev_environment(shop))
        (open_folder / "shop.py").write_text(SHOP.replace("hello", "good day"))
        shop.until("worker.joined", times=2)
        shop.until("api.started", times=2)
        again = shop.run("enqueue", "greet", '{"name": "Ada"}', "--wait=40s", **dev_environment(shop))
        members = family(dev.pid)
        dev.kill()
        eventually(lambda: not alive(members[1:]), "no survivors", 20, lambda: alive(members))

    assert "hello Ada" in done.stdout
    assert "good day Ada" in again.stdout
    assert len(members) >= 5
    assert (open_folder / ".jobqueue" / ".gitignore").read_text() == "*\n"


def test_dev_ends_in_order_and_keeps_its_data(open_folder: Path) -> None:
    shop = Shop(open_folder, JOBQUEUE_LEASE="1s", JOBQUEUE_REAP_INTERVAL="300ms")  # one job's worker dies
    with shop.running("dev", "-A", "shop", f"--api-port={free_port()}") as dev:
        shop.until("worker.joined")
        shop.until("scheduler.started")
        shop.until("api.started")
        with urllib.request.urlopen(f"{dashboard_of(shop)}health", timeout=10) as health:
            assert health.status == 200
        job_id = shop.run("enqueue", "greet", "{}", "--delay=1h", **dev_environment(shop)).stdout.strip()
        shop.run("enqueue", "-A", "shop", "crash", **dev_environment(shop))
        shop.until("job.completed")
        members = family(dev.pid)
        refused = shop.run("dev", "-A", "shop", code=1).stderr
        dev.send_signal(signal.SIGINT)
        assert dev.wait(30) == 0
        assert alive(members) == []
    with shop.running("dev", "-A", "shop", f"--api-port={free_port()}") as dev:
        shop.until("worker.joined")
        shown = shop.run("job", "show", job_id, **dev_environment(shop))
        dev.send_signal(signal.SIGTERM)
        assert dev.wait(30) == 0

    assert "scheduled" in shown.stdout
    assert "another --data-dir" in refused
