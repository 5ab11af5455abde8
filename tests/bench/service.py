"""GET / and /metrics of the service, written with FastAPI, uvicorn and prometheus_client."""

import sys
import time

import uvicorn
from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram
from prometheus_client import disable_created_metrics, generate_latest

BUCKETS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, *Histogram.DEFAULT_BUCKETS]
ROUTES = ["/", "/health", "/simulate-load", "/metrics"]

# Neither of the other two has series of creation times.
disable_created_metrics()
requests = Counter(
    "http_requests_total", "HTTP requests answered.", ["method", "endpoint", "status"]
)
durations = Histogram(
    "http_request_duration_seconds",
    "Time until the response is ready.",
    ["method", "endpoint"],
    buckets=BUCKETS,
)
in_flight = Gauge("active_connections", "HTTP requests in flight.")

# About as many series as the service has.
for endpoint in [*ROUTES, "other"]:
    for method in ["GET", "HEAD", "other"]:
        durations.labels(method, endpoint)
        for status in ["200", "500"]:
            requests.labels(method, endpoint, status)

app = FastAPI(openapi_url=None)


@app.get("/metrics")
async def metrics():
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


@app.get("/")
async def root(request: Request):
    start = time.perf_counter()
    with in_flight.track_inprogress():
        body = {"name": "metrics-service", "version": "0.1.0", "routes": ROUTES}
    requests.labels(request.method, "/", "200").inc()
    durations.labels(request.method, "/").observe(time.perf_counter() - start)
    return body


if __name__ == "__main__":
    host, port = sys.argv[1].split(":")
    # The other two write no line per request either.
    uvicorn.run(app, host=host, port=int(port), access_log=False, log_level="warning")
