"""A folder that was damaged is refused by the name of its file, and stays as it was."""

import json
import shutil

import pytest

from funcnn import InputError
from funcnn.runs import folder as files, read_run
from tests.small_experiments import adversarial, carried_out, recorded, regression

pytestmark = pytest.mark.usefixtures("without_pictures")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, without_pictures):
    """The folder of a run with all its files."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    carried_out(regression(), folder)
    return folder


def longer(folder, **how):
    """Train the run in ``folder`` for an epoch more, for which every file is read."""
    return carried_out(regression(epochs=4), folder, **how)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refused(folder, match):
    """Resuming is refused, and changes nothing."""
    before = contents(folder)
    with pytest.raises(InputError, match=match):
        longer(folder)
    assert contents(folder) == before


JSON = {
    "empty": b"",
    "cut": b'{"experiment": "exp',
    "no text": b"\xff\xfe\x00\x9f",
    "a list": b"[]",
    "a number": b"3",
    "nested too deeply": b"[" * 100_000,
}


@pytest.mark.parametrize("name", ["config.json", "environment.json"])
@pytest.mark.parametrize("damage", JSON)
def test_a_damaged_json_file_is_refused_by_name(folder, name, damage):
    (folder / name).write_bytes(JSON[damage])
    with pytest.raises(InputError, match=rf"{name}: expected .*as this version writes it"):
        read_run(folder)
    refused(folder, rf"{name}: expected .*as this version writes it")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", "three"),
        ("epochs", None),
        ("options", {"engine": "abacus"}),
        ("options", {"threads": 0}),
        ("options", {"colour": 1}),
        ("tolerance", "small"),
        ("config", 3),
        ("config", [1]),
        ("formats", ["loss"]),
        ("formats", {"loss": "{}"}),
        ("colour", "red"),
    ],
)
def test_a_config_with_other_fields_is_refused(folder, field, value):
    plan = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**plan, field: value}))
    refused(folder, r"config\.json.*: expected ")


def test_a_config_without_a_field_is_refused(folder):
    plan = json.loads((folder / "config.json").read_text())
    for name in plan:
        (folder / "config.json").write_text(json.dumps({key: value for key, value in plan.items() if key != name}))
        refused(
            folder, r"run(/config\.json)?: expected (a config with the fields experiment, version, |the run that was)"
        )


@pytest.mark.parametrize("change", [{"resumed": 3}, {"jax": "cpu"}, {"data": ["train"]}])
def test_an_environment_of_another_kind_is_refused(folder, change):
    recorded = files.read_environment(folder)
    (folder / "environment.json").write_text(json.dumps({**recorded, **change}))
    refused(folder, rf"environment\.json {next(iter(change))}: expected a .*, as this version writes it")


def test_a_folder_without_a_config_is_no_run(folder):
    (folder / "config.json").unlink()
    with pytest.raises(InputError, match=r"expected the folder of a run, got no config\.json in it"):
        read_run(folder)
    with pytest.raises(InputError, match=r"expected the folder of a run, got no config\.json in it"):
        longer(folder, mode="resume")
    refused(folder, "^--out: expected a folder that is new or empty, got .*; name another one, or resume this one")


def line(number, change):
    """A change of one line, of which 0 has the names."""

    def changed(text):
        lines = text.splitlines(keepends=True)
        lines[number] = change(lines[number])
        return "".join(lines)

    return changed


ROWS = {
    "no counter": line(0, lambda names: names.replace("step", "stop").replace("epoch", "epic")),
    "the same name twice": line(0, lambda names: names.replace("gradient_norm", "learning_rate")),
    "no number": line(1, lambda row: row.replace("0.", "zero.", 1)),
    "a number more": line(1, lambda row: f"1,{row}"),
    "a number less": line(1, lambda row: row.partition(",")[2]),
    "an empty number": line(1, lambda row: "," + row.partition(",")[2]),
    "a quote": line(1, lambda row: '"' + row),
    "an empty line": line(1, lambda row: "\r\n" + row),
    "a row twice": line(2, lambda row: row + row),
    "a row missing": line(2, lambda row: ""),
    "the first row missing": line(1, lambda row: ""),
    "the names missing": line(0, lambda row: ""),
    "a zero byte": line(1, lambda row: "\0" + row),
}


@pytest.mark.parametrize("name", ["steps.csv", "history.csv"])
@pytest.mark.parametrize("damage", ROWS)
def test_damaged_rows_are_refused_by_name(folder, name, damage):
    text = (folder / name).read_bytes().decode()
    (folder / name).write_bytes(ROWS[damage](text).encode())
    refused(folder, rf"{name}: expected rows as this version writes them, got .*Error.* in row \d+; undo what was")


@pytest.mark.parametrize("name", ["steps.csv", "history.csv"])
def test_rows_that_are_no_text_are_refused(folder, name):
    (folder / name).write_bytes(b"\xff" + (folder / name).read_bytes())
    refused(folder, rf"{name}: expected rows as this version writes them, got UnicodeDecodeError")


@pytest.mark.parametrize("name", ["steps.csv", "history.csv"])
@pytest.mark.parametrize("kept", [0, 2, -1])
def test_rows_that_are_missing_at_the_end_are_noticed(folder, name, kept):
    lines = (folder / name).read_text().splitlines(keepends=True)
    (folder / name).write_text("".join(lines[:kept]))
    refused(folder, "expected the rows of 15 steps and 3 epochs, as the checkpoint, got ")
    (folder / name).unlink()
    refused(folder, "expected the rows of 15 steps and 3 epochs, as the checkpoint, got ")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"", "a whole safetensors file"),
        (lambda data: data[: len(data) // 2], "a whole safetensors file"),
        (lambda data: data[:-1], "a whole safetensors file"),
        (lambda data: b"\xff" * 40, "a whole safetensors file"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "the bytes that were saved"),
        (lambda data: data.replace(b'\\"steps\\": 15', b'\\"steps\\": 14'), "the bytes that were saved"),
    ],
)
def test_a_damaged_checkpoint_is_refused_by_name(folder, damage, message):
    path = folder / "checkpoint.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    refused(folder, rf"checkpoint\.safetensors: expected {message}, got .*; the file is damaged")


def test_a_checkpoint_of_another_experiment_is_refused(folder, tmp_path):
    recorded(tmp_path / "other", adversarial())
    shutil.copy(tmp_path / "other" / "checkpoint.safetensors", folder)
    refused(folder, r"checkpoint\.safetensors: expected the arrays of its architecture, got .*0.weights is missing")


@pytest.mark.parametrize("damage", [b"", b"abc", b"\xff" * 64, b"g" * 64, b"a" * 63])
def test_a_damaged_digest_is_refused_by_name(folder, damage):
    (folder / "digest.txt").write_bytes(damage)
    refused(folder, r"digest\.txt: expected a SHA-256, got ")
    with pytest.raises(InputError, match=r"digest\.txt: expected a SHA-256, got "):
        read_run(folder)
