"""Charts as ECharts options: plain dictionaries, in the colours of the reader's scheme."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ouro.dashboard.totals import Histogram, Point


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours of a scheme; those of ``static/ouro.css``."""

    ink: str
    dim: str
    line: str
    surface: str
    gold: str
    gain: str
    loss: str
    warn: str
    series: tuple[str, ...]

    def family(self, place: int) -> str:
        """A colour for the family at ``place`` of a list, never the accent."""
        return self.series[1 + place % (len(self.series) - 1)]


DARK = Palette(
    "#e8e6e1",
    "#a3a9b4",
    "#272c35",
    "#15181d",
    "#e2b34a",
    "#5fc493",
    "#f2806f",
    "#e6a954",
    ("#e2b34a", "#7fb0f5", "#5fc493", "#c79bf0", "#f2806f", "#63c7cf"),
)
LIGHT = Palette(
    "#1d2026",
    "#5c626d",
    "#e5e0d5",
    "#ffffff",
    "#9a6f10",
    "#1c7a4b",
    "#b5392b",
    "#8f5f00",
    ("#9a6f10", "#2a62bd", "#1c7a4b", "#7a45b5", "#b5392b", "#0f7a84"),
)
_FONT = "ui-sans-serif, system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif"


def palette(scheme: str) -> Palette:
    """Of "light" or "dark"."""
    return LIGHT if scheme == "light" else DARK


def _base(colours: Palette) -> dict[str, Any]:
    return {
        "animation": False,
        "textStyle": {"fontFamily": _FONT, "color": colours.dim},
        "color": list(colours.series),
        "tooltip": {
            "backgroundColor": colours.surface,
            "borderColor": colours.line,
            "textStyle": {"color": colours.ink, "fontSize": 12},
            "confine": True,
        },
    }


def _axis(colours: Palette, **more: Any) -> dict[str, Any]:
    return {
        "axisLine": {"show": False, "lineStyle": {"color": colours.line}},
        "axisTick": {"show": False},
        "axisLabel": {"color": colours.dim, "fontSize": 11, "hideOverlap": True},
        "splitLine": {"show": False, "lineStyle": {"color": colours.line}},
        "nameTextStyle": {"color": colours.dim, "fontSize": 11},
        **more,
    }


def equity(points: Sequence[Point], colours: Palette, lines: Mapping[str, float]) -> dict[str, Any]:
    """Equity above, drawdown below, on one time axis. ``lines`` are limits in USD on the drawdown (negative)."""
    options = _base(colours)
    tooltip = {
        **options["tooltip"],
        "trigger": "axis",
        "axisPointer": {"lineStyle": {"color": colours.dim}},
        ":valueFormatter": "v => v == null ? '–' : (v < 0 ? '−$' : '$') + "
        "Math.abs(v).toLocaleString('en-US', {minimumFractionDigits: 2, maximumFractionDigits: 2})",
    }
    money = {
        "color": colours.dim,
        "fontSize": 11,
        ":formatter": "v => (v < 0 ? '−$' : '$') + Math.abs(v).toLocaleString('en-US')",
    }
    marks = [
        {"yAxis": value, "name": name, "label": {"formatter": name, "position": "insideStartBottom"}}
        for name, value in lines.items()
    ]
    return options | {
        "tooltip": tooltip,
        "axisPointer": {"link": [{"xAxisIndex": "all"}]},
        "grid": [
            {"left": 8, "right": 12, "top": 12, "height": "58%", "containLabel": True},
            {"left": 8, "right": 12, "top": "74%", "bottom": 4, "containLabel": True},
        ],
        "xAxis": [
            _axis(colours, type="time", gridIndex=0, axisLabel={"show": False}),
            _axis(colours, type="time", gridIndex=1),
        ],
        "yAxis": [
            _axis(
                colours,
                type="value",
                gridIndex=0,
                scale=True,
                splitNumber=4,
                axisLabel=money,
                splitLine=_grid(colours),
            ),
            _axis(
                colours,
                type="value",
                gridIndex=1,
                max=0,
                splitNumber=2,
                axisLabel={**money, "showMinLabel": False},
                splitLine=_grid(colours),
                min=_floor(points, lines),
            ),
        ],
        "series": equity_series(points, colours, marks),
    }


def _grid(colours: Palette) -> dict[str, Any]:
    return {"show": True, "lineStyle": {"color": colours.line, "width": 1}}


def _floor(points: Sequence[Point], lines: Mapping[str, float]) -> float | None:
    """Low enough to see the limits that are within reach; a limit far below would flatten the curve."""
    deepest = min((point.drawdown for point in points), default=0.0)
    near = [value for value in lines.values() if deepest == 0 or value >= 4 * deepest]
    return round(min([deepest, *near]) * 1.1, 2) if near or deepest else None


def equity_series(points: Sequence[Point], colours: Palette, marks: Sequence[Any] = ()) -> list[dict[str, Any]]:
    """The two lines; pushed alone when only they changed."""
    common = {"type": "line", "symbol": "none", "sampling": "none"}
    return [
        {
            **common,
            "name": "Equity",
            "xAxisIndex": 0,
            "yAxisIndex": 0,
            "step": "end",
            "lineStyle": {"width": 2, "color": colours.gold},
            "itemStyle": {"color": colours.gold},
            "areaStyle": {
                "color": {
                    "type": "linear",
                    "x": 0,
                    "y": 0,
                    "x2": 0,
                    "y2": 1,
                    "colorStops": [
                        {"offset": 0, "color": colours.gold + "44"},
                        {"offset": 1, "color": colours.gold + "00"},
                    ],
                }
            },
            "data": [[point.at_ms, round(point.equity, 4)] for point in points],
        },
        {
            **common,
            "name": "Drawdown",
            "xAxisIndex": 1,
            "yAxisIndex": 1,
            "step": "end",
            "lineStyle": {"width": 1.2, "color": colours.loss},
            "itemStyle": {"color": colours.loss},
            "areaStyle": {"color": colours.loss + "33"},
            "data": [[point.at_ms, round(point.drawdown, 4)] for point in points],
            "markLine": {
                "symbol": "none",
                "silent": True,
                "animation": False,
                "lineStyle": {"type": "dashed", "color": colours.warn, "width": 1},
                "label": {"color": colours.warn, "fontSize": 11},
                "data": list(marks),
            },
        },
    ]


def latency(shape: Histogram, colours: Palette) -> dict[str, Any]:
    """Decisions by how long they took, p50 and p99 marked."""
    first = next((at for at, number in enumerate(shape.counts) if number), 0)
    last = max((at for at, number in enumerate(shape.counts) if number), default=0)
    first, last = max(0, first - 1), min(len(shape.counts) - 1, max(last + 1, first + 6))
    names = [_ms(edge) for edge in shape.edges_ms[first : last + 1]]
    counts = shape.counts[first : last + 1]
    marks = []
    for label, value in (("p50", shape.p50_ms), ("p99", shape.p99_ms)):
        if value is not None:
            at = max((n for n, edge in enumerate(shape.edges_ms[:-1]) if edge <= value), default=0) - first
            marks.append({"xAxis": max(0, at), "label": {"formatter": f"{label} {_ms(value)}"}})
    options = _base(colours)
    return options | {
        "tooltip": {
            **options["tooltip"],
            "trigger": "axis",
            "axisPointer": {"type": "shadow", "shadowStyle": {"color": colours.line}},
        },
        "grid": {"left": 8, "right": 12, "top": 28, "bottom": 26, "containLabel": True},
        "xAxis": _axis(
            colours, type="category", data=names, name="from (ms, log scale)", nameLocation="middle", nameGap=26
        ),
        "yAxis": _axis(colours, type="value", splitNumber=3, splitLine=_grid(colours), minInterval=1),
        "series": [
            {
                "type": "bar",
                "name": "blocks",
                "data": list(counts),
                "barCategoryGap": "12%",
                "itemStyle": {"color": colours.series[1], "borderRadius": [3, 3, 0, 0]},
                "markLine": {
                    "symbol": "none",
                    "silent": True,
                    "lineStyle": {"color": colours.gold, "type": "solid"},
                    "label": {"color": colours.ink, "fontSize": 11, "distance": [0, 6]},
                    "data": marks,
                },
            }
        ],
    }


def _ms(value: float) -> str:
    return f"{value:.2g}" if value < 1 else f"{value:.1f}" if value < 10 else f"{value:.0f}"


def waterfall(steps: Sequence[tuple[str, float]], unit: str, colours: Palette) -> dict[str, Any]:
    """From gross to net: each step hangs where the last ended; the last stands on the ground."""
    below, bars, running = [], [], 0.0
    for at, (_, value) in enumerate(steps):
        total = at in (0, len(steps) - 1)
        start = 0.0 if total else running
        end = value if total else running + value
        low, high = min(start, end), max(start, end)
        below.append(low if low > 0 else 0)
        colour = (
            (colours.gain if value >= 0 else colours.loss) if total else colours.loss if value < 0 else colours.gain
        )
        bars.append(
            {
                "value": high - low if low >= 0 else end,
                "itemStyle": {"color": colour if at else colours.gold},
                "label": {"formatter": _signed(value)},
            }
        )
        running = end
    options = _base(colours)
    options["tooltip"] = {"show": False}
    return options | {
        "grid": {"left": 8, "right": 8, "top": 28, "bottom": 4, "containLabel": True},
        "xAxis": _axis(
            colours,
            type="category",
            data=[name for name, _ in steps],
            axisLabel={"color": colours.ink, "fontSize": 12, "interval": 0},
        ),
        "yAxis": _axis(
            colours,
            type="value",
            name=unit,
            splitNumber=3,
            splitLine=_grid(colours),
            scale=False,
            axisLabel={"color": colours.dim, "fontSize": 11},
        ),
        "series": [
            {"type": "bar", "stack": "w", "silent": True, "itemStyle": {"color": "transparent"}, "data": below},
            {
                "type": "bar",
                "stack": "w",
                "data": bars,
                "barWidth": "56%",
                "itemStyle": {"borderRadius": 3},
                "label": {"show": True, "position": "top", "color": colours.ink, "fontSize": 11},
            },
        ],
    }


def _signed(value: float) -> str:
    text = f"{abs(value):.6g}"
    return f"−{text}" if value < 0 else text


def graph(
    nodes: Sequence[dict[str, Any]], edges: Sequence[dict[str, Any]], colours: Palette, lit: frozenset[str]
) -> dict[str, Any]:
    """Tokens as nodes, pools as edges; the cycle in ``lit`` glows."""
    options = _base(colours)
    drawn_nodes = [
        {
            "id": node["id"],
            "name": node["name"],
            "symbolSize": node["size"],
            "itemStyle": {
                "color": colours.gold if node["lit"] else colours.surface,
                "borderColor": colours.gold if node["lit"] else colours.dim,
                "borderWidth": 1.5,
            },
            "label": {
                "show": node["labelled"] or node["lit"],
                "position": "right",
                "fontSize": 11,
                "color": colours.ink if node["lit"] else colours.dim,
                "fontWeight": "bold" if node["lit"] else "normal",
            },
        }
        for node in nodes
    ]
    drawn_edges = [
        {
            "source": edge["source"],
            "target": edge["target"],
            "value": edge["name"],
            "lineStyle": {
                "color": colours.gold if edge["pool"] in lit else edge["colour"],
                "width": 4 if edge["pool"] in lit else 1.4,
                "opacity": 1 if edge["pool"] in lit else 0.38,
                "curveness": edge["curve"],
            },
        }
        for edge in edges
    ]
    return options | {
        "tooltip": {**options["tooltip"], ":formatter": "p => p.dataType === 'edge' ? p.data.value : p.name"},
        "series": [
            {
                "type": "graph",
                "layout": "force",
                "roam": True,
                "draggable": True,
                "force": {
                    "repulsion": 1100,
                    "edgeLength": [90, 260],
                    "gravity": 0.09,
                    "friction": 0.25,
                    "layoutAnimation": False,
                },
                "scaleLimit": {"min": 0.4, "max": 4},
                "emphasis": {"focus": "adjacency", "lineStyle": {"width": 3}},
                "data": drawn_nodes,
                "links": drawn_edges,
                "left": "8%",
                "right": "12%",
                "top": "6%",
                "bottom": "6%",
            }
        ],
    }


def stacked(
    rows: Sequence[tuple[str, Sequence[float]]], names: Sequence[str], unit: str, colours: Palette
) -> dict[str, Any]:
    """Horizontal bars: one row per chain, one colour per part."""
    options = _base(colours)
    return options | {
        "tooltip": {
            **options["tooltip"],
            "trigger": "axis",
            "axisPointer": {"type": "shadow", "shadowStyle": {"color": colours.line}},
        },
        "legend": {
            "bottom": 0,
            "textStyle": {"color": colours.dim, "fontSize": 11},
            "icon": "roundRect",
            "itemWidth": 10,
            "itemHeight": 10,
        },
        "grid": {"left": 8, "right": 16, "top": 8, "bottom": 34, "containLabel": True},
        "xAxis": _axis(colours, type="value", name=unit, splitLine=_grid(colours), splitNumber=4),
        "yAxis": _axis(
            colours,
            type="category",
            data=[name for name, _ in rows],
            inverse=True,
            axisLabel={"color": colours.ink, "fontSize": 12},
        ),
        "series": [
            {
                "type": "bar",
                "stack": "s",
                "name": name,
                "data": [round(values[at], 4) for _, values in rows],
                "barWidth": 22,
            }
            for at, name in enumerate(names)
        ],
    }
