"""The page docs/laws.md: every law, with the planted faults that it catches. It runs the checkers on all faults.

python -m tests.planted > docs/laws.md
"""

import re
from collections.abc import Iterable, Mapping

from toolz import concat

from funcnn.testing import BrokenLaw
from tests import test_check_experiment, test_laws

HEAD = """\
# Laws

A law is a statement that every layer, loss, optimizer or experiment must satisfy, such as "the step is pure". A
checker of `funcnn.testing` (extra `test`) tries every law of a part on random cases. It raises `BrokenLaw` at the first
law that fails. The message names the part, the law, the smallest case that fails, and the array or value that is wrong.

The tests run these checkers on [all parts](catalogue.md) of funcnn. The checkers are public, so you can test your own
parts in the same way: see [write a layer and prove it](layer.md).

A checker can be wrong too. So the tests plant faults: parts that are wrong on purpose. Each row below names a law and
the planted faults that it catches. Every law has at least one. `python -m tests.planted > docs/laws.md` writes this
page: it runs every checker on its faults. The tests run them again and compare the result with this page.

Mutation testing made 5,429 small changes to the code of an earlier commit, and the tests noticed 98.8 % of them
(`CONTRIBUTING.md` has the table).
"""

CHECKERS = {
    "A layer": ("check_layer", ("layer", "linearity", "indices", "layer on JAX")),
    "A layer that draws random numbers": ("check_noise", ("noise",)),
    "A combinator of layers": ("check_combinator", ("combinator",)),
    "A loss": ("check_loss", ("loss", "loss on JAX")),
    "An optimizer": ("check_optimizer", ("optimizer", "oracle")),
    "A schedule": ("check_schedule", ("schedule",)),
    "A metric": ("check_metric", ("metric",)),
    "A training step": ("check_step", ("step", "engine")),
    "An experiment": ("check_experiment", ()),
}
"""The sections of the page: the checker, and the kinds of its faults in the tests."""


def law_of(message: str) -> str:
    """The law that the message of a broken one names."""
    return re.search(r"breaks the law '(.*?)'(?: at|:)", message)[1]


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *concat(_section(title, *checker) for title, checker in CHECKERS.items())])


def _section(title: str, checker: str, kinds: Iterable[str]) -> list[str]:
    caught = _caught(kinds) if kinds else {law: [*faults] for law, faults in test_check_experiment.FAULTS.items()}
    rows = [f"| {law} | {'; '.join(faults)} |" for law, faults in caught.items()]
    return [f"## {title}\n", f"`{checker}`\n", "| law | planted faults that it catches |", "|---|---|", *rows, ""]


def _caught(kinds: Iterable[str]) -> Mapping[str, list[str]]:
    """The names of the faults of these kinds, by the law that catches them."""
    found: dict[str, list[str]] = {}
    for kind in kinds:
        for name, (part, _) in test_laws.FAULTS[kind].items():
            try:
                test_laws.CHECKS[kind](part)
            except BrokenLaw as error:
                found.setdefault(law_of(str(error)), []).append(name)
    return found


if __name__ == "__main__":
    print(page(), end="")
