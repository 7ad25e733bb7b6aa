import subprocess
import sys

import pytest

MODULES = ["database", "archive", "migrate"]


@pytest.mark.parametrize("module", MODULES)
def test_without_asyncpg_one_line_says_how_to_install_it(module: str) -> None:
    code = f"import sys; sys.modules['asyncpg'] = None; import jobqueue.repository.postgres.{module}"

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    last = result.stderr.strip().splitlines()[-1]
    assert last == (
        "jobqueue.errors.MissingExtra: asyncpg is not installed; "
        "install it with: python -m pip install 'jobqueue-asyncio[postgres]'"
    )
