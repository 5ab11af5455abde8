"""The same service in FastAPI, as one would write it with uvicorn and prometheus_client."""

import asyncio
import random
import sys
import time
from typing import Annotated, Literal

import uvicorn
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client import disable_created_metrics, generate_latest
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException as StarletteHTTPException

VERSION = "0.1.0"
ROUTES = ["/", "/health", "/simulate-load", "/metrics"]
LOADS = 32  # simulated loads at once, at most

disable_created_metrics()
registry = CollectorRegistry()
ProcessCollector(registry=registry)
requests = Counter(
    "http_requests_total", "HTTP requests answered.", ["method", "endpoint", "status"], registry=registry
)
durations = Histogram(
    "http_request_duration_seconds",
    "Time from the receipt of a request to its answer being ready to send.",
    ["method", "endpoint"],
    buckets=[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registry=registry,
)
in_flight = Gauge(
    "active_connections",
    "HTTP requests in flight, from their receipt to the end of the answer, without those of /metrics.",
    registry=registry,
)
build_info = Gauge(
    "metrics_service_build_info", "Always 1; the label tells which version runs.", ["version"], registry=registry
)
build_info.labels(VERSION).set(1)


def statuses(method: str, endpoint: str) -> list[int]:
    if endpoint == "other":
        return [404]
    if method == "other":
        return [405]
    return [200, 400, 500, 503] if endpoint == "/simulate-load" else [200, 500]


for method in ["GET", "HEAD", "other"]:
    for endpoint in [*ROUTES, "other"]:
        durations.labels(method, endpoint)
        for status in statuses(method, endpoint):
            requests.labels(method, endpoint, status)

app = FastAPI(openapi_url=None)
loads = 0


@app.middleware("http")
async def measured(request: Request, call_next):
    start = time.perf_counter()
    # Labels are a closed set: nothing that a client sends becomes one.
    method = request.method if request.method in ("GET", "HEAD") else "other"
    endpoint = request.url.path if request.url.path in ROUTES else "other"
    if endpoint == "/metrics":
        response = await call_next(request)
    else:
        with in_flight.track_inprogress():
            response = await call_next(request)
    requests.labels(method, endpoint, response.status_code).inc()
    durations.labels(method, endpoint).observe(time.perf_counter() - start)
    return response


@app.api_route("/", methods=["GET", "HEAD"])
async def root():
    return {"name": "metrics-service", "version": VERSION, "routes": ROUTES}


@app.api_route("/health", methods=["GET", "HEAD"])
async def health():
    return {"status": "ok"}


@app.api_route("/metrics", methods=["GET", "HEAD"])
async def metrics():
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class Load(BaseModel):
    model_config = ConfigDict(extra="forbid")
    duration_ms: Annotated[int | None, Field(ge=0, le=10000)] = None
    mode: Literal["sleep", "cpu"] = "sleep"
    error_rate: Annotated[float, Field(ge=0, le=1)] = 0


def burn(seconds: float):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


@app.api_route("/simulate-load", methods=["GET", "HEAD"])
async def simulate_load(load: Annotated[Load, Query()]):
    global loads
    if loads == LOADS:
        busy = "as much load is being simulated as can be; try again later"
        raise HTTPException(503, busy, headers={"Retry-After": "1"})
    milliseconds = random.randint(50, 500) if load.duration_ms is None else load.duration_ms
    loads += 1
    try:
        if load.mode == "cpu":
            await run_in_threadpool(burn, milliseconds / 1000)
        else:
            await asyncio.sleep(milliseconds / 1000)
    finally:
        loads -= 1
    did = {"mode": load.mode, "duration_ms": milliseconds}
    if random.random() < load.error_rate:
        return JSONResponse({"error": "simulated, as error_rate asks for", **did}, 500)
    return {"status": "ok", **did}


RANGES = {
    "duration_ms": "duration_ms must be a whole number from 0 to 10000",
    "mode": "mode must be sleep or cpu",
    "error_rate": "error_rate must be a number from 0 to 1",
}


@app.exception_handler(RequestValidationError)
async def bad_request(_: Request, error: RequestValidationError):
    unknown = "unknown parameter; there are duration_ms, mode and error_rate"
    return JSONResponse({"error": RANGES.get(error.errors()[0]["loc"][-1], unknown)}, 400)


@app.exception_handler(StarletteHTTPException)
async def refused(_: Request, error: StarletteHTTPException):
    reasons = {404: "no such path; see / for the routes", 405: "only GET and HEAD are answered here"}
    return JSONResponse({"error": reasons.get(error.status_code, error.detail)}, error.status_code, error.headers)


if __name__ == "__main__":
    host, _, port = sys.argv[1].rpartition(":")
    # No log line per request: the other services write none either.
    uvicorn.run(app, host=host, port=int(port), access_log=False, log_level="warning")
