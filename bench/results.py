"""The figures of a run, each as a median with its spread."""

import json
import statistics


class Figure:
    """Some measurements of the same thing."""

    def __init__(self, values):
        self.median, self.least, self.most = statistics.median(values), min(values), max(values)

    def text(self, scale=1):
        """Median, least and most, in a unit of this scale."""
        median, least, most = (rounded(value * scale) for value in (self.median, self.least, self.most))
        return median if least == most else f"{median} ({least}–{most})"


def rounded(value):
    """A number with three significant digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


class Results:
    """What measure.py has written."""

    def __init__(self, path):
        with open(path) as file:
            self.all = json.load(file)
        self.machine = self.all["machine"]
        first = self.all["rounds_of_loads"][0]
        self.names = list(self.all["metrics"])
        self.connections = [int(count) for count in first[self.names[0]]["loads"]]
        self.counts = list(self.all["metrics"][self.names[0]])

    def rate(self, name, connections):
        """Requests per second."""
        return Figure([load["requests"] / load["seconds"] for load in self._loads(name, connections)])

    def cpu(self, name, connections):
        """Seconds of processor time for a request."""
        return Figure([load["cpu"] / load["requests"] for load in self._loads(name, connections)])

    def load(self, name, connections, what):
        """A figure of a load."""
        return Figure([load[what] for load in self._loads(name, connections)])

    def server(self, name, what):
        """A figure of a server before any load: start, idle."""
        return Figure([figures[name][what] for figures in self.all["rounds_of_loads"]])

    def metrics(self, name, requests, what):
        """A figure of /metrics after so many requests."""
        return Figure([scrape[what] for scrape in self.all["metrics"][name][requests]])

    def _loads(self, name, connections):
        return [figures[name]["loads"][str(connections)] for figures in self.all["rounds_of_loads"]]
