"""Draws a run's log as a picture: losses and IoU over steps."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from sam_perception.atomic_files import write_atomically

_LOSSES = {"loss": "all", "prompts": "prompts", "side": "side targets"}
_IOUS = {"iou_click": "1 click", "iou_box": "box", "iou_last": "after the last correction"}
_SMOOTHING = 8  # logged rows a mean goes over


def draw_curves(log: Path, out: Path) -> None:
    """Read a log of ``loop.train`` and write a PNG beside it.

    Raises:
        OSError: the log cannot be read, or the picture cannot be written.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with log.open(newline="") as file:
        rows = list(csv.DictReader(file))
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for axes, columns, title in ((left, _LOSSES, "loss"), (right, _IOUS, "IoU on augmented training views")):
        for column, label in columns.items():
            points = [(int(row["step"]), float(row[column])) for row in rows if row[column]]
            if points:
                steps, values = zip(*points, strict=True)
                axes.plot(steps, _smooth(values), label=label)
        axes.set_xlabel("step")
        axes.set_title(title)
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    left.set_yscale("log")
    right.set_ylim(0, 1)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110, metadata={"Software": None})
    pyplot.close(figure)
    write_atomically(out, picture.getvalue())


def _smooth(values: tuple[float, ...]) -> list[float]:
    """Means over the last rows."""
    return [sum(part) / len(part) for i in range(len(values)) for part in (values[max(0, i + 1 - _SMOOTHING) : i + 1],)]
