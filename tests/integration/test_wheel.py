"""The built wheel in a clean environment, away from the checkout: imports, migrates, runs a job."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

# Builds in isolation and installs some 40 MB of wheels: half a minute with a warm cache of pip.
pytestmark = [pytest.mark.timeout(400), pytest.mark.xdist_group("wheel")]

SHOP = """
from pathlib import Path

from jobqueue import Registry

registry = Registry()


@registry.task("greet")
async def greet(name: str) -> None:
    Path("greeting.txt").write_text(f"hello {name}")
"""

# Holds both servers until its standard input closes.
SERVERS = """
import json, sys
from jobqueue.embedded import start_servers

with start_servers() as servers:
    print(json.dumps({"REDIS_URL": servers.redis.url, "DATABASE_URL": servers.postgres.url}), flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def outside() -> Iterator[Path]:
    """A folder away from the checkout. Not `tmp_path`: as root, Postgres runs as `nobody`, who must get in."""
    folder = Path(tempfile.mkdtemp(prefix="jobqueue-wheel-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def wheel(outside: Path) -> Path:
    run([sys.executable, "-m", "build", "--wheel", "--outdir", str(outside / "dist"), str(ROOT)], cwd=outside)
    (built,) = (outside / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def shop(outside: Path, wheel: Path) -> Path:
    """A user's folder, beside an environment that has nothing but the wheel with all its extras."""
    run([sys.executable, "-m", "venv", "--without-pip", str(outside / "venv")], cwd=outside)
    pip = [sys.executable, "-m", "pip", "--python", python(outside), "install", "--quiet", "--no-compile"]
    run([*pip, f"{wheel}[all]"], cwd=outside)
    folder = outside / "shop"
    folder.mkdir()
    (folder / "shop.py").write_text(SHOP)
    return folder


@pytest.fixture(scope="module")
def servers(shop: Path) -> Iterator[dict[str, str]]:
    command = [python(shop.parent), "-c", SERVERS]
    with subprocess.Popen(
        command, cwd=shop, env=clean_environment(shop), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        line = process.stdout.readline()
        assert line, "the servers of the wheel's environment did not start: see stderr"
        yield json.loads(line)
        process.stdin.close()
        assert process.wait(60) == 0


def test_the_wheel_carries_what_it_needs_and_no_more(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    shipped = {name.rpartition("/")[2] for name in names if "/migrations/" in name}

    assert "jobqueue/py.typed" in names
    assert shipped
    assert shipped == {path.name for path in (ROOT / "migrations").glob("*.sql")}
    for pattern in ("jobqueue/**/*.lua", "jobqueue/**/*.sql", "jobqueue/**/*.sh", "jobqueue/api/static/**/*.*"):
        assert {str(path.relative_to(ROOT)) for path in ROOT.glob(pattern)} <= set(names)
    static = {str(path.relative_to(ROOT)) for path in ROOT.glob("jobqueue/api/static/**/*") if path.is_file()}
    assert "jobqueue/api/static/index.html" in static
    assert static <= set(names)
    assert {name.partition("/")[0] for name in names} == {"jobqueue", f"jobqueue_asyncio-{VERSION}.dist-info"}
    assert [name for name in names if name.endswith((".pyc", ".env")) or "/test_" in name] == []


def test_it_imports_and_knows_its_version(shop: Path) -> None:
    where = in_venv(shop, "python", "-c", "import jobqueue; print(jobqueue.__version__, jobqueue.__file__)")
    version = in_venv(shop, "jobqueue", "--version")

    assert where.split()[0] == VERSION
    assert str(shop.parent / "venv") in where
    assert VERSION in version


def test_it_migrates_and_runs_a_job(shop: Path, servers: dict[str, str]) -> None:
    in_venv(shop, "jobqueue", "migrate", **servers)
    in_venv(shop, "jobqueue", "enqueue", "greet", '{"name": "Ada"}', **servers)
    in_venv(shop, "jobqueue", "worker", "-A", "shop:registry", "--burst", **servers)

    assert (shop / "greeting.txt").read_text() == "hello Ada"


def in_venv(shop: Path, command: str, *arguments: str, **environment: str) -> str:
    """Run a command of the clean environment in the user's folder; its output."""
    program = shop.parent / "venv" / "bin" / command
    return run([str(program), *arguments], cwd=shop, env=clean_environment(shop) | environment)


def clean_environment(shop: Path) -> dict[str, str]:
    """Nothing of the environment that runs the tests: no PYTHONPATH, no settings, no other `jobqueue` on PATH."""
    return {"PATH": f"{shop.parent / 'venv' / 'bin'}:/usr/bin:/bin", "HOME": str(shop), "LANG": "C.UTF-8"}


def python(outside: Path) -> str:
    return str(outside / "venv" / "bin" / "python")


def run(command: list[str], *, cwd: Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env=env or {name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, f"{' '.join(command)} exited {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
