"""Train a multilayer perceptron on MNIST, Fashion-MNIST or images of one's own; its folder is that of ``folder.py``."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import attrs
import tyro

import funcnn as fn
from experiments import folder as files
from experiments.command import run_command
from experiments.config import Config, load_data
from experiments.devices import ALONE, Devices
from experiments.job import begin, carry_out, prepare, take_part
from experiments.printers import PRINTERS
from experiments.run import Outcome, Progress, best_epoch
from funcnn.errors import require


@attrs.frozen
class Command:
    """Train a multilayer perceptron on MNIST, Fashion-MNIST or images of your own, and save what it learned.

    Attributes:
        config: What the run depends on.
        out: The folder of the run, new or empty, instead of runs/DATASET-DATE-TIME.
        resume: The folder of a run to go on with, after its latest checkpoint; its config is the run's own.
        printer: How the run shows itself: as a table, or as Neural Networks from Scratch prints.
        devices: What the engine jax runs on.
    """

    config: tyro.conf.OmitArgPrefixes[Config] = attrs.field(factory=Config)
    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    resume: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    printer: Literal["table", "nnfs"] = "table"
    devices: tyro.conf.OmitArgPrefixes[Devices] = ALONE

    def __attrs_post_init__(self) -> None:
        fits = self.resume is None or (self.out is None and self.config == Config())
        hint = "the config is that of the run"
        require(fits, "--resume", "no other options than --printer and those of the devices", "some", hint)


def train(command: Command) -> int:
    """Begin a run or go on with one, show it and save it; gives the exit status."""
    config = command.config if command.resume is None else files.read_config(command.resume)
    if command.resume is not None and files.is_complete(command.resume, config):
        if command.devices.leads:
            print(f"nothing to do: the run in {command.resume} is finished")
        return 0
    data = load_data(config)
    job = prepare(config, data, command.devices)
    if not command.devices.leads:
        outcome = take_part(command.resume, job)
        return 130 if outcome.interrupted else int(outcome.failure is not None)
    print(fn.summary(job.planned.model, data.train.inputs.shape[1:]), end="\n\n")
    folder = command.resume or files.create(command.out, config.dataset)
    printer = PRINTERS[command.printer]
    with files.locked(folder):
        if command.resume is None:
            begin(folder, config)
        outcome = carry_out(folder, job, lambda progress: print(printer(progress), flush=True))
    _report(folder, data, outcome.progress)
    return _status(outcome)


def _report(folder: Path, data: fn.Dataset, progress: Progress) -> None:
    """Load what was saved, and show that nothing was lost."""

    def accuracy(name: str) -> float:
        saved = fn.load(folder / name)
        return fn.evaluate(saved.model, fn.softmax_cross_entropy(), saved.params, data.test)["accuracy"]

    last = progress.history[-1].test_accuracy if progress.history else float("nan")
    print(f"\ntest accuracy {last:.2%}; saved and loaded again {accuracy('model.safetensors'):.2%}")
    if progress.history:
        best = best_epoch(progress.history)
        print(f"the best epoch by its loss, {best}, has {accuracy('best.safetensors'):.2%}")
    print(f"\nall files are in {folder}; open report.html")


def _status(outcome: Outcome) -> int:
    if outcome.failure:
        print(f"error: {outcome.failure}; the last good model is saved; try a smaller --learning-rate", file=sys.stderr)
        return 1
    if outcome.interrupted:
        print("interrupted: what was learned is saved; --resume goes on", file=sys.stderr)
        return 130
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: 0 for a finished run, 1 for a failed one, 2 for bad arguments, 130 for Ctrl-C."""
    return run_command("mnist", Command, train, arguments)


if __name__ == "__main__":
    sys.exit(main())
