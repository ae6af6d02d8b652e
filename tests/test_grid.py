"""A grid: every combination of the values of options, each read as on the command line, with every seed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import attrs
import pytest

from experiments import mnist
from funcnn import InputError
from funcnn.runs import main
from funcnn.runs.sweep import configs


@attrs.frozen
class Config:
    """Fields of every type."""

    widths: tuple[int, ...] = (4,)
    names: list[str] = attrs.field(factory=list)
    shape: tuple[int, int] | None = None
    rates: Sequence[float] = (0.1,)
    place: Path | None = None
    kind: Literal["sgd", "adam"] = "sgd"
    clip: float | None = None
    nesterov: bool = False
    seed: int = 0


@pytest.mark.parametrize(
    ("words", "values", "names"),
    [
        ("widths 8,16 32", [(8, 16), (32,)], ["8-16", "32"]),
        ("names a,b c", [["a", "b"], ["c"]], ["a-b", "c"]),
        ("shape None 3,4", [None, (3, 4)], ["None", "3-4"]),
        ("rates 1e-3,0.1 -1", [[0.001, 0.1], [-1.0]], ["0.001-0.1", "-1.0"]),
        ("place data/a b", [Path("data/a"), Path("b")], ["data_a", "b"]),
        ("kind adam sgd", ["adam", "sgd"], ["adam", "sgd"]),
        ("clip None 1e-3", [None, 0.001], ["None", "0.001"]),
        ("nesterov True False", [True, False], ["True", "False"]),
    ],
)
def test_a_value_is_read_by_the_type_of_its_field(words, values, names):
    name, *_ = option = tuple(words.split())
    found = configs(Config(), [option], [0], "wave.py")
    assert [getattr(config, name) for config in found.values()] == values
    assert [*found] == [f"{name}={text},seed=0" for text in names]


def test_no_numbers_are_a_value_too():
    found = configs(Config(), [("widths", "", "8")], [0], "wave.py")
    assert [config.widths for config in found.values()] == [(), (8,)]
    assert [*found] == ["widths=none,seed=0", "widths=8,seed=0"]


def test_every_combination_is_there_with_every_seed():
    found = configs(Config(), [("clip", "1", "2"), ("kind", "sgd", "adam")], [0, 1, 2], "wave.py")
    assert len(found) == len({str(config) for config in found.values()}) == 12


def test_a_name_does_not_depend_on_the_order_of_options():
    one, two = (
        configs(Config(), options, [0], "wave.py")
        for options in ([("clip", "1"), ("kind", "adam")], [("kind", "adam"), ("clip", "1")])
    )
    assert one == two


def test_what_does_not_vary_is_as_told():
    (config,) = configs(Config(kind="adam", nesterov=True), [("clip", "1")], [0], "wave.py").values()
    assert config == Config(kind="adam", nesterov=True, clip=1.0)


def test_a_seed_without_a_default_is_that_of_the_sweep():
    config = attrs.make_class("Config", {"seed": attrs.field(type=int)})
    assert [each.seed for each in configs(config(5), [], [0, 1], "wave.py").values()] == [0, 1]


def test_a_config_without_a_seed_is_refused():
    config = attrs.make_class("Config", {"width": attrs.field(default=4, type=int)})
    with pytest.raises(InputError, match="--seeds: expected a config with a seed, got the fields width"):
        configs(config(), [], [0], "wave.py")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--vary colour red", "--vary: expected one of dataset, "),
        ("--vary seed 1 2", "--vary: expected one of dataset, "),
        ("--vary threads 1 2", "--vary: expected one of dataset, "),
        ("--vary hidden", "--vary: expected an option and its values, got hidden"),
        ("--vary l2 0 --vary l2 1", "--vary: expected every option once, got l2 l2"),
        ("--vary l2 0 0.0", "--vary and --seeds: expected values that differ"),
        ("--seeds 1 1", "--vary and --seeds: expected values that differ"),
        ("--vary hidden 32 8,0", "--hidden: expected positive whole numbers, got [8, 0]"),
        ("--vary learning_rate 0.1 fast", "--learning-rate: could not convert string to float: 'fast'"),
        ("--vary learning_rate 0.1,0.2", "--learning-rate: could not convert string to float: '0.1,0.2'"),
        ("--vary optimizer adam sdg", "invalid choice 'sdg' for argument '--optimizer'"),
        ("--vary optimizer sgd adam --vary momentum 0.9", "--momentum: expected 0 for adam"),
        ("--seed 3", "--seed: expected --seeds, which names all of them, got 3"),
        ("--seeds", "--seeds: expected at least one, got none"),
        ("--workers 0", "--workers: expected a positive whole number, got 0"),
        ("--workers 2 --scheduler tcp://127.0.0.1:8786", "--workers: expected none with --scheduler"),
        ("--scheduler 127.0.0.1", "missing port number in address '127.0.0.1'"),
    ],
)
def test_bad_arguments_end_with_2_before_anything_runs(tmp_path, capsys, words, message):
    try:
        status = main(mnist.experiment, mnist.Config, arguments=["sweep", *words.split(), "--out", f"{tmp_path}/out"])
    except SystemExit as end:
        status = end.code
    assert status == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not (tmp_path / "out").exists()
