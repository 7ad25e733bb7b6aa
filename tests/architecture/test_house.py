"""The files around the code: the README's commands, CI, tasks, container, compose."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEMO_COMMAND = 'python3 -m pip install -e ".[all]" && jobqueue demo'
TEST_COMMAND = 'python3 -m pip install -e ".[dev]" && python3 -m pytest'
TASKS = {
    *("default", "fmt", "lint", "type", "test", "test:unit", "test:integration", "test:long"),
    *("test:pgbouncer", "test:strict", "test:acl", "test:machine", "test:api", "test:cron"),
    *("chaos", "chaos:all", "chaos:broken"),
    *("cov", "demo", "dev", "migrate", "ci", "audit", "bench", "bench:smoke"),
}


@pytest.mark.parametrize("command", [DEMO_COMMAND, TEST_COMMAND])
def test_the_readme_has_each_command_in_a_block_of_its_own(command: str) -> None:
    assert f"\n```sh\n{command}\n```\n" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize(("asked", "command"), [("jobqueue demo", DEMO_COMMAND), ("python3 -m pytest", TEST_COMMAND)])
def test_ci_reads_its_commands_out_of_the_readme(tmp_path: Path, asked: str, command: str) -> None:
    readme = f"Run `{command}`:\n\n```sh\n{command}\n```\n```python\n# && {asked}\n```\n"
    (tmp_path / "README.md").write_text(readme)

    found = readme_command(tmp_path, asked)

    assert found.stdout == f"{command}\n"


@pytest.mark.parametrize("readme", ["", f"```sh\n{TEST_COMMAND}\n{TEST_COMMAND}\n```\n", "```sh\npytest\n```\n"])
def test_ci_refuses_a_readme_without_exactly_one_such_command(tmp_path: Path, readme: str) -> None:
    (tmp_path / "README.md").write_text(readme)

    found = readme_command(tmp_path, "python3 -m pytest")

    assert found.returncode == 1
    assert "must have exactly one" in found.stderr


def readme_command(folder: Path, asked: str) -> subprocess.CompletedProcess[str]:
    return ci(folder, ["readme_command"], f"readme_command '{asked}'")


def ci(folder: Path, functions: list[str], script: str) -> subprocess.CompletedProcess[str]:
    """Run a script with these functions of .ci/run, alone."""
    text = (ROOT / ".ci" / "run").read_text()
    found = [re.search(rf"^{name}\(\) \{{\n.*?^\}}\n", text, re.MULTILINE | re.DOTALL) for name in functions]
    bodies = "".join(each[0] for each in found if each)
    assert all(found)
    return subprocess.run(["bash", "-euc", f"{bodies}\n{script}"], cwd=folder, capture_output=True, text=True)


BESIDE = """
work=$PWD/work; mkdir "$work"; trap leave EXIT
begin long bash -c 'echo its begin; until [[ -e over ]]; do sleep 0.01; done; echo its end >&2; exit {code}'
step short bash -c 'touch over; exit {short}'
step long end long
step last echo all is well
"""


@pytest.mark.parametrize(("code", "short", "exits"), [(0, 0, 0), (3, 0, 3), (0, 4, 4), (3, 4, 4)])
def test_ci_shows_the_whole_of_what_ran_beside_its_steps_and_fails_with_it(
    tmp_path: Path, code: int, short: int, exits: int
) -> None:
    ran = ci(tmp_path, ["step", "begin", "end", "leave"], BESIDE.format(code=code, short=short))

    assert ran.returncode == exits
    assert "its begin\nits end\n" in ran.stdout
    assert ("all is well" in ran.stdout) == (exits == 0)
    assert not (tmp_path / "work").exists()


def test_ci_checks_what_contributing_promises() -> None:
    script = (ROOT / ".ci" / "run").read_text()

    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    for check in ("ruff check .", "ruff format --check .", " mypy\n", " pyright\n"):
        assert check in script


def test_the_tasks_are_all_there_and_each_can_be_planned() -> None:
    tasks = yaml.safe_load((ROOT / "Taskfile.yml").read_text())["tasks"]
    task = shutil.which("task", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert task, "the dev extra brings go-task"

    planned = subprocess.run([task, "--dry", *TASKS], cwd=ROOT, capture_output=True, text=True)

    assert planned.returncode == 0, planned.stderr
    assert set(tasks) == TASKS
    assert all(body["desc"] for body in tasks.values())
    assert tasks["ci"]["cmds"] == ["bash .ci/run"]


def test_no_tracked_file_names_a_package_registry() -> None:
    # Split so that this file does not name one either.
    hosts = ["pypi" + ".org", "pythonhosted" + ".org", "npmjs" + ".org", "npmjs" + ".com", "deb.debian" + ".org"]
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()

    found = [
        f"{name} names {host}"
        for name in files
        if (ROOT / name).is_file()
        for host in hosts
        if host.encode() in (ROOT / name).read_bytes()
    ]

    assert found == []


def compose() -> dict[str, Any]:
    spec: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return spec


def test_compose_starts_everything_in_order() -> None:
    services = compose()["services"]
    healthy, done = {"condition": "service_healthy"}, {"condition": "service_completed_successfully"}

    assert set(services) == {"redis", "postgres", "migrate", "worker", "scheduler", "api"}
    assert services["migrate"]["depends_on"] == {"redis": healthy, "postgres": healthy}
    assert services["migrate"]["restart"] == "no"
    for name in ("worker", "scheduler", "api"):
        assert services[name]["depends_on"] == {"redis": healthy, "postgres": healthy, "migrate": done}
    assert services["redis"]["healthcheck"]["test"]
    assert services["postgres"]["healthcheck"]["test"]


def test_compose_runs_a_redis_that_keeps_jobs() -> None:
    redis = compose()["services"]["redis"]
    options = dict(zip(redis["command"][1::2], redis["command"][2::2], strict=True))

    assert redis["image"].startswith("redis:7")
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory-policy"] == "noeviction"
    assert "redis:/data" in redis["volumes"]


def test_compose_opens_no_port_to_the_network_and_ships_no_password() -> None:
    text = (ROOT / "compose.yaml").read_text()
    ports = [port for service in compose()["services"].values() for port in service.get("ports", [])]

    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert set(re.findall(r"PASSWORD[^}\n]*", text.partition("services:")[2])) == {
        "PASSWORD: ${POSTGRES_PASSWORD:?set POSTGRES_PASSWORD in .env"
    }
    assert ":${POSTGRES_PASSWORD:?" in compose()["services"]["worker"]["environment"]["DATABASE_URL"]


def test_compose_asks_every_process_of_ours_whether_it_is_healthy() -> None:
    services = compose()["services"]

    for name in ("worker", "scheduler"):
        port = services[name]["environment"]["JOBQUEUE_PROBE_PORT"]
        assert f"http://127.0.0.1:{port}/health" in services[name]["healthcheck"]["test"][-1]
        assert "ports" not in services[name], "the probe needs no key"
    port = services["api"]["environment"]["API_PORT"]
    assert f"http://127.0.0.1:{port}/health" in services["api"]["healthcheck"]["test"][-1]
    assert services["api"]["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_compose_gives_a_worker_longer_than_its_own_grace() -> None:
    worker = compose()["services"]["worker"]

    assert seconds(worker["stop_grace_period"]) > seconds(worker["environment"]["WORKER_SHUTDOWN_TIMEOUT"])
    assert worker["init"] is True


def seconds(duration: str) -> int:
    assert duration.endswith("s")
    return int(duration[:-1])


def test_the_container_runs_the_wheel_and_not_as_root() -> None:
    lines = [line.split("#")[0] for line in (ROOT / "Dockerfile").read_text().splitlines()]
    build, final = "\n".join(lines).split("FROM ")[1:]

    assert "pip wheel" in build
    assert ".whl)[postgres,fast,cli,api]" in build
    assert "USER 10001:10001" in final
    assert 'ENTRYPOINT ["jobqueue"]' in final
    assert "STOPSIGNAL SIGTERM" in final
    assert "COPY jobqueue" not in final


def test_the_container_build_sees_all_that_it_copies_and_no_secret() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    let_through = {line[1:].rstrip("/") for line in ignored if line.startswith("!")}

    assert "*" in ignored
    assert let_through == {name for names in copied for name in names.split()}


def test_the_container_passes_hadolint() -> None:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert hadolint, "the dev extra brings hadolint"

    checked = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True)

    assert checked.returncode == 0, checked.stdout
