r"""Every code block of README.md and docs/ is run, in order, page by page.

A page has a temporary folder, a Valkey (`REDIS_URL`) and a migrated database (`DATABASE_URL`) of its own. The word
after the fence says what happens to a block there:

    ```python                    run as a program of its own; it may `await` at top level
    ```python file=shop/jobs.py  written to that file, so that later blocks can import it
    ```toml file=pyproject.toml  any language can be written to a file
    ```sh                        run by `bash -eu`, with this environment's `python3` and `jobqueue`
    ```sh background             one long-running command: started, waited for until it has printed something,
                                 ended by SIGTERM at the end of the page; it must exit 0
    ```sh background=api.started the same, waited for until it has printed this
    ```console                   its lines that begin with `$ ` are run like `sh`; the others show output
    ```sql                       run in a transaction that is rolled back
    ```lua                       loaded by Redis, not run
    ```toml  ```json  ```yaml    parsed
    ```text  ```mermaid  ```ini  left alone

curl fails a block by an answer of 400 or more (`.curlrc` here); where there is no curl, its blocks are left out.
`localhost:8080` in a block is the port that `API_PORT` has in the page's environment.

A block is left out by a comment line before it, `<!-- not run: the reason -->`; the reason is required, and
Python, TOML, JSON and YAML are parsed all the same. The two install commands of README.md are run by .ci/run.
"""

import ast
import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from jobqueue.embedded import PostgresServer
from tests.docs.pages import PAGES, Block, blocks_of, name_of
from tests.docs.served import served

BLOCK_SECONDS = 60
START_SECONDS = 60
STOP_SECONDS = 40  # a worker's own grace is 30

# Compiles as `python -m asyncio` does, in a `__main__` that has no name but those of the block.
RUN_PYTHON = """
import ast, asyncio, sys, types
path, this = sys.argv[1], sys.modules["__main__"]
page = sys.modules["__main__"] = types.ModuleType("__main__")
with open(path, encoding="utf-8") as file:
    code = compile(file.read(), path, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
result = eval(code, page.__dict__)
if asyncio.iscoroutine(result):
    asyncio.run(result)
"""

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_says_what_it_is_and_can_be_parsed(page: Path) -> None:
    problems = [problem for block in blocks_of(page) for problem in problems_of(block)]

    assert problems == []


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where a page runs. Others may enter: as root, `jobqueue dev` runs its Postgres as somebody else."""
    with tempfile.TemporaryDirectory(prefix="jobqueue-page-") as path:
        Path(path).chmod(0o711)
        yield Path(path)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks_of(page)], ids=name_of)
def test_every_block_of_the_page_runs(page: Path, folder: Path, postgres: PostgresServer) -> None:
    blocks = [block for block in blocks_of(page) if is_run(block)]
    if not blocks:
        pytest.skip("nothing to run on this page")

    with served(postgres, f"page_{PAGES.index(page)}") as environment:
        run_page(blocks, folder, environment)


def problems_of(block: Block) -> Iterator[str]:
    """What is wrong with a block before it is run."""
    if block.language not in LANGUAGES:
        yield f"{block.where}: {block.language!r} is not one of {', '.join(LANGUAGES)}"
    unknown = block.options.keys() - {"file", *(["background"] if block.language == "sh" else [])}
    if unknown:
        yield f"{block.where}: unknown option {', '.join(sorted(unknown))}"
    if block.not_run == "":
        yield f"{block.where}: `<!-- not run: ... -->` must give a reason"
    try:
        PARSERS.get(block.language, str)(block.text)
    except (SyntaxError, ValueError, yaml.YAMLError) as error:
        yield f"{block.where}: this is no {block.language}: {error}"


def is_run(block: Block) -> bool:
    if block.where.startswith("README.md:") and block.text.startswith('python3 -m pip install -e ".['):
        return False  # .ci/run does
    if re.search(r"\bcurl ", block.text) and shutil.which("curl") is None:
        return False
    return block.not_run is None and ("file" in block.options or block.language in RUNNERS)


def run_page(blocks: list[Block], folder: Path, environment: dict[str, str]) -> None:
    """Run blocks in order in one folder; whatever was started in the background ends after the last one."""
    with ExitStack() as running:
        for number, written in enumerate(blocks, start=1):
            block = replace(
                written, text=written.text.replace("localhost:8080", f"localhost:{environment.get('API_PORT', 8080)}")
            )
            if "file" in block.options:
                write_file(block, folder)
            elif "background" in block.options:
                running.enter_context(in_background(block, folder, environment, folder / f"{number}.log"))
            else:
                RUNNERS[block.language](block, folder, environment)


def write_file(block: Block, folder: Path) -> None:
    path = (folder / block.options["file"]).resolve()
    assert path.is_relative_to(folder.resolve()), f"{block.where}: {path} is outside the page's folder"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.text)


def run_python(block: Block, folder: Path, environment: dict[str, str]) -> None:
    program = folder / f"block_{block.where.rpartition(':')[2]}.py"
    program.write_text(block.text)
    run(block, [sys.executable, "-c", RUN_PYTHON, program.name], folder, environment)


def run_sh(block: Block, folder: Path, environment: dict[str, str]) -> None:
    run(block, ["bash", "-euc", block.text], folder, environment)


def run_console(block: Block, folder: Path, environment: dict[str, str]) -> None:
    commands = [line[2:] for line in block.text.splitlines() if line.startswith("$ ")]
    assert commands, f"{block.where}: no line of this console begins with '$ '"
    run(block, ["bash", "-euc", "\n".join(commands)], folder, environment)


def run_sql(block: Block, _folder: Path, environment: dict[str, str]) -> None:
    import asyncpg

    async def try_out() -> None:
        connection = await asyncpg.connect(environment["DATABASE_URL"])
        try:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(block.text)
            await transaction.rollback()
        finally:
            await connection.close()

    try:
        asyncio.run(try_out())
    except asyncpg.PostgresError as error:
        pytest.fail(f"{block.where}: {error}", pytrace=False)


def run_lua(block: Block, _folder: Path, environment: dict[str, str]) -> None:
    import redis

    with redis.Redis.from_url(environment["REDIS_URL"]) as client:
        try:
            client.script_load(block.text)
        except redis.ResponseError as error:
            pytest.fail(f"{block.where}: {error}", pytrace=False)


def run(block: Block, command: list[str], folder: Path, environment: dict[str, str]) -> None:
    """Run one block's command to its end; it and its children are ended when it takes too long."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=BLOCK_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        pytest.fail(f"{block.where}: still running after {BLOCK_SECONDS} s\n{output}", pytrace=False)
    if process.returncode != 0:
        pytest.fail(f"{block.where}: exited {process.returncode}\n{output}", pytrace=False)


@contextmanager
def in_background(block: Block, folder: Path, environment: dict[str, str], log: Path) -> Iterator[None]:
    """Run one block's single command until the page ends, then see it leave gracefully."""
    with log.open("w") as output:
        process = subprocess.Popen(
            # `exec`: the signal must reach the command, not a shell around it.
            ["bash", "-euc", f"exec env {block.text}"],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        awaited = block.options["background"]
        started = within(START_SECONDS, lambda: has_printed(log, awaited) or process.poll() is not None)
        assert started, f"{block.where}: did not print {awaited or 'anything'} for {START_SECONDS} s\n{log.read_text()}"
        yield
        process.send_signal(signal.SIGTERM)
        within(STOP_SECONDS, lambda: process.poll() is not None)
        if process.poll() != 0:
            end = "did not end" if process.poll() is None else f"exited {process.poll()}"
            pytest.fail(f"{block.where}: {end} after SIGTERM\n{log.read_text()}", pytrace=False)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def has_printed(log: Path, awaited: str) -> bool:
    printed = log.read_text(errors="replace")
    return awaited in printed and printed != ""


def within(limit_s: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + limit_s
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return met


def parse_python(text: str) -> object:
    return compile(text, "<block>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST)


def parse_yaml(text: str) -> object:
    return list(yaml.safe_load_all(text))


PARSERS: dict[str, Callable[[str], object]] = {
    "python": parse_python,
    "toml": tomllib.loads,
    "json": json.loads,
    "yaml": parse_yaml,
}
RUNNERS: dict[str, Callable[[Block, Path, dict[str, str]], None]] = {
    "python": run_python,
    "sh": run_sh,
    "console": run_console,
    "sql": run_sql,
    "lua": run_lua,
}
LANGUAGES = [*RUNNERS, "toml", "json", "yaml", "text", "mermaid", "ini"]


def page_of(tmp_path: Path, text: str) -> Path:
    page = tmp_path / "page.md"
    page.write_text(text)
    return page


def test_a_page_is_read_block_by_block(tmp_path: Path) -> None:
    page = page_of(
        tmp_path,
        "# A page\n```python file=shop/jobs.py\nx = 1\n```\n\n"
        "<!-- not run: needs a cluster -->\n\n```sh background\njobqueue worker\n```\n"
        "- item\n  ```text\n  indented\n  ```\n````text\n```\n````\n",
    )

    written, worker, indented, nested = blocks_of(page)

    assert (written.where, written.language, written.options) == ("page.md:2", "python", {"file": "shop/jobs.py"})
    assert (worker.not_run, worker.options) == ("needs a cluster", {"background": ""})
    assert indented.text == "indented\n"
    assert nested.text == "```\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("```\nx\n```\n", "'' is not one of"),
        ("```bash\nx\n```\n", "'bash' is not one of"),
        ("```python background\nx\n```\n", "unknown option background"),
        ("```sh title=x\nx\n```\n", "unknown option title"),
        ("<!-- not run: -->\n```sh\nx\n```\n", "must give a reason"),
        ("<!-- not run: it is too long -->\n```python\nx = (\n```\n", "this is no python"),
        ("```json\n{'a': 1}\n```\n", "this is no json"),
        ("```toml\na = \n```\n", "this is no toml"),
        ("```yaml\na: [\n```\n", "this is no yaml"),
    ],
)
def test_a_wrong_block_is_found(tmp_path: Path, text: str, problem: str) -> None:
    (block,) = blocks_of(page_of(tmp_path, text))

    (found,) = problems_of(block)

    assert problem in found


def run_text(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    run_page(blocks_of(page_of(tmp_path, text)), folder, {**os.environ, "API_PORT": "8080"})


def test_blocks_share_a_folder_and_no_names(tmp_path: Path) -> None:
    run_text(
        tmp_path,
        "```python file=shop/jobs.py\nanswer = 42\n```\n"
        "```python\nimport asyncio, sys\nfrom shop.jobs import answer\nawait asyncio.sleep(0)\n"
        "open('answer', 'w').write(str(answer))\nassert __name__ == '__main__'\n```\n"
        "```python\nassert 'answer' not in globals() and 'ast' not in globals()\n```\n"
        '```sh\ntest "$(cat answer)" = 42\n```\n```console\n$ cat answer\n42\n```\n',
    )


@pytest.mark.parametrize(
    "block",
    [
        "```python\nraise SystemExit(3)\n```\n",
        "```sh\nfalse\ntrue\n```\n",
        "```sh\necho $no_such_variable\n```\n",
        "```console\n$ false\n$ true\n```\n",
        "```sh background\nsh -c 'echo started; exit 3'\n```\n",
        "```sh background\necho started\n```\n```sh\nfalse\n```\n",
    ],
)
def test_a_failing_block_fails_its_page(tmp_path: Path, block: str) -> None:
    with pytest.raises(pytest.fail.Exception, match=r"page\.md:\d: exited "):
        run_text(tmp_path, block)


GRACEFUL = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit({code})); print(1, flush=True)"


def test_a_background_command_ends_with_the_page(tmp_path: Path) -> None:
    program = f"{GRACEFUL.format(code=0)}; signal.pause()"

    run_text(tmp_path, f'```sh background\nA=b {sys.executable} -c "{program}"\n```\n```sh\ntrue\n```\n')


def test_a_background_command_is_waited_for_until_it_has_printed_what_is_awaited(tmp_path: Path) -> None:
    program = f"{GRACEFUL.format(code=0)}; open('begun', 'w').close(); print('ready', flush=True); signal.pause()"

    run_text(tmp_path, f'```sh background=ready\n{sys.executable} -c "{program}"\n```\n```sh\ntest -f begun\n```\n')


@pytest.mark.parametrize("program", [f"{GRACEFUL.format(code=4)}; signal.pause()", "print(1, flush=True); input()"])
def test_a_background_command_that_ends_badly_fails_its_page(tmp_path: Path, program: str) -> None:
    with pytest.raises(pytest.fail.Exception, match="after SIGTERM"):
        run_text(tmp_path, f'```sh background\n{sys.executable} -c "{program}"\n```\n')
