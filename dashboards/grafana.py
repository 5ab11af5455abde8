"""Building blocks of the dashboards: functions that return pieces of classic dashboard JSON.

Plain dictionaries instead of Grafana's Foundation SDK: the few options in use fit into this file,
need no package, and work in Grafana 9.3 as well as 13.
"""

import re

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

# The schema version of Grafana 9.3; newer versions migrate it when they load a dashboard.
SCHEMA_VERSION = 37

GREEN, YELLOW, ORANGE, RED, BLUE, TEXT = "green", "yellow", "orange", "red", "blue", "text"
GRAY, TRANSPARENT = "#808080", "transparent"

# The window of a rate in a tile or a cell, as in alerts. Unlike $__rate_interval it does not grow
# with the time range. The last sample of a host counts for as long.
NOW = "5m"

# Grafana abbreviates its own units of rates (c/s, p/s, c/m); a suffix is shown as written.
SAMPLES, SERIES, QUERIES = "suffix:samples/s", "suffix:series", "suffix:queries/s"
PACKETS, PAGES, CONNECTIONS = "suffix:packets/s", "suffix:pages/s", "suffix:connections/min"
ABBREVIATED = "cps cpm ops opm pps rps rpm wps wpm mps mpm iops".split()

# A series that only the Prometheus of a host has, because it scrapes Alloy itself. At a central
# server, the instance of Alloy's samples is the host's name.
LOCAL = 'up{job="alloy", instance="127.0.0.1:12345"}'

# Watchdog always fires (docs/notifications.md).
FIRING = 'alertstate="firing", alertname!="Watchdog"'


def of_host(metric, matchers=""):
    """The series of the chosen host and, at a central server, of its applications (HOST:PORT). In
    a host's own Prometheus, every series. A dot in a host's name matches any character, because
    PromQL does not accept Grafana's escaping."""
    chosen = ", ".join(filter(None, [matchers, 'instance=~"$instance(:.+)?"']))
    return f"{metric}{{{matchers}}} and on () {LOCAL} or {metric}{{{chosen}}}"


def dashboard(uid, title, description, panels, annotations, up=None):
    """`up` is the metric whose hosts can be chosen on the page."""
    variables = [_variable("datasource", "Data source", "datasource", query="prometheus")]
    # The stack's own data source. A central Grafana without it selects its first Prometheus.
    variables[0]["current"] = {"text": "Prometheus", "value": "prometheus"}
    if up:
        # Grafana replaces a host that is not in the list with the first one, so a host that does
        # not report stays in it for a day, as in Fleet. A host's own list omits a former name.
        past = f"group by (instance) (max_over_time({up}[1d:15m]))"
        query = f"group by (instance) ({up}) or {past} unless on () ({up} and on () {LOCAL})"
        query = f"query_result({query})"
        variables.append(
            _variable(
                "instance",
                "Host",
                "query",
                datasource=DATASOURCE,
                definition=query,
                query={"query": query, "refId": "instance"},
                regex='/instance="([^"]+)"/',
                refresh=2,
                sort=1,
            )
        )
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["metrics-stack"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        # A shared crosshair shows what happened at the same time.
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
                "includeVars": True,
                "keepTime": True,
                "targetBlank": False,
                "icon": "dashboard",
                "tooltip": "",
                "url": "",
            }
        ],
        "templating": {"list": variables},
        "annotations": {"list": list(annotations)},
        "panels": _laid_out(panels),
    }


def _variable(name, label, kind, **options):
    """A variable with one value: the mean or sum of several hosts would describe none of them."""
    return {
        "name": name,
        "label": label,
        "type": kind,
        "current": {},
        "includeAll": False,
        "multi": False,
        "options": [],
        "refresh": 1,
        "regex": "",
        "hide": 0,
        "skipUrlSync": False,
    } | options


def annotation(name, expr, title, color):
    """A mark on all panels while a query has a result."""
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
    title,
    description,
    unit,
    expr,
    legend="",
    thresholds=(),
    mappings=None,
    no_value=None,
    decimals=None,
    show="auto",
    **size,
):
    """A number for each series, at the end of the time range. `thresholds` give the color from a
    value on: [(None, GREEN), (1, RED)]; `mappings` replace values: {1: ("Up", GREEN)};
    `show="name"` shows only the legend."""
    defaults = {
        "unit": unit,
        "color": {"mode": "thresholds"},
        "thresholds": _thresholds(thresholds or [(None, BLUE)]),
        "mappings": _mappings(mappings or {}),
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
    return _panel("stat", title, description, {legend: expr}, defaults, options, size, (6, 3))


def firing_alerts(title, description, alerts):
    """A red tile for each of the alerts, or a green one that says none."""
    calm = 'label_replace(vector(0), "alertname", "none", "", "")'
    panel = stat(
        title,
        description,
        "none",
        f"sum by (alertname) ({alerts}) or on () {calm}",
        legend="{{alertname}}",
        thresholds=[(None, GREEN), (1, RED)],
        show="name",
        width=12,
    )
    panel["options"] |= {"colorMode": "background", "justifyMode": "center"}
    return panel


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
    decimals=None,
    **size,
):
    """Lines over time. `queries` maps legends to expressions, `colors` maps patterns of legends to
    colors, and `limits` draws lines at values: [(0.9, RED)]. The axis reaches at least
    `soft_max`."""
    defaults = {
        "unit": unit,
        "min": 0,
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
        "thresholds": _thresholds([(None, TRANSPARENT), *limits]),
        "mappings": [],
    }
    if soft_max is not None:
        defaults["custom"]["axisSoftMax"] = soft_max
    if decimals is not None:
        defaults["decimals"] = decimals
    if max is not None:
        defaults["max"] = max
    options = {
        "legend": {
            "displayMode": "list",
            "placement": "bottom",
            "showLegend": True,
            "calcs": [],
        },
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
    """A bar for each series, colored by its state over time. `mappings` has every state, as for
    stat. Without any series the panel would say "Data does not have a time field", so a gray bar
    replaces them."""
    mappings = {-1: ("No samples", GRAY)} | mappings
    assert max(mappings.items())[1][1] == GREEN, f"{title}: the highest state is the best one"
    queries = {
        legend: f"{expr} or on () "
        f'label_replace(vector(-1), "{re.search("{{(.*?)}}", legend)[1]}", "none", "", "")'
        for legend, expr in queries.items()
    }
    states = sorted((value, color) for value, (_, color) in mappings.items())
    defaults = {
        "unit": "none",
        "color": {"mode": "thresholds"},
        "custom": {"fillOpacity": 70, "lineWidth": 0},
        # The colors of the mappings again: Grafana uses either, depending on how it merges values.
        "thresholds": _thresholds([(None, states[0][1]), *states[1:]]),
        "mappings": _mappings(mappings),
    }
    options = {
        "alignValue": "left",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False},
        # Merged by thresholds, states would be called "1+" instead of their names.
        "mergeValues": False,
        "rowHeight": 0.8,
        "showValue": "never",
        "tooltip": {"mode": "single", "sort": "none"},
    }
    return _panel("state-timeline", title, description, queries, defaults, options, size, (12, 8))


# Without a value, a cell would have the color of the lowest threshold.
EMPTY_CELL = [
    {
        "type": "special",
        "options": {
            "match": "null+nan",
            "result": {"text": "–", "color": TRANSPARENT, "index": 9},
        },
    }
]


def table(title, description, columns, sort):
    """A row for each host at the end of the time range. The highest values of the column `sort`
    come first, then hosts by name. `columns` maps titles to a specification:
    - `expr`: a series for each host, and `label` to show this label in place of the value
    - `unit`, `decimals`, `thresholds` and `mappings`: as for stat, for the color of the cell
    - `links`: titles and URLs, in which ${__data.fields.Host} is the host of the row"""
    shown, hidden, overrides, queries = {"instance": "Host"}, {"Time": True}, [], {}
    for column, spec in columns.items():
        if "expr" in spec:
            value = f"Value #{_ref(len(queries))}"
            queries[column] = spec["expr"]
            shown[spec.get("label", value)] = column
            if "label" in spec:
                hidden[value] = True
        properties = {
            "links": [
                {"title": name, "url": url, "targetBlank": False}
                for name, url in spec["links"].items()
            ]
        }
        properties |= {name: spec[name] for name in ("unit", "decimals") if name in spec}
        if "thresholds" in spec:
            # Named cellOptions since Grafana 9.4, which migrates the old name.
            properties["custom.displayMode"] = "color-background"
            properties["thresholds"] = _thresholds(spec["thresholds"])
        if "mappings" in spec:
            properties["mappings"] = _mappings(spec["mappings"]) + EMPTY_CELL
        overrides.append(
            {
                "matcher": {"id": "byName", "options": column},
                "properties": [{"id": name, "value": value} for name, value in properties.items()],
            }
        )
    defaults = {
        "unit": "none",
        "color": {"mode": "thresholds"},
        "thresholds": _thresholds([(None, TEXT)]),
        "mappings": EMPTY_CELL,
    }
    options = {
        "showHeader": True,
        "sortBy": [{"displayName": sort, "desc": True}, {"displayName": "Host", "desc": False}],
    }
    panel = _panel("table", title, description, queries, defaults, options, {}, (24, 14))
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


def heatmap(title, description, unit, expr):
    """The values of a histogram over time; `expr` has a series for each bucket `le`."""
    options = {
        "calculate": False,
        "cellGap": 1,
        "cellValues": {"unit": "short", "decimals": 0},
        # Low counts are faint in both themes, because Grafana reverses this scheme in the dark
        # one. In the mode "opacity", the lowest counts would be invisible.
        "color": {"mode": "scheme", "scheme": "YlOrRd", "reverse": False, "steps": 64},
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "showValue": "never",
        # Grafana before 10.2 reads `show`, newer versions read `mode`.
        "tooltip": {"show": True, "mode": "single", "yHistogram": False, "showColorScale": False},
        "yAxis": {"axisPlacement": "left", "reverse": False, "unit": unit},
    }
    defaults = {"unit": unit, "custom": {"scaleDistribution": {"type": "linear"}}}
    queries = {"{{le}}": expr}
    panel = _panel("heatmap", title, description, queries, defaults, options, {}, (24, 11))
    panel["targets"][0]["format"] = "heatmap"
    return panel


def _panel(kind, title, description, queries, defaults, options, size, usual_size):
    assert "?" in description, f"{title}: the description has no question that the panel answers"
    assert defaults["unit"] not in ABBREVIATED, f"{title}: Grafana abbreviates the unit"
    width, height = size.get("width", usual_size[0]), size.get("height", usual_size[1])
    assert kind == "stat" or width >= 8, f"{title}: narrower than a third of the page"
    # A column is 30 pixels wide and a letter about 7.5.
    assert len(title) * 7.5 < width * 30 - 56, f"{title}: truncated on a page 800 pixels wide"
    # Over a range, Grafana shows the last value as the present one, however old it is.
    instant = {"instant": True, "range": False} if kind in ("stat", "table") else {"range": True}
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "targets": [
            {
                "refId": _ref(index),
                "datasource": DATASOURCE,
                "editorMode": "code",
                "expr": expr,
                "legendFormat": legend or "__auto",
                **instant,
            }
            for index, (legend, expr) in enumerate(queries.items())
        ],
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "_size": (width, height),
    }


def _ref(index):
    return chr(ord("A") + index)


def _laid_out(panels):
    """Numbers the panels and places them in lines of 24 columns."""
    placed, x, y, line_height = [], 0, 0, 0
    for number, panel in enumerate(panels, start=1):
        panel = dict(panel)
        width, height = panel.pop("_size")
        if x + width > 24:
            assert x == 24, f"the line before {panel['title']} is not full"
            x, y, line_height = 0, y + line_height, 0
        grid_pos = {"x": x, "y": y, "w": width, "h": height}
        placed.append({"id": number, **panel, "gridPos": grid_pos})
        x, line_height = x + width, max(line_height, height)
    assert x == 24, "the last line is not full"
    return placed


def _thresholds(thresholds):
    steps = [{"value": value, "color": color} for value, color in thresholds]
    return {"mode": "absolute", "steps": steps}


def _mappings(mappings):
    if not mappings:
        return []
    options = {
        str(value): {"text": text, "color": color, "index": index}
        for index, (value, (text, color)) in enumerate(mappings.items())
    }
    return [{"type": "value", "options": options}]
