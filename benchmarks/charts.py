"""The charts of a run, as PNG on white: readable on a light page and on a dark one."""

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter
from PIL import Image

from benchmarks.report.measured import OURS, Measured, Scaled, is_floor
from benchmarks.report.text import number

_OURS, _RIVAL, _UNSAFE, _FLOOR = "#c2410c", "#64748b", "#cbd5e1", "#0f766e"
_LINES = ("#c2410c", "#0f766e", "#1d4ed8", "#a16207")
_INK, _GRID = "#1f2937", "#e5e7eb"
_DPI = 100
_COLOURS = 64
_STYLE = {
    "font.size": 9.5,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": "#9ca3af",
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}
_ENQUEUE = {
    "enqueue_one_per_s": "one by one",
    "enqueue_gathered_per_s": "gathered 100",
    "enqueue_bulk_per_s": "bulk of 1 000",
}
_DRAIN = "No-ops drained a second by one worker process"
_REDIS_CPU = "Redis CPU µs per job, enqueue + drain, less is better"
_MEMORY = "Redis memory, bytes per queued job of 100 bytes, less is better"


def draw(measured: Measured, scaled: Scaled | None, folder: Path) -> list[Path]:
    """Draw what was measured into `folder/bench-*.png`; returns the files. What was not measured is left out."""
    drawings: dict[str, Callable[[], Figure | None]] = {
        "bench-enqueue": lambda: _enqueue(measured),
        "bench-drain": lambda: _ranking(measured, "drain_per_s", _DRAIN, more_is_better=True, log=True),
        "bench-latency": lambda: _latency(measured),
        "bench-redis-cpu": lambda: _ranking(measured, "redis_us_per_job", _REDIS_CPU, more_is_better=False, log=True),
        "bench-memory": lambda: _ranking(measured, "bytes_per_queued_job", _MEMORY, more_is_better=False, log=False),
    }
    if scaled is not None:
        drawings |= {
            "bench-depth": lambda: _depth(scaled),
            "bench-workers": lambda: _workers(scaled),
            "bench-payload": lambda: _payload(scaled),
        }
    written = []
    with mpl.rc_context(_STYLE):
        for name, drawing in drawings.items():
            if (figure := drawing()) is not None:
                path = folder / f"{name}.png"
                _save(figure, path)
                written.append(path)
    return written


def _save(figure: Figure, path: Path) -> None:
    """With few colours: a third of the size."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=_DPI, format="png")
    plt.close(figure)
    Image.open(drawn).convert("RGB").quantize(_COLOURS).save(path, optimize=True)


def _enqueue(measured: Measured) -> Figure | None:
    columns = {figure: text for figure, text in _ENQUEUE.items() if _medians(measured, figure)}
    if not columns:
        return None
    most = max(len(_medians(measured, figure)) for figure in columns)
    figure, axes = plt.subplots(1, len(columns), figsize=(11, 0.27 * most + 1.2), squeeze=False, layout="constrained")
    for axis, (name, text) in zip(axes[0], columns.items(), strict=True):
        _bars(axis, measured, _medians(measured, name), more_is_better=True, log=False)
        axis.set_title(f"Enqueued a second, {text}", loc="left", fontsize=9.5)
    _legend(figure, measured)
    return figure


def _ranking(measured: Measured, name: str, title: str, *, more_is_better: bool, log: bool) -> Figure | None:
    medians = _medians(measured, name)
    if not medians:
        return None
    figure, axis = plt.subplots(figsize=(8, 0.27 * len(medians) + 1.2), layout="constrained")
    _bars(axis, measured, medians, more_is_better=more_is_better, log=log)
    axis.set_title(f"{title}{' (log scale)' if log else ''}", loc="left")
    _legend(figure, measured)
    return figure


def _latency(measured: Measured) -> Figure | None:
    p50, p99 = _medians(measured, "latency_p50_ms"), _medians(measured, "latency_p99_ms")
    systems = [each for each in sorted(p50, key=lambda each: -p50[each]) if each in p99]
    if not systems:
        return None
    figure, axis = plt.subplots(figsize=(8, 0.27 * len(systems) + 1.2), layout="constrained")
    for y, system in enumerate(systems):
        colour = _colour(measured, system)
        axis.plot([p50[system], p99[system]], [y, y], color=colour, linewidth=2)
        axis.plot(p50[system], y, "o", color=colour)
        axis.plot(p99[system], y, "|", color=colour, markersize=11, markeredgewidth=2)
        label = f"{number(p50[system])} / {number(p99[system])}"
        axis.annotate(label, (p99[system], y), xytext=(7, -3), textcoords="offset points", fontsize=8.5)
    _name_rows(axis, measured, systems)
    _log_scale(axis.xaxis)
    axis.margins(x=0.14)
    axis.set_title("Idle latency, ms: p50 (dot) to p99 (log scale)", loc="left")
    _legend(figure, measured)
    return figure


def _bars(axis: Axes, measured: Measured, medians: Mapping[str, float], *, more_is_better: bool, log: bool) -> None:
    """The best on top."""
    systems = sorted(medians, key=medians.__getitem__, reverse=not more_is_better)
    values = [medians[each] for each in systems]
    bars = axis.barh(range(len(systems)), values, color=[_colour(measured, each) for each in systems], height=0.72)
    axis.bar_label(bars, labels=[number(value) for value in values], padding=3, fontsize=8.5)
    _name_rows(axis, measured, systems)
    if log:
        _log_scale(axis.xaxis)
        axis.set_xlim(left=min(values) / 2, right=max(values) * 3)
    else:
        axis.margins(x=0.18)
        axis.xaxis.set_major_locator(MaxNLocator(4))
        axis.xaxis.set_major_formatter(_plain)


def _name_rows(axis: Axes, measured: Measured, systems: Sequence[str]) -> None:
    names = [each if measured.crash_safe(each) or is_floor(each) else f"{each} †" for each in systems]
    axis.set_yticks(range(len(systems)), names)
    for label, system in zip(axis.get_yticklabels(), systems, strict=True):
        label.set_fontweight("bold" if system == OURS else "normal")
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x", color=_GRID)
    axis.set_axisbelow(True)


def _legend(figure: Figure, measured: Measured) -> None:
    kinds = {_colour(measured, each) for each in measured.systems}
    texts = {_OURS: "jobqueue", _RIVAL: "crash-safe", _UNSAFE: "† loses jobs when killed", _FLOOR: "floor, no features"}
    shown = [Patch(color=colour, label=text) for colour, text in texts.items() if colour in kinds]
    figure.legend(handles=shown, loc="outside lower right", ncols=len(shown), frameon=False, fontsize=8.5)


def _colour(measured: Measured, system: str) -> str:
    if system == OURS:
        return _OURS
    if is_floor(system):
        return _FLOOR
    return _RIVAL if measured.crash_safe(system) else _UNSAFE


def _medians(measured: Measured, figure: str) -> dict[str, float]:
    return {
        each: value for each in measured.systems if (value := measured.median(each, figure)) is not None and value > 0
    }


def _log_scale(axis: Axis) -> None:
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_formatter(_plain)
    axis.set_minor_formatter(NullFormatter())
    axis.set_tick_params(which="minor", length=0)


@FuncFormatter
def _plain(value: float, _: int | None = None) -> str:
    return f"{value:,.0f}".replace(",", " ") if value >= 1 or value == 0 else f"{value:g}"


def _depth(scaled: Scaled) -> Figure | None:
    lines = {
        "depth_enqueue_redis_us": "enqueued",
        "depth_drain_redis_us": "drained",
        "delayed_delay_redis_us": "delayed, among delayed ones",
        "delayed_promote_redis_us": "promoted, among delayed ones",
    }
    return _one(scaled, lines, "Redis CPU µs per job, by depth", "jobs in the queue before", log_y=False)


def _payload(scaled: Scaled) -> Figure | None:
    lines = {
        "payload_enqueue_redis_us": "Redis, enqueued",
        "payload_drain_redis_us": "Redis, drained",
        "payload_enqueue_python_us": "producer, enqueued",
        "payload_drain_python_us": "worker, drained",
    }
    return _one(scaled, lines, "CPU µs per job, by payload (log scale)", "bytes of payload", log_y=True)


def _workers(scaled: Scaled) -> Figure | None:
    rate, costs = {"workers_drain_per_s": "all together"}, {"workers_redis_us_per_job": "Redis"}
    costs["workers_python_us_per_job"] = "workers"
    if not scaled.cases("workers_drain_per_s"):
        return None
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
    _plot(left, scaled, rate, "Jobs drained a second", "worker processes")
    _plot(right, scaled, costs, "CPU µs per job", "worker processes")
    right.legend(frameon=False)
    return figure


def _one(scaled: Scaled, lines: Mapping[str, str], title: str, case: str, *, log_y: bool) -> Figure | None:
    if not any(scaled.cases(figure) for figure in lines):
        return None
    figure, axis = plt.subplots(figsize=(8, 3.6), layout="constrained")
    _plot(axis, scaled, lines, title, case, log_y=log_y)
    figure.legend(loc="outside right center", frameon=False)
    return figure


def _plot(axis: Axes, scaled: Scaled, lines: Mapping[str, str], title: str, case: str, *, log_y: bool = False) -> None:
    xs: set[float] = set()
    for (figure, text), colour in zip(lines.items(), _LINES, strict=False):
        points = sorted((float(x), value) for x, value in scaled.cases(figure).items())
        axis.plot([x for x, _ in points], [value for _, value in points], "o-", color=colour, label=text)
        xs |= {x for x, _ in points}
    _log_scale(axis.xaxis)
    axis.set_xticks(sorted(xs))
    axis.yaxis.set_major_formatter(_plain)
    if log_y:
        _log_scale(axis.yaxis)
    else:
        axis.set_ylim(bottom=0)
    axis.grid(color=_GRID)
    axis.set_axisbelow(True)
    axis.set_xlabel(case)
    axis.set_title(title, loc="left")
