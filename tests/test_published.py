"""Published results: the table, and runs that are done once."""

import re
import threading
from pathlib import Path

import attrs
import numpy as np
import pytest
from filelock import FileLock

import funcnn as fn
from experiments import folder as files
from experiments import published
from experiments.config import Config, experiment, load_data
from experiments.entries import ENTRIES, Entry
from experiments.job import begin, carry_out, prepare
from experiments.published import main, repeat, table
from experiments.run import Row, has_ended, run
from funcnn.errors import InputError

TINY = Config(hidden=(4,), epochs=2, batch_size=1000)
README = Path(__file__).parent.parent / "README.md"


@pytest.fixture
def stand_in(monkeypatch):
    """One quick entry in place of all."""
    monkeypatch.setattr(published, "ENTRIES", {"tiny": Entry("what", "who", 12.5, TINY, seeds=2)})


def row_of(out):
    return [cell.strip() for cell in table(published.ENTRIES, out).splitlines()[2].split("|")[1:-1]]


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_every_entry_is_an_experiment(entry):
    planned = experiment(entry.config, fn.load_dataset("mnist_5k"))
    assert entry.config.seed == 0
    assert entry.seeds >= 1
    assert 80 < entry.accuracy < 100
    assert planned.validation is None  # the last epoch counts, so nothing would use it


def test_without_a_name_all_are_listed(tmp_path, capsys):
    assert main(["--out", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [re.findall("`(.*)`", line)[0] for line in lines[2:]] == [*ENTRIES]
    assert all("| not run | 0 |" in line for line in lines[2:])
    assert not any(tmp_path.iterdir())


def test_unknown_names_are_refused_with_the_known_ones(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(["simard", "nobody", "--out", str(tmp_path)])
    assert end.value.code == 2
    message = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert f"expected some of {', '.join(ENTRIES)}, got nobody" in message


def test_every_seed_is_run_once(tmp_path):
    assert len([*repeat(TINY, tmp_path, 2)]) == 2
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert [*repeat(TINY, tmp_path, 2)] == []
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == written
    assert len([*repeat(TINY, tmp_path, 3)]) == 1
    assert [files.read_config(tmp_path / f"seed={seed}").seed for seed in range(3)] == [0, 1, 2]


def test_an_interrupted_run_goes_on(tmp_path):
    def interrupt(progress):
        raise KeyboardInterrupt

    folder, data = tmp_path / "a" / "seed=0", load_data(TINY)
    folder.mkdir(parents=True)
    begin(folder, TINY)
    assert carry_out(folder, prepare(TINY, data), interrupt).interrupted
    assert len(files.read_history(folder)) == 1
    (whole,) = repeat(TINY, tmp_path / "b", 1)
    (resumed,) = repeat(TINY, tmp_path / "a", 1)
    assert files.digest(resumed.progress) == files.digest(whole.progress)


def test_whoever_is_at_a_run_is_waited_for(tmp_path):
    folder, outcomes = tmp_path / "seed=0", []
    folder.mkdir()
    late = threading.Thread(target=lambda: outcomes.extend(repeat(TINY, tmp_path, 1)))
    with FileLock(folder / ".lock"):
        late.start()
        late.join(timeout=0.5)
        assert late.is_alive()
    late.join(timeout=60)
    assert len(outcomes) == 1


@pytest.mark.usefixtures("stand_in")
def test_the_table_has_mean_and_deviation(tmp_path, capsys):
    assert row_of(tmp_path) == ["`tiny`", "what", "who", "12.5 %", "not run", "0", "", ""]
    assert main(["tiny", "--seeds", "1", "--out", str(tmp_path)]) == 0
    assert "±" not in row_of(tmp_path)[4]
    assert main(["tiny", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[-3:] == table(published.ENTRIES, tmp_path).splitlines()
    histories = [files.read_history(tmp_path / "tiny" / f"seed={seed}") for seed in range(2)]
    accuracies = [100 * history[-1].test_accuracy for history in histories]
    seconds = np.mean([sum(row.seconds for row in history) for history in histories])
    expected = f"{np.mean(accuracies):.2f} ± {np.std(accuracies, ddof=1):.2f} %"
    assert row_of(tmp_path)[4:] == [expected, "2", "2", f"{seconds / 60:.1f}"]


@pytest.mark.usefixtures("stand_in")
def test_a_run_of_another_config_is_not_counted(tmp_path, capsys):
    assert main(["tiny", "--seeds", "1", "--out", str(tmp_path)]) == 0
    files.write_json(tmp_path / "tiny" / "seed=0" / "config.json", attrs.evolve(TINY, epochs=1))
    with pytest.raises(InputError, match="seed=0: expected a run with the config of this version"):
        table(published.ENTRIES, tmp_path)
    assert main(["tiny", "--out", str(tmp_path)]) == 1
    assert "move it away" in capsys.readouterr().err


def test_a_run_that_fails_ends_the_command(tmp_path, capsys, monkeypatch):
    config = attrs.evolve(TINY, optimizer="sgd", learning_rate=1e38)
    monkeypatch.setattr(published, "ENTRIES", {"tiny": Entry("what", "who", 12.5, config)})
    assert main(["tiny", "--out", str(tmp_path)]) == 1
    assert "error: tiny: the" in capsys.readouterr().err
    assert row_of(tmp_path)[4] == "not run"


def rows(*losses):
    return tuple(Row(epoch, loss, 0.5, None, None, 1.0, 0.5, 0.1, 1.0, 0.1) for epoch, loss in enumerate(losses, 1))


def test_patience_counts_from_the_latest_gain_above_the_tolerance():
    history = rows(1.0, 0.5, 0.45, 0.41)
    assert has_ended(Config(epochs=9, patience=2, tolerance=0.1), history)
    assert not has_ended(Config(epochs=9, patience=2, tolerance=0.01), history)
    assert not has_ended(Config(epochs=9, patience=3, tolerance=0.1), history)
    assert not has_ended(Config(epochs=9, patience=2, tolerance=0.1), rows(1.0, 0.5, 0.45, 0.3))
    assert not has_ended(Config(epochs=9, patience=1, tolerance=0.1), ())
    assert has_ended(Config(epochs=4), history)


def test_a_cosine_ends_at_0_with_the_last_epoch():
    config = attrs.evolve(TINY, schedule="cosine", learning_rate=0.1)
    history = run(experiment(config, load_data(config)), lambda progress: None).progress.history
    assert history[0].learning_rate == pytest.approx(0.1 * (1 + np.cos(np.pi * 3 / 8)) / 2)
    assert history[-1].learning_rate == pytest.approx(0.1 * (1 + np.cos(np.pi * 7 / 8)) / 2)


def test_the_readme_shows_this_table():
    shown = re.findall(r"^\| `(.*?)` \| (.*?) \| (.*?) \| (.*?) % \|", README.read_text(), re.MULTILINE)
    assert shown == [(name, entry.what, entry.source, f"{entry.accuracy:g}") for name, entry in ENTRIES.items()]
