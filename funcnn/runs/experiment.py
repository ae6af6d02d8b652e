"""An experiment: all that a run depends on, as functions and data. :func:`supervised` makes the usual one."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import attrs
from toolz import concat, identity, keyfilter, valfilter

import funcnn as fn
from funcnn import tree
from funcnn.arrays import Array, Shapes
from funcnn.checkpoint import save
from funcnn.data.batches import row_tables, take_rows
from funcnn.errors import InputError, is_count, is_real, require, validator
from funcnn.keys import check_key
from funcnn.layer import Params
from funcnn.metrics import weighted_mean
from funcnn.spec import to_plain
from funcnn.training import StepMetric, check_metrics, count_rows
from funcnn.tree import frozendict

Row: TypeAlias = Mapping[str, float]
"""The numbers of a step or an epoch, by name."""

COUNTERS = ("epoch", "step", "samples", "seconds")
"""Columns of the machinery, whose names no metric can have."""


@attrs.frozen
class Section:
    """A part of a run's report.

    Attributes:
        title: Its heading.
        html: Its content.
    """

    title: str
    html: str


@attrs.frozen(eq=False)
class Table:
    """Batches as row numbers of the same samples, so that an epoch can be compiled into one program.

    Attributes:
        samples: All samples.
        rows: ``rows(epoch)``, the batches of that epoch, as tables of row numbers (steps, batch) in sequence.
    """

    samples: fn.Batch
    rows: Callable[[int], Sequence[Array]]

    def __call__(self, epoch: int) -> Iterator[fn.Batch]:
        """The batches of that epoch."""
        return (take_rows(self.samples, rows) for rows in concat(self.rows(epoch)))


def one_step(batch: Any) -> Sequence[int]:
    """The samples in the one step of a batch: the rows of its first array.

    >>> one_step(({"left": fn.Key(0).normal((5, 3))}, None))
    (5,)
    """
    shapes = (getattr(leaf, "shape", ()) for leaf in tree.leaves(batch))
    return (next((shape[0] for shape in shapes if shape), 1),)


def means(steps: Sequence[Row]) -> Row:
    """``train/NAME``: the mean of each number over an epoch's steps, weighted by their samples.

    >>> means([{"step": 1, "samples": 3, "loss": 1.0}, {"step": 2, "samples": 1, "loss": 5.0}])
    {'train/loss': 2.0}
    """
    names = [name for name in steps[0] if name not in COUNTERS]
    rows = ((row["samples"], {f"train/{name}": row[name] for name in names}) for row in steps)
    return weighted_mean(rows)


def _check_watch(experiment: Any, attribute: Any, value: Any) -> None:
    hint = "name the column that is to get less"
    require(value is None or experiment.watch is not None, "Experiment patience", "a column to watch", "none", hint)


_field = partial(validator, "Experiment {}")
_FUNCTION = _field("a function", callable)
_FUNCTION_OR_NONE = _field("a function or None", lambda value: value is None or callable(value))
_MAPPING = _field("a mapping by name", lambda value: isinstance(value, Mapping))
_TEXT_OR_NONE = _field("the name of a column or None", lambda value: value is None or isinstance(value, str))
_COUNT = _field("a positive whole number", is_count)
_COUNT_OR_NONE = _field("a positive whole number or None", lambda value: value is None or is_count(value))
_AT_LEAST_0 = _field("a number of at least 0", partial(is_real, low=0))


@attrs.frozen(eq=False)
class Experiment:
    """All that a run depends on: two runs of the same experiment give the same params and rows.

    Attributes:
        begin: ``begin() -> (params, state)`` before the first step.
        step: ``step(params, state, batch) -> (params, state)``, pure. The new state has the tree of the old one;
            ``state.metrics`` are the numbers of the step by name.
        batches: ``batches(epoch)``, the batches of that epoch, from 0: a function of the epoch alone. With a
            :class:`Table` the engine jax compiles an epoch into one program, otherwise a step.
        epochs: The most passes over the batches.
        evaluate: ``evaluate(params) -> {name: number}``, after every epoch.
        watch: The column of the history, such as ``"validation/loss"``, that is least at the best epoch.
        patience: The run ends after so many epochs without a new best.
        tolerance: A new best, for ``patience``, is below the least so far by more than this.
        save: ``save(path, params)`` writes a model; a run saves its latest and its best params.
        describe: ``describe()``, a text to print before a run, such as a table of the model.
        sections: ``sections(params)``, the parts of the report beside curves, config and environment.
        formats: Formats of numbers, by the last part of their names: ``{"accuracy": ".2%"}``.
        data: Arrays by name. A run records their digests and is not resumed with other data.
        summarize: ``summarize(rows of the steps) -> row``, the numbers of the history for an epoch's steps.
        sizes: ``sizes(batch)``, the numbers of samples in the steps of ``batch``, which is one step by default.

    Raises:
        InputError: A field has another type; the message names it.
    """

    begin: Callable[[], tuple[Params, Any]] = attrs.field(validator=_FUNCTION)
    step: Callable[[Params, Any, Any], tuple[Params, Any]] = attrs.field(validator=_FUNCTION)
    batches: Callable[[int], Iterable[Any]] = attrs.field(validator=_FUNCTION)
    epochs: int = attrs.field(validator=_COUNT)
    evaluate: Callable[[Params], Mapping[str, Any]] = attrs.field(default=lambda params: {}, validator=_FUNCTION)
    watch: str | None = attrs.field(default=None, validator=_TEXT_OR_NONE)
    patience: int | None = attrs.field(default=None, validator=[_COUNT_OR_NONE, _check_watch])
    tolerance: float = attrs.field(default=0.0, validator=_AT_LEAST_0)
    save: Callable[[Path, Params], None] | None = attrs.field(default=None, validator=_FUNCTION_OR_NONE)
    describe: Callable[[], str] = attrs.field(default=lambda: "", validator=_FUNCTION)
    sections: Callable[[Params], Iterable[Section]] = attrs.field(default=lambda params: (), validator=_FUNCTION)
    formats: Mapping[str, str] = attrs.field(default=frozendict({}), validator=_MAPPING)
    data: Mapping[str, Any] = attrs.field(default=frozendict({}), validator=_MAPPING)
    summarize: Callable[[Sequence[Row]], Row] = attrs.field(default=means, validator=_FUNCTION)
    sizes: Callable[[Any], Sequence[int]] = attrs.field(default=one_step, validator=_FUNCTION)


def supervised(
    model: fn.Layer,
    loss: fn.Loss,
    optimizer: Any,
    train: fn.Batch,
    *,
    key: fn.Key,
    batch_size: int,
    epochs: int,
    evaluate: Mapping[str, fn.Batch] = frozendict({}),
    metrics: Mapping[str, Any] = frozendict({}),
    penalty: fn.Penalty | None = None,
    watch: str | None = None,
    patience: int | None = None,
    tolerance: float = 0.0,
    formats: Mapping[str, str] = frozendict({}),
    sections: Callable[[Params], Iterable[Section]] = lambda params: (),
    scaling: str | None = None,
    class_names: Sequence[str] = (),
    as_saved: Callable[[Params], Params] = identity,
) -> Experiment:
    """The usual experiment: a model learns targets from inputs, in batches that every epoch shuffles anew.

    A row of a step has the loss, ``metrics``, the learning rate and the norm of the gradient. A row of the history has
    ``train/loss``, ``NAME/loss`` for each batch in ``evaluate``, and ``metrics`` in the same way.

    Args:
        model: The model; its inputs may be a tuple of arrays.
        loss: The loss.
        optimizer: The optimizer.
        train: The samples to learn.
        key: The root of everything random.
        batch_size: Samples in each step; the last batch of an epoch may be smaller.
        epochs: The most passes over the samples.
        evaluate: Samples to evaluate after every epoch, by name.
        metrics: As :func:`funcnn.train_step` takes them.
        penalty: Added to the loss.
        watch: The column to watch; by default ``validation/loss`` if there is one, otherwise ``train/loss``.
        patience: As in :class:`Experiment`, like ``tolerance``, ``formats`` and ``sections``.
        tolerance: See above.
        formats: See above.
        sections: See above.
        scaling: The name of the inputs' scaling, to save with the model.
        class_names: The name of each label, to save with the model.
        as_saved: Maps the params of a run to the params to save.

    Raises:
        InputError: An argument has another type, or a name is taken.
    """
    check_key("supervised", key)
    require(is_count(batch_size), "supervised", "a batch_size that is a positive whole number", repr(batch_size))
    samples = count_rows("supervised", train)
    by_name = isinstance(evaluate, Mapping)
    require(by_name, "supervised evaluate", "batches by name", type(evaluate).__name__, 'such as {"test": data.test}')
    for name, batch in evaluate.items():
        check_name("supervised evaluate", name)
        fits = "/" not in name and name != "train"
        require(fits, "supervised evaluate", "names other than train, without a slash", repr(name))
        count_rows(f"supervised evaluate {name!r}", batch)
    check_metrics("supervised", metrics)
    has_rate = getattr(optimizer, "learning_rate", None) is not None
    recorded = {"learning_rate": fn.learning_rate} if has_rate else {}
    recorded["gradient_norm"] = fn.gradient_norm
    step = fn.train_step(model, loss, optimizer, penalty=penalty, metrics={**metrics, **recorded})
    of_outputs = valfilter(lambda metric: not isinstance(metric, StepMetric), dict(metrics))
    averaged = {*COUNTERS, *of_outputs, "loss", "penalty"}
    in_shape = _in_shape(train.inputs)
    savable = True
    try:
        to_plain(model)
    except InputError:  # a layer holds a function without a spec
        savable = False

    def begin() -> tuple[Params, fn.State]:
        params, _ = model.init(key.at("init"), in_shape)
        return params, step.init(params, key.at("train"))

    def ready(params: Params) -> Params:
        return fn.calibrated(model, params, train.inputs)

    def evaluated(params: Params) -> Row:
        params = ready(params) if evaluate else params
        rows = {name: fn.evaluate(model, loss, params, each, metrics=of_outputs) for name, each in evaluate.items()}
        return {f"{name}/{metric}": value for name, row in rows.items() for metric, value in row.items()}

    def save_model(path: Path, params: Params) -> None:
        save(path, model, as_saved(ready(params)), in_shape, scaling=scaling, class_names=class_names)

    def shown(params: Params) -> Iterator[Section]:
        figure = f'<div class="figure" role="img" aria-label="Architecture">{fn.diagram(model, in_shape)}</div>'
        yield Section("Architecture", figure)
        yield from sections(ready(params))

    def summarize(steps: Sequence[Row]) -> Row:
        row = {**means([keyfilter(averaged.__contains__, step) for step in steps])}
        for name in steps[0]:
            if name not in averaged:
                values = [step[name] for step in steps]
                row[name] = values[-1] if name == "learning_rate" else sum(values) / len(values)
        return row

    return Experiment(
        begin=begin,
        step=step,
        batches=Table(train, lambda epoch: row_tables(key.at("epoch", epoch), samples, batch_size)),
        epochs=epochs,
        evaluate=evaluated,
        watch=watch or ("validation/loss" if "validation" in evaluate else "train/loss"),
        patience=patience,
        tolerance=tolerance,
        save=save_model if savable else None,
        describe=lambda: fn.summary(model, in_shape),
        sections=shown,
        formats=formats,
        data={"train": train, **evaluate},
        summarize=summarize,
    )


def check_name(where: str, name: object) -> None:
    """Raise unless ``name`` can be the name of a column."""
    fits = isinstance(name, str) and name != "" and name.isprintable() and not set(name) & set(',"')
    require(fits, where, "a name without commas, quotes or line breaks", repr(name))


def _in_shape(inputs: Any) -> Shapes:
    return tuple(map(_in_shape, inputs)) if isinstance(inputs, tuple | list) else inputs.shape[1:]
