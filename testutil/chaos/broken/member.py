"""A process of a plant with a broken broker: `python -m testutil.chaos.broken.member testutil.chaos.work`.

`CHAOS_BROKEN` names the mutant (empty: none), `CHAOS_SCENARIO` the scenario whose workload producers carry out.
"""

import os
import runpy
import sys

from testutil.chaos import mix
from testutil.chaos.broken.mutant import MUTANTS, VARIABLE
from testutil.chaos.broken.scenario import SCENARIOS


def main() -> None:
    kinds = SCENARIOS[os.environ["CHAOS_SCENARIO"]].kinds
    mix._KINDS = {kind: (weight, mix._KINDS[kind][1]) for kind, weight in kinds.items()}
    if name := os.environ[VARIABLE]:
        MUTANTS[name].apply()
    program, *sys.argv[1:] = sys.argv[1:]
    runpy.run_module(program, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
