"""Other ways to show an epoch than a table."""

from collections.abc import Mapping

from funcnn.runs import Progress


def nnfs(progress: Progress, first: bool) -> str:
    """As *Neural Networks from Scratch* prints: every hundredth step, the means of the epoch, and the validation."""
    del first  # every epoch looks alike
    row, steps = progress.history[-1], progress.steps_after(0)
    shown = [*range(0, len(steps) - 1, 100), len(steps) - 1]
    watched = "validation" if "validation/loss" in row else "test"  # the book validates on the test samples
    return "\n".join(
        [
            f"epoch: {row['epoch']}",
            *(f"step: {i}, {_numbers(steps[i])}, lr: {steps[i]['learning_rate']}" for i in shown),
            f"training, {_numbers(row, 'train/')}, lr: {row['learning_rate']}",
            f"validation, {_numbers(row, f'{watched}/')}",
        ]
    )


def _numbers(row: Mapping[str, float], group: str = "") -> str:
    return f"acc: {row[f'{group}accuracy']:.3f}, loss: {row[f'{group}loss']:.3f}"
