"""Published results: the table, and runs that are done once."""

import re
import threading
from pathlib import Path

import attrs
import numpy as np
import pytest
from filelock import FileLock
from toolz import assoc_in

from experiments import published
from experiments.entries import ENTRIES, Entry
from experiments.mnist import Config, experiment
from experiments.published import HEAD, cells, main, markdown
from funcnn.errors import InputError
from funcnn.runs import read_run, run
from tests.small_experiments import edited

pytestmark = pytest.mark.usefixtures("without_pictures")

TINY = Config(hidden=(4,), epochs=2, batch_size=1000)
PAGE = Path(__file__).parent.parent / "docs" / "published.md"


@pytest.fixture
def stand_in(monkeypatch):
    """One quick entry in place of all."""
    monkeypatch.setattr(published, "ENTRIES", {"tiny": Entry("what", "who", 12.5, TINY, seeds=2)})


def row_of(out):
    return cells("tiny", published.ENTRIES["tiny"], out / "tiny")


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_every_entry_is_an_experiment(entry):
    planned = experiment(attrs.evolve(entry.config, dataset="mnist_5k"))
    assert entry.config.seed == 0
    assert entry.seeds >= 1
    assert 80 < entry.accuracy < 100
    assert [*planned.data] == ["train", "test"]  # the last epoch counts, so nothing would use a validation


def test_without_a_name_all_are_listed(tmp_path, capsys):
    assert main(["--out", str(tmp_path), "--markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [re.findall("`(.*)`", line)[0] for line in lines[2:]] == [*ENTRIES]
    assert all("| not run | 0 |" in line for line in lines[2:])
    assert main(["--out", str(tmp_path)]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [*ENTRIES]
    assert {line.index("not run") for line in lines} == {head.index("ours")}
    assert max(map(len, lines)) < 100
    assert not any(tmp_path.iterdir())


def test_unknown_names_are_refused_with_the_known_ones(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(["simard", "nobody", "--out", str(tmp_path)])
    assert end.value.code == 2
    message = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert f"expected some of {', '.join(ENTRIES)}, got nobody" in message


@pytest.mark.usefixtures("stand_in")
def test_every_seed_is_run_once_and_the_table_has_mean_and_deviation(tmp_path, capsys):
    def ran(*words):
        """The seeds that the command runs, and the last line of its table."""
        assert main(["tiny", "--out", str(tmp_path), "--markdown", *words]) == 0
        printed, errors = capsys.readouterr()
        assert printed.splitlines()[-3:] == markdown([HEAD, row_of(tmp_path)]).splitlines()
        return re.findall(r"seed (\d): \d", errors)

    assert row_of(tmp_path) == ["tiny", "what", "who", "12.5 %", "not run", "0", "", ""]
    assert ran("--seeds", "1") == ["0"]
    assert "±" not in row_of(tmp_path)[4]
    assert ran() == ["1"]
    runs = [read_run(tmp_path / "tiny" / f"seed={seed}") for seed in range(2)]
    accuracies = [100 * run.history["test/accuracy"][-1] for run in runs]
    seconds = np.mean([sum(run.history["seconds"]) for run in runs])
    expected = f"{np.mean(accuracies):.2f} ± {np.std(accuracies, ddof=1):.2f} %"
    assert row_of(tmp_path)[4:] == [expected, "2", "2", f"{seconds / 60:.1f}"]
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert ran() == []
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == written
    assert ran("--seeds", "3") == ["2"]
    assert read_run(tmp_path / "tiny" / "seed=2").config["seed"] == 2


@pytest.mark.usefixtures("stand_in")
def test_an_interrupted_run_is_resumed(tmp_path):
    def interrupt(progress, first):
        raise KeyboardInterrupt

    stopped, whole = tmp_path / "stopped/tiny/seed=0", tmp_path / "whole/tiny/seed=0"
    assert run(experiment(TINY), stopped, name="mnist", config=TINY, show=interrupt).interrupted
    assert len(read_run(stopped).history["epoch"]) == 1
    for name in ("stopped", "whole"):
        assert main(["tiny", "--seeds", "1", "--out", str(tmp_path / name)]) == 0
    assert read_run(stopped).digest == read_run(whole).digest is not None


@pytest.mark.usefixtures("stand_in")
def test_whoever_is_at_a_run_is_waited_for(tmp_path):
    run_of = tmp_path / "tiny/seed=0"
    run_of.mkdir(parents=True)
    late = threading.Thread(target=main, args=(["tiny", "--seeds", "1", "--out", str(tmp_path)],))
    with FileLock(run_of / ".lock"):
        late.start()
        late.join(timeout=0.5)
        assert late.is_alive()
    late.join(timeout=60)
    assert read_run(run_of).digest is not None


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(("place", "value"), [(["config", "epochs"], 1), (["experiment"], "lenet")], ids=str)
def test_another_run_is_not_counted(tmp_path, capsys, place, value):
    assert main(["tiny", "--seeds", "1", "--out", str(tmp_path)]) == 0
    edited(tmp_path / "tiny/seed=0/config.json", lambda plan: assoc_in(plan, place, value))
    with pytest.raises(InputError, match="seed=0: expected a run with the config of this version"):
        row_of(tmp_path)
    assert main(["tiny", "--out", str(tmp_path)]) == 1
    assert "move it away" in capsys.readouterr().err


def test_a_run_that_fails_ends_the_command(tmp_path, capsys, monkeypatch):
    config = attrs.evolve(TINY, optimizer="sgd", learning_rate=1e38)
    monkeypatch.setattr(published, "ENTRIES", {"tiny": Entry("what", "who", 12.5, config)})
    assert main(["tiny", "--out", str(tmp_path)]) == 1
    assert re.search(r"error: .*tiny/seed=0: .*loss is (nan|inf)", capsys.readouterr().err)
    assert row_of(tmp_path)[4] == "not run"


def test_the_page_shows_this_table():
    shown = re.findall(r"^\| `(.*?)` \| (.*?) \| (.*?) \| (.*?) % \|", PAGE.read_text(), re.MULTILINE)
    assert shown == [(name, entry.what, entry.source, f"{entry.accuracy:g}") for name, entry in ENTRIES.items()]
