"""Building blocks of our dashboards: functions that return pieces of Grafana's classic dashboard JSON.

Plain dictionaries rather than Grafana's Foundation SDK: the few options we use fit on this page,
need nothing installed, and stay readable by Grafana 9.3 as well as 13.
"""

import json
import re

DATASOURCE = {"type": "prometheus", "uid": "prometheus"}

# Grafana's schema version of 9.3; newer ones migrate it when they load it.
SCHEMA_VERSION = 37

GREEN, YELLOW, ORANGE, RED, BLUE, TEXT = "green", "yellow", "orange", "red", "blue", "text"
GREY, NO_COLOR = "#808080", "transparent"

# The window of a rate that says how it is now. It does not grow with the time range of the page, as $__rate_interval
# does, and is what alerts use. The last sample of a host that went silent counts for as long.
NOW = "5m"

# Grafana abbreviates its own units of a rate (c/s, p/s, c/m). A suffix is shown as it is written.
SAMPLES, SERIES, QUERIES, PAGES = "suffix:samples/s", "suffix:series", "suffix:queries/s", "suffix:pages/s"
PACKETS, CUTS = "suffix:packets/s", "suffix:cuts/min"


def dashboard(uid, title, description, panels, variables=(), annotations=()):
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["metrics-stack"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        # One crosshair over all panels: what happened at the same time is seen at a glance.
        "graphTooltip": 1,
        "refresh": "15s",
        "time": {"from": "now-30m", "to": "now"},
        "timepicker": {"refresh_intervals": ["15s", "30s", "1m", "5m", "15m", "1h"]},
        "timezone": "browser",
        "links": [
            {
                "type": "dashboards",
                "title": "",
                "tags": ["metrics-stack"],
                "asDropdown": False,
                "includeVars": False,
                "keepTime": True,
                "targetBlank": False,
                "icon": "dashboard",
                "tooltip": "",
                "url": "",
            }
        ],
        "templating": {"list": list(variables)},
        "annotations": {"list": list(annotations)},
        "panels": _laid_out(panels),
    }


def instances(of):
    """The variable `instance`: which of the hosts that a metric comes from the page is about. One at a time, as a mean or a
    sum of several would be nobody's; the dashboard Fleet has them side by side. `central` makes another query of it."""
    query = f"label_values({of}, instance)"
    return {
        "name": "instance",
        "label": "Host",
        "type": "query",
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": "instance"},
        "current": {},
        "includeAll": False,
        "multi": False,
        "options": [],
        "refresh": 2,
        "regex": "",
        "sort": 1,
        "hide": 0,
        "skipUrlSync": False,
    }


# The chosen host's series, and those of its applications where the far end has them as HOST:PORT. A dot in a name stands for
# any character here, as Grafana's way to escape it is none that a PromQL string takes.
OF_HOST = 'instance=~"$instance(:.+)?"'


def central(board):
    """The same page for a Grafana that has many hosts: with a data source to choose, which has another uid there; with the
    alerts of the chosen host alone; and with links that keep it. On one host every alert is of that host, whatever its labels."""
    text = json.dumps(board)
    for here, there in (
        ('"uid": "prometheus"', '"uid": "${datasource}"'),
        ('"includeVars": false', '"includeVars": true'),
        (" (http://127.0.0.1:9090/alerts)", ""),
    ):
        text = text.replace(here, there)
    if board["templating"]["list"]:
        firing = json.dumps('ALERTS{alertstate="firing"')[1:-1]
        text = text.replace(firing, f"{firing}, {json.dumps(OF_HOST)[1:-1]}")
    board = json.loads(text)
    # `label_values` returns the hosts of the page's time range only. Grafana replaces a value that it does not return by the
    # first one: the page of a host that is silent for longer would turn into another host's. The Fleet dashboard keeps
    # hosts for a day.
    for variable in board["templating"]["list"]:
        of = re.fullmatch(r"label_values\((.*), instance\)", variable["definition"])[1]
        query = f"query_result(group by (instance) (max_over_time({of}[1d:15m])) or group by (instance) ({of}))"
        variable |= {"definition": query, "query": {"query": query, "refId": "instance"}, "regex": '/instance="([^"]+)"/'}
    board["templating"]["list"].insert(
        0,
        {
            "name": "datasource",
            "label": "Data source",
            "type": "datasource",
            "query": "prometheus",
            "current": {},
            "includeAll": False,
            "multi": False,
            "options": [],
            "refresh": 1,
            "regex": "",
            "hide": 0,
            "skipUrlSync": False,
        },
    )
    return board


def annotation(name, expr, title, color):
    """A mark on all panels for the time in which a query has a result."""
    return {
        "name": name,
        "datasource": DATASOURCE,
        "enable": True,
        "expr": expr,
        "iconColor": color,
        "step": "15s",
        "titleFormat": title,
    }


def row(title):
    return {"type": "row", "title": title, "collapsed": False, "panels": [], "_size": (24, 1)}


def stat(
    title, description, unit, expr, legend="", thresholds=(), mappings=None, no_value=None, decimals=None, show="auto", **size
):
    """One number, or one for each series, as it is at the end of the time range. `thresholds` colour it from a value on:
    [(None, GREEN), (1, RED)]; `mappings` gives values a text: {1: ("Up", GREEN)}; `show="name"` shows the legend only."""
    defaults = {
        "unit": unit,
        "color": {"mode": "thresholds"},
        "thresholds": _thresholds(thresholds or [(None, BLUE)]),
        "mappings": _value_mappings(mappings or {}),
    }
    if no_value:
        defaults["noValue"] = no_value
    if decimals is not None:
        defaults["decimals"] = decimals
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": show,
    }
    return _at_the_end(_panel("stat", title, description, {legend: expr}, defaults, options, size, (6, 3)))


def firing_alerts(title, description, filters="", **size):
    """A red tile for each alert that fires, or a green one that says none."""
    firing = f'sum by (alertname) (ALERTS{{alertstate="firing"{filters}}})'
    calm = 'label_replace(vector(0), "alertname", "none", "", "")'
    defaults = {
        "unit": "none",
        "color": {"mode": "thresholds"},
        "thresholds": _thresholds([(None, GREEN), (1, RED)]),
        "mappings": [],
    }
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "background",
        "graphMode": "none",
        "justifyMode": "center",
        "orientation": "auto",
        "textMode": "name",
    }
    queries = {"{{alertname}}": f"{firing} or on () {calm}"}
    return _at_the_end(_panel("stat", title, description, queries, defaults, options, size, (12, 3)))


def graph(
    title,
    description,
    unit,
    queries,
    stack=False,
    colors=None,
    limits=(),
    max=None,
    soft_max=None,
    min=0,
    decimals=None,
    **size,
):
    """Lines over time. `queries` maps legends to expressions, `colors` patterns of legends to colours,
    `limits` draws lines at values: [(0.9, RED)], and the axis reaches `soft_max` however low the lines are."""
    defaults = {
        "unit": unit,
        "color": {"mode": "palette-classic"},
        "custom": {
            "drawStyle": "line",
            "lineInterpolation": "linear",
            "lineWidth": 1,
            "fillOpacity": 30 if stack else 10,
            "gradientMode": "none",
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if stack else "none", "group": "A"},
            "thresholdsStyle": {"mode": "line" if limits else "off"},
        },
        "thresholds": _thresholds([(None, "transparent"), *limits]),
        "mappings": [],
    }
    if soft_max is not None:
        defaults["custom"]["axisSoftMax"] = soft_max
    if decimals is not None:
        defaults["decimals"] = decimals
    if min is not None:
        defaults["min"] = min
    if max is not None:
        defaults["max"] = max
    options = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    panel = _panel("timeseries", title, description, queries, defaults, options, size, (12, 8))
    panel["fieldConfig"]["overrides"] = [
        {
            "matcher": {"id": "byRegexp", "options": f"/{pattern}/"},
            "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": color}}],
        }
        for pattern, color in (colors or {}).items()
    ]
    return panel


def timeline(title, description, queries, mappings, **size):
    """A bar for each series, coloured by its state over time; `mappings` as for stat, one for each state. A bar of its own
    shows when there was no series: without any, the panel would say "Data does not have a time field"."""
    mappings = {-1: ("No samples", GREY)} | mappings
    queries = {
        legend: f'{expr} or on () label_replace(vector(-1), "{re.search("{{(.*?)}}", legend)[1]}", "none", "", "")'
        for legend, expr in queries.items()
    }
    states = sorted(mappings.items())
    defaults = {
        "unit": "none",
        "color": {"mode": "thresholds"},
        "custom": {"fillOpacity": 70, "lineWidth": 0},
        # The same colours as the names have: Grafana takes either, depending on how it merges values.
        "thresholds": _thresholds([(value if place else None, color) for place, (value, (_, color)) in enumerate(states)]),
        "mappings": _value_mappings(mappings),
    }
    options = {
        "alignValue": "left",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False},
        # Merged by thresholds, values would be called "1+" rather than by their names.
        "mergeValues": False,
        "rowHeight": 0.8,
        "showValue": "never",
        "tooltip": {"mode": "single", "sort": "none"},
    }
    return _panel("state-timeline", title, description, queries, defaults, options, size, (12, 8))


# Without a value, a cell would have the colour of the lowest threshold.
EMPTY_CELL = [{"type": "special", "options": {"match": "null+nan", "result": {"text": "–", "color": NO_COLOR, "index": 9}}}]


def table(title, description, columns, sort, **size):
    """A row for each host as it is now, the one with most in the column `sort` first, equal ones by their names. `columns` maps
    titles to what they show:
    `expr` with a series for each host; `label` instead of its value; `unit`, `decimals`, `thresholds` and `mappings` as for stat, which
    colour the cell; and `links`, titles to addresses, in which ${__data.fields.Host} is the row's host."""
    shown, hidden, overrides = {"instance": "Host"}, {"Time": True}, []
    for ref, (column, spec) in zip("ABCDEFGHIJ", ((c, s) for c, s in columns.items() if "expr" in s)):
        shown[spec.get("label", f"Value #{ref}")] = column
        if "label" in spec:
            hidden[f"Value #{ref}"] = True
    for column, spec in columns.items():
        properties = {"links": [{"title": name, "url": url, "targetBlank": False} for name, url in spec["links"].items()]}
        properties |= {name: spec[name] for name in ("unit", "decimals") if name in spec}
        if "thresholds" in spec:
            # Called cellOptions since Grafana 9.4, which takes the old name from a page of this schema version.
            properties |= {"custom.displayMode": "color-background", "thresholds": _thresholds(spec["thresholds"])}
        if "mappings" in spec:
            properties["mappings"] = _value_mappings(spec["mappings"]) + EMPTY_CELL
        overrides.append(
            {
                "matcher": {"id": "byName", "options": column},
                "properties": [{"id": name, "value": value} for name, value in properties.items()],
            }
        )
    queries = {column: spec["expr"] for column, spec in columns.items() if "expr" in spec}
    defaults = {
        "unit": "none",
        "color": {"mode": "thresholds"},
        "thresholds": _thresholds([(None, TEXT)]),
        "mappings": EMPTY_CELL,
    }
    options = {"showHeader": True, "sortBy": [{"displayName": sort, "desc": True}, {"displayName": "Host", "desc": False}]}
    panel = _at_the_end(_panel("table", title, description, queries, defaults, options, size, (24, 14)))
    for target in panel["targets"]:
        target["format"] = "table"
    panel["fieldConfig"]["overrides"] = overrides
    panel["transformations"] = [
        {"id": "merge", "options": {}},
        {
            "id": "organize",
            "options": {
                "excludeByName": hidden,
                "renameByName": shown,
                "indexByName": {name: place for place, name in enumerate(shown)},
            },
        },
    ]
    return panel


def heatmap(title, description, unit, expr, **size):
    """How the values of a histogram spread over time; `expr` gives a series for each bucket `le`."""
    options = {
        "calculate": False,
        "cellGap": 1,
        "cellValues": {"unit": "short", "decimals": 0},
        # Few are faint and many strong in either theme, as Grafana itself turns a scheme of one direction round on a dark
        # page. With "opacity" instead, the fewest would not be seen at all: its lowest step is transparent.
        "color": {"mode": "scheme", "scheme": "YlOrRd", "reverse": False, "steps": 64},
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "showValue": "never",
        # `show` is what versions before 10.2 read, `mode` what newer ones do.
        "tooltip": {"show": True, "mode": "single", "yHistogram": False, "showColorScale": False},
        "yAxis": {"axisPlacement": "left", "reverse": False, "unit": unit},
    }
    defaults = {"unit": unit, "custom": {"scaleDistribution": {"type": "linear"}}}
    panel = _panel("heatmap", title, description, {"{{le}}": expr}, defaults, options, size, (24, 11))
    panel["targets"][0]["format"] = "heatmap"
    return panel


def _panel(kind, title, description, queries, defaults, options, size, usual_size):
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": DATASOURCE,
                "editorMode": "code",
                "expr": expr,
                "legendFormat": legend or "__auto",
                "range": True,
            }
            for index, (legend, expr) in enumerate(queries.items())
        ],
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "_size": (size.get("width", usual_size[0]), size.get("height", usual_size[1])),
    }


def _at_the_end(panel):
    """Makes instant queries of a panel's queries. Over a range, Grafana takes the last value in it for the present one,
    however old it is."""
    for target in panel["targets"]:
        target.update({"instant": True, "range": False})
    return panel


def _laid_out(panels):
    """Numbers the panels and places them from left to right, a new line where 24 columns are full."""
    placed, x, y, line_height = [], 0, 0, 0
    for number, panel in enumerate(panels, start=1):
        width, height = panel.pop("_size")
        if x + width > 24:
            x, y, line_height = 0, y + line_height, 0
        placed.append({"id": number, **panel, "gridPos": {"x": x, "y": y, "w": width, "h": height}})
        x, line_height = x + width, max(line_height, height)
    return placed


def _thresholds(thresholds):
    return {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in thresholds]}


def _value_mappings(mappings):
    if not mappings:
        return []
    options = {
        str(value): {"text": text, "color": color, "index": index}
        for index, (value, (text, color)) in enumerate(mappings.items())
    }
    return [{"type": "value", "options": options}]
