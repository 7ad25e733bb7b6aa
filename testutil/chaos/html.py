"""A run's page: what was broken when, what the workers did meanwhile, and what the checks said. One file, no network.

Path("report.html").write_text(page(report))
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

_WIDTH: Final = 1160
_LEFT: Final = 60
_BAR: Final = 11
_CHART: Final = 150

_COLOURS: Final = {
    "worker": "#d9822b",
    "scheduler": "#b58900",
    "producer": "#8d6e4b",
    "wire": "#3b7dd8",
    "server": "#c23b3b",
    "history": "#7a5fb5",
    "sentinel": "#a23b72",
    "cluster": "#a23b72",
    "primary": "#8b1e3f",
    "replica": "#c9799e",
}
_SERIES: Final = {"acknowledged": "#8a94a0", "started": "#00a3b4", "settled": "#5aa02c", "ticked": "#b58900"}

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1d232b; --faint: #8a94a0; --line: #d8dde3; --ground: #fff; --bad: #c23b3b;
        --good: #22855b; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #dfe5ec; --faint: #8a94a0; --line: #333c47; --ground: #14181d; --bad: #f07070; --good: #4cc492; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground); margin: 2rem auto;
       max-width: 1180px; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.05rem; margin: 2rem 0 .4rem; }
code, pre { font: 13px/1.5 ui-monospace, monospace; } pre { white-space: pre-wrap; overflow-wrap: anywhere; }
.clean { color: var(--good); } .broken { color: var(--bad); } .faint { color: var(--faint); }
svg { width: 100%; height: auto; display: block; } svg text { fill: var(--faint); font: 10px system-ui, sans-serif; }
svg .rule { stroke: var(--line); stroke-width: 1; }
.columns { display: flex; flex-wrap: wrap; gap: 0 3rem; align-items: flex-start; }
table { border-collapse: collapse; } td, th { text-align: left; padding: .15rem 1.2rem .15rem 0;
  border-bottom: 1px solid var(--line); font-weight: normal; } td.n { text-align: right;
  font-variant-numeric: tabular-nums; }
.key span { display: inline-block; margin-right: 1.1rem; } .key i { display: inline-block; width: .8em; height: .8em;
  border-radius: 2px; margin-right: .35em; }
"""


def page(report: Mapping[str, Any]) -> str:
    """The page for what `report.json` holds."""
    verdict = "clean" if report["ok"] else "broken"
    title = f"chaos: {report['profile']}, seed {report['seed']}"
    return "\n".join(
        [
            "<!doctype html>",
            f'<html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>',
            f'<h1>{escape(title)} <span class="{verdict}">{verdict}</span></h1>',
            f'<p class="faint"><code>{escape(report["command"])}</code><br>{escape(report["servers"])}</p>',
            f"<pre>{escape(report['line'])}</pre>",
            "<h2>Faults, throughput, recoveries</h2>",
            _key(report),
            _timeline(report),
            '<div class="columns">',
            _table("Checks", report["failures"].items(), tell=True),
            _table("Measures", _flat(report["measures"])),
            _table("Faults by kind", _by_kind(report["faults"])),
            "</div>",
            _details(report["details"]),
            _fault_list(report["faults"]),
            "</html>",
        ]
    )


def _key(report: Mapping[str, Any]) -> str:
    roles = dict.fromkeys(_role(fault) for fault in report["faults"])
    marks = [(role, _COLOURS.get(role, "#888")) for role in roles]
    marks += [("dead worker's jobs given back", "#d9822b")] if report["recoveries"] else []
    marks += [(f"{name} a second", colour) for name, colour in _SERIES.items() if report["throughput"].get(name)]
    return (
        '<p class="key faint">'
        + "".join(f'<span><i style="background:{colour}"></i>{escape(name)}</span>' for name, colour in marks)
        + "</p>"
    )


def _timeline(report: Mapping[str, Any]) -> str:
    span_s = max(report["seconds"], *(t for points in report["throughput"].values() for t, _ in points), 1)
    lanes = _lanes(report["faults"])
    top = len(lanes) * (_BAR + 3) + 10
    height = top + _CHART + 40

    def x(second: float) -> float:
        return round(_LEFT + (_WIDTH - _LEFT - 10) * min(max(second, 0), span_s) / span_s, 1)

    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="timeline">'
        + _axis(span_s, x, height)
        + "".join(_bar(fault, x, lane * (_BAR + 3) + 5) for lane, faults in enumerate(lanes) for fault in faults)
        + _curves(report["throughput"], x, top)
        + _recoveries(report["recoveries"], x, top + _CHART)
        + "</svg>"
    )


def _lanes(faults: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Each fault goes to the first lane that is free when it begins."""
    lanes: list[list[Mapping[str, Any]]] = []
    for fault in sorted(faults, key=lambda fault: fault["began_s"]):
        free = next((lane for lane in lanes if lane[-1]["ended_s"] <= fault["began_s"]), None)
        if free is None:
            lanes.append([fault])
        else:
            free.append(fault)
    return lanes


def _axis(span_s: float, x: Any, height: int) -> str:
    step_s = next(step for step in (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 10**9) if span_s / step <= 16)
    return "".join(
        f'<line class="rule" x1="{x(second)}" x2="{x(second)}" y1="0" y2="{height - 16}"/>'
        f'<text x="{x(second)}" y="{height - 4}" text-anchor="middle">{second} s</text>'
        for second in range(0, int(span_s) + 1, step_s)
    )


def _bar(fault: Mapping[str, Any], x: Any, y: int) -> str:
    told = f"{fault['kind']} on {fault['target']}, {fault['began_s']:.1f} to {fault['ended_s']:.1f} s"
    if not fault["took"]:
        told += f", did not take: {fault['error']}"
    wide = max(2.0, x(fault["ended_s"]) - x(fault["began_s"]))
    return (
        f'<rect x="{x(fault["began_s"])}" y="{y}" width="{wide:.1f}" height="{_BAR}" rx="2" '
        f'fill="{_COLOURS.get(_role(fault), "#888")}" opacity="{0.85 if fault["took"] else 0.25}">'
        f"<title>{escape(told)}</title></rect>"
    )


def _curves(throughput: Mapping[str, Sequence[Sequence[float]]], x: Any, top: int) -> str:
    most = max((count for points in throughput.values() for _, count in points), default=0) or 1

    def y(count: float) -> float:
        return round(top + _CHART - _CHART * count / most, 1)

    rules = "".join(
        f'<line class="rule" x1="{_LEFT}" x2="{_WIDTH - 10}" y1="{y(count)}" y2="{y(count)}"/>'
        f'<text x="{_LEFT - 6}" y="{y(count) + 3}" text-anchor="end">{count:g}/s</text>'
        for count in (0, round(most / 2), most)
    )
    curves = "".join(
        f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" opacity="0.9" '
        f'points="{" ".join(f"{x(second)},{y(count)}" for second, count in throughput[name])}"><title>{name}</title>'
        "</polyline>"
        for name, colour in _SERIES.items()
        if throughput.get(name)
    )
    return rules + curves


def _recoveries(recoveries: Sequence[Mapping[str, Any]], x: Any, y: int) -> str:
    """A mark where a dead worker's jobs were given back."""
    return "".join(
        f'<circle cx="{x(each["at_s"])}" cy="{y + 10}" r="2.5" fill="#d9822b">'
        f"<title>{escape(str(each['worker']))}: {each['jobs']} given back at {each['at_s']:.1f} s</title></circle>"
        for each in recoveries
    )


def _table(title: str, rows: Iterable[tuple[str, Any]], *, tell: bool = False) -> str:
    def row(name: str, value: Any) -> str:
        mark = (' class="broken"' if value else ' class="clean"') if tell else ""
        return f'<tr><td>{escape(name)}</td><td class="n"><span{mark}>{escape(_shown(value))}</span></td></tr>'

    return f"<div><h2>{escape(title)}</h2><table>{''.join(row(*each) for each in rows)}</table></div>"


def _flat(measures: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for name, value in measures.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}: {inner}", each) for inner, each in value.items())
        elif not isinstance(value, list):
            yield name, value


def _by_kind(faults: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    kinds = sorted({fault["kind"] for fault in faults})
    return [(kind, f"{sum(fault['kind'] == kind and fault['took'] for fault in faults)}") for kind in kinds]


def _details(details: Sequence[str]) -> str:
    if not details:
        return ""
    return f'<h2 class="broken">What the checks found</h2><pre>{escape(chr(10).join(details))}</pre>'


def _fault_list(faults: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        f"{fault['began_s']:7.2f} .. {fault['ended_s']:7.2f} s  {fault['kind']:24} {fault['target']:16} "
        f"{fault['value']:g}{'' if fault['took'] else '  did not take: ' + str(fault['error'])}"
        for fault in sorted(faults, key=lambda fault: fault["began_s"])
    ]
    return f"<details><summary>Every fault</summary><pre>{escape(chr(10).join(lines))}</pre></details>"


def _role(fault: Mapping[str, Any]) -> str:
    return str(fault["kind"]).partition(".")[0]


def _shown(value: Any) -> str:
    return f"{value:,.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
