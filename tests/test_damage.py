"""A folder that was damaged is refused by the name of its file, and stays as it was."""

import json
import shutil

import pytest
from toolz import assoc, dissoc

from funcnn import InputError, Key
from funcnn.runs import read_run
from tests.resigned import resigned
from tests.small_experiments import adversarial, carried_out, contents, edited, recorded, regression

pytestmark = pytest.mark.usefixtures("without_pictures")

OBJECTS, TABLES, SAVED = ("config.json", "environment.json"), ("steps.csv", "history.csv"), "checkpoint.safetensors"


@pytest.fixture(scope="module")
def whole(tmp_path_factory, without_pictures):
    """The folder of a run with all its files."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    carried_out(regression(), folder)
    return folder


def refused(folder, match, resumed=lambda folder: carried_out(regression(epochs=4), folder)):
    """Training for an epoch more, for which every file is read, is refused and changes nothing."""
    before = contents(folder)
    with pytest.raises(InputError, match=match):
        resumed(folder)
    assert contents(folder) == before


def line(number, change):
    """A change of one line, of which 0 has the names."""

    def changed(content):
        lines = content.decode().splitlines(keepends=True)
        lines[number] = change(lines[number])
        return "".join(lines).encode()

    return changed


def instead(content):
    """A change to other content, whatever it was."""
    return lambda _: content


def up_to(count):
    """A change that leaves the first lines of a file only."""
    return lambda content: b"".join(content.splitlines(keepends=True)[:count])


JSON = map(instead, (b"", b'{"experiment": "exp', b"\xff\xfe\x00\x9f", b"[]", b"3", b"[" * 100_000))
ROWS = (
    line(0, lambda names: names.replace("step", "stop").replace("epoch", "epic")),
    line(0, lambda names: names.replace("gradient_norm", "learning_rate")),  # the same name twice
    line(1, lambda row: row.replace("0.", "zero.", 1)),
    line(1, lambda row: f"1,{row}"),
    line(1, lambda row: row.partition(",")[2]),
    line(1, lambda row: "," + row.partition(",")[2]),
    line(1, lambda row: '"' + row),
    line(1, lambda row: "\r\n" + row),
    line(2, lambda row: row + row),
    *(line(number, lambda row: "") for number in (0, 1, 2)),
    line(1, lambda row: "\0" + row),
    line(-1, lambda row: row + row),
    line(-1, lambda row: row.replace(",", ".0,", 1)),
    line(-1, lambda row: "9" + row),
    line(1, lambda row: row.replace("1,", "1,-", 1)),
    line(1, lambda row: row.replace("1,", f"1,{2**64}", 1)),
    line(0, lambda names: names.replace("loss", "\x1b[31mloss")),
)
CUT = (instead(b""), lambda data: data[: len(data) // 2], lambda data: data[:-1], instead(b"\xff" * 40))
CHANGED = lambda data: data[:-1] + bytes([data[-1] ^ 1]), lambda data: data.replace(b'steps\\": 15', b'steps\\": 14')
DIGESTS = map(instead, (b"", b"abc", b"\xff" * 64, b"g" * 64, b"a" * 63))
LOST = "run: expected the rows of 15 steps and 3 epochs, as the checkpoint, got "
FAULTS = [
    *((name, change, f"{name}: expected .*as this version writes it") for change in JSON for name in OBJECTS),
    *((name, change, f"{name}: expected rows as .*Error.* in row \\d+; undo") for change in ROWS for name in TABLES),
    *((name, lambda text: b"\xff" + text, f"{name}: expected rows as .*, got UnicodeDecodeError") for name in TABLES),
    *((name, up_to(count), LOST) for count in (0, 2, -1) for name in TABLES),
    *((SAVED, change, f"{SAVED}: expected a whole safetensors file, got .*; the file is damaged") for change in CUT),
    *((SAVED, change, f"{SAVED}: expected the bytes that were saved, got") for change in CHANGED),
    *(("digest.txt", change, "digest.txt: expected a SHA-256, got ") for change in DIGESTS),
]


@pytest.mark.parametrize(("name", "change", "match"), FAULTS)
def test_a_damaged_file_is_refused_by_name(folder, name, change, match):
    (folder / name).write_bytes(change((folder / name).read_bytes()))
    refused(folder, match)
    if name.endswith(("json", "txt")):
        with pytest.raises(InputError, match=match):
            read_run(folder)


@pytest.mark.parametrize("name", [*OBJECTS, *TABLES, "digest.txt"])
def test_a_folder_in_place_of_a_file_is_refused_by_name(folder, name):
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(InputError, match=f"{name}: expected a file that can be read, got Is a directory"):
        read_run(folder)


@pytest.mark.parametrize("name", TABLES)
def test_a_missing_table_is_noticed(folder, name):
    (folder / name).unlink()
    refused(folder, LOST)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("epochs", value) for value in ("three", "3", None, True)),
        *(("options", value) for value in ({"engine": "abacus"}, {"threads": 0}, {"colour": 1})),
        *[("tolerance", "small"), ("config", 3), ("config", [1]), ("formats", ["loss"]), ("formats", {"loss": "{}"})],
        *[("colour", "red"), ("experiment", 5), ("version", "0"), ("version", 0.0), ("watch", 5)],
        ("step", {"model": 5}),
    ],
)
def test_a_config_with_other_fields_is_refused(folder, field, value):
    edited(folder / "config.json", lambda plan: assoc(plan, field, value))
    refused(folder, r"config\.json.*: expected ")


def test_a_config_without_a_field_is_refused(folder):
    plan = json.loads((folder / "config.json").read_text())
    for name in plan:
        fields = rf"an object with the fields experiment, version, .*required field missing @ \$\.{name}"
        (folder / "config.json").write_text(json.dumps(dissoc(plan, name)))
        refused(folder, f"run(/config.json)?: expected ({fields}|the run that was)")


NO_ENVIRONMENT = [
    *[("resumed", 3), ("resumed", [3]), ("resumed", [[[[]]]]), ("jax", "cpu"), ("jax", {"devices": "two"})],
    *[("data", ["train"]), ("data", {"train": 5}), ("python", 5), ("libraries", None), ("blas", 3), ("git", [])],
]


@pytest.mark.parametrize(("field", "value"), NO_ENVIRONMENT)
def test_an_environment_of_another_kind_is_refused(folder, field, value):
    edited(folder / "environment.json", lambda recorded: assoc(recorded, field, value))
    refused(folder, rf"environment\.json: expected an object with .*, as this version writes it, got .* @ \$\.{field}")


def test_a_checkpoint_of_another_experiment_is_refused(folder, tmp_path):
    recorded(tmp_path / "other", adversarial())
    shutil.copy(tmp_path / "other" / "checkpoint.safetensors", folder)
    refused(folder, r"checkpoint\.safetensors: expected the arrays of its architecture, got .*0.weights is missing")


@pytest.fixture(scope="module")
def runs(tmp_path_factory, without_pictures):
    """The folders of runs whose states have the same shapes: of a seed, of another one, of another batch size."""
    path = tmp_path_factory.mktemp("runs")
    for name, seed, size in (("one", 0, 5), ("seed", 1, 5), ("size", 0, 6)):
        begun(path / name, seed, size)
    return path


def begun(folder, seed, size, epochs=2):
    experiment = regression(epochs=epochs, key=Key(seed), batch_size=size)
    return carried_out(experiment, folder, config={"seed": seed, "batch_size": size, "epochs": epochs})


ANOTHER = r"checkpoint\.safetensors: expected a checkpoint of this config and key, got that of another run"


@pytest.mark.parametrize("other", ["seed", "size"])
def test_a_checkpoint_of_another_run_is_refused(runs, tmp_path, other):
    folder = shutil.copytree(runs / "one", tmp_path / "run")
    for name in (SAVED, *TABLES):
        shutil.copy(runs / other / name, folder)
    refused(folder, ANOTHER, lambda folder: begun(folder, 0, 5, epochs=3))


@pytest.mark.parametrize(("seed", "size"), [(1, 5), (0, 6)])
def test_a_run_whose_config_was_edited_is_refused(runs, tmp_path, seed, size):
    folder = shutil.copytree(runs / "one", tmp_path / "run")
    edited(folder / "config.json", lambda plan: {**plan, "config": {"seed": seed, "batch_size": size, "epochs": 2}})
    refused(folder, ANOTHER, lambda folder: begun(folder, seed, size, epochs=3))


def test_a_checkpoint_of_another_key_is_refused_where_no_config_tells(tmp_path):
    for name, seed in (("one", 0), ("other", 1)):
        carried_out(regression(key=Key(seed)), tmp_path / name)
    shutil.copy(tmp_path / "other" / SAVED, tmp_path / "one")
    with pytest.raises(InputError, match=ANOTHER):
        carried_out(regression(epochs=4, key=Key(0)), tmp_path / "one")


def test_what_may_change_on_resume_is_not_compared(runs, tmp_path):
    folder = shutil.copytree(runs / "one", tmp_path / "run")
    assert begun(folder, 0, 5, epochs=3).progress.step == 15


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda leaves: dissoc(leaves, "run"), r"expected the leaves \['epochs', 'run', 'state"),
        (lambda leaves: assoc(leaves, "state.step", "x"), "state.step: expected a leaf that is int, got 'x'"),
        (lambda leaves: assoc(leaves, "state.step", 1.5), "state.step: expected a leaf that is int, got 1.5"),
        (lambda leaves: assoc(leaves, "state.step", True), "state.step: expected a leaf that is int, got True"),
        (lambda leaves: assoc(leaves, "steps", -1), "steps: expected a whole number of at least 0, got -1"),
        (lambda leaves: assoc(leaves, "epochs", 10), "the rows of 15 steps and 10 epochs"),
        (lambda leaves: assoc(leaves, "steps", 14), "the rows of 14 steps and 3 epochs"),
        (lambda leaves: assoc(leaves, "state.key", 5), "state.key: expected the seed and the path of a key, got 5"),
        (lambda leaves: assoc(leaves, "state.key", {"seed": 0, "path": [], "a": 1}), "the seed and the path of a key"),
        (lambda leaves: assoc(leaves, "state.key", {"seed": 0, "path": "ab"}), "the seed and the path of a key"),
        (lambda leaves: assoc(leaves, "state.key", {"seed": -1, "path": []}), "Key: expected a seed that is"),
        (lambda leaves: [], "header leaves: expected leaves by path"),
    ],
)
def test_a_checkpoint_that_was_changed_and_signed_is_refused(folder, change, match):
    resigned(folder / SAVED, lambda header: {"leaves": change(header["leaves"])})
    refused(folder, match)
