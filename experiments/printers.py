"""How a run shows itself: as a table, or as *Neural Networks from Scratch in Python* prints."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from experiments.run import Progress, Row, Step

Printer = Callable[[Progress], str]
"""The text for the latest epoch."""


def table(progress: Progress) -> str:
    """One line an epoch; the first has the heading above it."""
    row = progress.history[-1]
    parts = [(row.training_loss, row.training_accuracy), (row.test_loss, row.test_accuracy)]
    names = ["training", "test"]
    if row.validation_loss is not None and row.validation_accuracy is not None:
        parts.insert(1, (row.validation_loss, row.validation_accuracy))
        names.insert(1, "validation")
    numbers = " ".join(f"{loss:>9.4f}{accuracy:>9.2%}" for loss, accuracy in parts)
    line = f"{row.epoch:>5} {numbers} {row.learning_rate:>10.3g} {row.gradient_norm:>9.3g} {row.seconds:>8.2f}"
    if row.epoch > 1:
        return line
    titles = f"{'':>5} {' '.join(f'{name:>18}' for name in names)} {'learning':>10} {'gradient':>9}"
    columns = " ".join([f"{'loss':>9}{'accuracy':>9}"] * len(parts))
    return f"{titles}\n{'epoch':>5} {columns} {'rate':>10} {'norm':>9} {'seconds':>8}\n{line}"


def nnfs(progress: Progress) -> str:
    """The lines of the book: every hundredth step of the epoch, its means, and the validation."""
    row = progress.history[-1]
    lines = [f"epoch: {row.epoch}"]
    shown = (i for i in range(len(progress.steps)) if i % 100 == 0 or i == len(progress.steps) - 1)
    lines += [_nnfs_step(i, progress.steps[i]) for i in shown]
    lines.append(_nnfs_line("training", row.training_accuracy, row.training_loss, row))
    loss, accuracy = row.validation_loss, row.validation_accuracy
    if loss is None or accuracy is None:
        loss, accuracy = row.test_loss, row.test_accuracy  # the book validates on the test samples
    lines.append(f"validation, acc: {accuracy:.3f}, loss: {loss:.3f}")
    return "\n".join(lines)


PRINTERS: Mapping[str, Printer] = MappingProxyType({"table": table, "nnfs": nnfs})


def _nnfs_step(number: int, step: Step) -> str:
    return f"step: {number}, acc: {step.accuracy:.3f}, loss: {step.loss:.3f}, lr: {step.learning_rate}"


def _nnfs_line(name: str, accuracy: float, loss: float, row: Row) -> str:
    return f"{name}, acc: {accuracy:.3f}, loss: {loss:.3f}, lr: {row.learning_rate}"
