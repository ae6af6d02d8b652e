"""Mutation testing: ``python tests/mutation.py run`` is ``mutmut run`` with three additions.

1. mutmut skips decorated functions, so it would skip every constructor. Here it mutates the ``@described`` ones, except
   the defaults of their arguments, which ``described`` fills in before a mutant sees them.
2. Code that runs while tests are collected, such as the constructors in the tables, runs again for each of its mutants.
   The tests of such a function are also those whose row names it or one of its callers.
3. At the end it prints the figures of each module.

Each mutant runs in a forked process, in which JAX cannot compile: it waits for a thread that the fork does not have. So
no test with "jit" in its name runs, and those that may compile operations of JAX run last.
"""

import gc
import importlib
import json
import os
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

LIGHT = {"FUNCNN_EXAMPLES": "3", "OPENBLAS_NUM_THREADS": "1"}
"""Each law runs on three cases: a mutant that only a fourth case would catch counts as a survivor."""

OUTCOMES = {0: "survived", 1: "killed", 3: "killed", 255: "at import", -24: "timeout", 24: "timeout", 152: "timeout"}
"""What the exit code of pytest means. "At import": the tables of parts cannot be built, so no test runs."""


def main() -> None:
    os.environ.update(LIGHT)
    sys.dont_write_bytecode = False
    from mutmut.__main__ import cli

    _let_constructors_in()
    _run_what_ran_early_again()
    _run_fast_tests_first()
    try:
        cli()
    finally:
        print(figures(Path("mutants")))


def figures(folder: Path) -> str:
    """The number of mutants of each module by outcome."""
    whole, rows = Counter[str](), []
    for path in sorted(folder.rglob("*.meta")):
        codes = json.loads(path.read_text())["exit_code_by_key"].values()
        counts = Counter(OUTCOMES.get(code, f"other: {code}") for code in codes)
        rows += [(str(path.relative_to(folder / "funcnn").with_suffix("")), counts)] if counts else []
        whole += counts
    ends = (f"{name:28}{counts.total():6}  {dict(counts.most_common())}" for name, counts in [*rows, ("all", whole)])
    return "\n".join(ends)


def _let_constructors_in() -> None:
    import libcst as cst
    from mutmut.mutation.file_mutation import MutationVisitor

    skips = MutationVisitor._skip_node_and_children
    signatures = set()

    def skips_but_for_constructors(visitor: Any, node: cst.CSTNode) -> bool:
        match node:
            case cst.FunctionDef(decorators=[cst.Decorator(decorator=cst.Name(value="described"))]):
                signatures.add(node.params)
                return False
            case cst.Parameters() if node in signatures:
                return True
        return skips(visitor, node)

    MutationVisitor._skip_node_and_children = skips_but_for_constructors


def _run_what_ran_early_again() -> None:
    from mutmut.mutation.trampoline import set_mutant_under_test
    from mutmut.runners.harness import BadTestExecutionCommandsException, PytestRunner
    from mutmut.state import state

    warm_up, run_tests = PytestRunner.warm_up, PytestRunner.run_tests
    early = set()

    def warm_up_and_note(runner: Any) -> None:
        set_mutant_under_test("stats")
        warm_up(runner)
        early.update(state()._stats)
        for module in _forget("tests"):  # pytest changes what it has collected: the ids of a second time have more "\\"
            importlib.import_module(module)
        gc.freeze()  # pytest collects garbage at its end, in every fork

    def run_from_the_start(runner: Any, *, mutant_name: str | None, tests: Any) -> int:
        if mutant_name is not None and mutant_name.partition("__mutmut_")[0] in early:
            _forget("funcnn", "tests")
        try:
            return run_tests(runner, mutant_name=mutant_name, tests=tests)
        except BadTestExecutionCommandsException:  # where the mutant changes a row's id: all rows of its function
            functions = dict.fromkeys(test.partition("[")[0] for test in tests)
            return run_tests(runner, mutant_name=mutant_name, tests=functions)

    PytestRunner.warm_up, PytestRunner.run_tests = warm_up_and_note, run_from_the_start


def pytest_sessionstart() -> None:
    """A copy of a constructor is described as well: leave its name out of messages."""
    from funcnn.errors import InputError

    within = InputError.within
    InputError.within = lambda error, place: error if "__mutmut_" in place else within(error, place)


def _forget(*packages: str) -> list[str]:
    modules = [name for name in sys.modules if name.partition(".")[0] in packages]
    for module in modules:
        del sys.modules[module]
    return modules


def _run_fast_tests_first() -> None:
    from mutmut.state import state
    from mutmut.workers.isolation import ForkServerRunner

    submit = ForkServerRunner.submit

    def submit_sorted(runner: Any, mutant: str, tests: list[str], *limits: Any) -> None:
        times, calls = state().duration_by_test, state().function_dependencies
        users = {mutant.partition("__mutmut_")[0]}
        while more := {caller for user in users for caller in calls.get(user, ())} - users:
            users |= more
        names = "|".join(user.rpartition(".x_")[2] for user in users)
        tests_of_rows = (test for test in times if re.search(rf"\b({names})\(", test))
        order = sorted({*tests, *tests_of_rows}, key=lambda test: ("jax" in test or "optax" in test, times[test]))
        submit(runner, mutant, order, *limits)

    ForkServerRunner.submit = submit_sorted


if __name__ == "__main__":
    main()
