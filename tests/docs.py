"""The page docs/catalogue.md: every part with its equation, source and laws, from the docstrings and the tables.

python -m tests.docs > docs/catalogue.md
"""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import ModuleType

import attrs
from toolz import groupby

from funcnn import layers, losses, metrics, optimizers, schedules
from funcnn.spec import Described, constructors
from funcnn.testing.layers import layer_laws
from funcnn.testing.losses import loss_laws
from funcnn.testing.metrics import metric_laws
from funcnn.testing.optimizers import optimizer_laws, schedule_laws
from funcnn.testing.randomness import combinator_laws, noise_laws
from tests import catalogue

HEAD = """\
# The catalogue

Every part of funcnn, with what it computes, its source and its laws, which the tests check. The numbers of the laws
refer to the list above each table. `python -m tests.docs > docs/catalogue.md` writes this page.
"""


@attrs.frozen
class Row:
    """A part as it stands in a table of the catalogue: the laws that it obeys, and those that it breaks on purpose."""

    part: object
    laws: Iterable[str]
    unless: Iterable[str] = ()


@attrs.frozen
class Kind:
    """A section of the page."""

    title: str
    module: ModuleType
    rows: Sequence[Row]


KINDS = [
    Kind(
        "Layers",
        layers,
        [Row(layer, layer_laws(layer, at, jax=True)) for layer, at in catalogue.LAYERS + catalogue.LAYERS_OF_INDICES]
        + [Row(layer, noise_laws(layer, shape)) for layer, shape in catalogue.NOISE]
        + [Row(made(*[layers.relu()] * n), combinator_laws(made, shape)) for made, shape, n in catalogue.COMBINATORS],
    ),
    Kind("Losses", losses, [Row(loss, loss_laws(loss, draw, jax=True)) for loss, draw in catalogue.LOSSES]),
    Kind(
        "Optimizers",
        optimizers,
        [Row(ours, optimizer_laws(ours, oracle=theirs)) for ours, theirs in catalogue.OPTAX]
        + [Row(optimizer, optimizer_laws(optimizer)) for optimizer in catalogue.OPTIMIZERS]
        + [Row(optimizer, optimizer_laws(optimizer), unless) for optimizer, unless in catalogue.EXCEPTIONS],
    ),
    Kind("Schedules", schedules, [Row(made, schedule_laws(made, jax=True)) for made in catalogue.SCHEDULES]),
    Kind(
        "Metrics",
        metrics,
        [Row(metric, metric_laws(metric, draw, jax=True)) for metric, draw in catalogue.METRICS]
        + [Row(made, metric_laws(made, draw, jax=True), unless) for made, draw, unless in catalogue.METRICS_OF_TABLES],
    ),
]

TOOLS = {"weighted_mean"}
"""Functions beside the metrics that are none."""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *("\n".join(_section(kind)) for kind in KINDS)])


def parts(kind: Kind) -> dict[str, Callable[..., object]]:
    """The public constructors, or metrics, of a kind by name."""
    found = {**vars(metrics), **constructors()} if kind.module is metrics else constructors()
    return {name: value for name, value in found.items() if _is_public_in(kind.module, value) and name not in TOOLS}


def _is_public_in(module: ModuleType, value: object) -> bool:
    return inspect.isfunction(value) and value.__module__.startswith(module.__name__) and value.__name__[0] != "_"


def rows_of(name: str, kind: Kind) -> list[Row]:
    """The rows of a part: those where it is the whole, or else those where it is a piece."""
    whole = [row for row in kind.rows if _names(row.part)[0] == name]
    return whole or [row for row in kind.rows if name in _names(row.part)]


def _names(part: object) -> list[str]:
    """The names of the constructors that a part was made by, the outermost first."""
    if isinstance(part, Described):
        return re.findall(r"(\w+)\(", repr(part))
    return str(part.__name__).split("_of_")  # toolz names a composition so


def _section(kind: Kind) -> Iterator[str]:
    numbers = {law: i for i, law in enumerate(dict.fromkeys(law for row in kind.rows for law in row.laws), 1)}
    yield f"## {kind.title}\n"
    yield from (f"{i}. {law}" for law, i in numbers.items())
    yield "\n| part | what it computes | source | laws |\n|---|---|---|---|"
    for name, constructor in sorted(parts(kind).items()):
        text, rows = inspect.cleandoc(constructor.__doc__), rows_of(name, kind)
        broken = {law for row in rows for law in row.unless}
        laws = sorted({numbers[law] for row in rows for law in row.laws if law not in broken})
        yield f"| `{name}` | {_cell(_equation(text))} | {_cell(_source(text))} | {_ranges(laws)} |"
    yield ""


CITATION = re.compile(r"\s*\(([^()]*\b(?:18|19|20)\d\d\b[^()]*)\)")


def _equation(text: str) -> str:
    """The first paragraph with an equation in it, or else the first of all, without citations."""
    paragraphs = text.partition(">>>")[0].split("\n\n")
    chosen = next((paragraph for paragraph in paragraphs if "=" in paragraph), paragraphs[0])
    return CITATION.sub("", " ".join(chosen.split()))


def _source(text: str) -> str:
    """All that is cited, up to the year."""
    cited = ";".join(CITATION.findall(" ".join(text.split()))).split(";")
    works = (re.match(r".*?\b(?:18|19|20)\d\d", work.strip()) for work in cited)
    return "; ".join(work.group() for work in works if work) or "by definition"


def _cell(text: str) -> str:
    """Docstring markup as Markdown in a cell of a table."""
    text = re.sub(r":\w+:`~?(?:funcnn\.)?([^`]+)`", r"`\1`", text).replace("``", "`")
    return text.replace("|", r"\|").strip()


def _ranges(numbers: Sequence[int]) -> str:
    """1, 2, 3, 5 as "1-3, 5"."""
    runs = groupby(lambda pair: pair[1] - pair[0], enumerate(numbers)).values()
    return ", ".join(str(run[0][1]) if len(run) == 1 else f"{run[0][1]}-{run[-1][1]}" for run in runs)


if __name__ == "__main__":
    print(page(), end="")
