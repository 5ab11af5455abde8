// The same service in Go, as one would write it with net/http and client_golang.
package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const version = "0.1.0"

var (
	registry = prometheus.NewRegistry()
	factory  = promauto.With(registry)

	requests = factory.NewCounterVec(prometheus.CounterOpts{
		Name: "http_requests_total", Help: "HTTP requests answered.",
	}, []string{"method", "endpoint", "status"})
	durations = factory.NewHistogramVec(prometheus.HistogramOpts{
		Name: "http_request_duration_seconds",
		Help: "Time from the receipt of a request to its answer being ready to send.",
		Buckets: append([]float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025},
			prometheus.DefBuckets...),
	}, []string{"method", "endpoint"})
	inFlight = factory.NewGauge(prometheus.GaugeOpts{
		Name: "active_connections",
		Help: "HTTP requests in flight, from their receipt to the end of the answer, without those of /metrics.",
	})

	// At most this many simulated loads at once.
	loads = make(chan struct{}, 32)
)

func main() {
	registry.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	factory.NewGauge(prometheus.GaugeOpts{
		Name:        "metrics_service_build_info",
		Help:        "Always 1; the label tells which version runs.",
		ConstLabels: prometheus.Labels{"version": version},
	}).Set(1)
	startSeriesAtZero()

	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", readOnly(func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, `{"name":"metrics-service","version":"`+version+`","routes":["/","/health","/simulate-load","/metrics"]}`)
	}))
	mux.HandleFunc("/health", readOnly(func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, `{"status":"ok"}`)
	}))
	mux.HandleFunc("/simulate-load", readOnly(simulateLoad))
	mux.HandleFunc("/metrics", readOnly(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 404, `{"error":"no such path; see / for the routes"}`)
	})
	log.Fatal(http.ListenAndServe(os.Args[1], measured(mux)))
}

func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	io.WriteString(w, body)
}

func readOnly(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "GET" && r.Method != "HEAD" {
			w.Header().Set("Allow", "GET, HEAD")
			answer(w, 405, `{"error":"only GET and HEAD are answered here"}`)
			return
		}
		next(w, r)
	}
}

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func measured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		method, endpoint := labels(r)
		if endpoint != "/metrics" {
			inFlight.Inc()
			defer inFlight.Dec()
		}
		recorded := &recorder{w, 200}
		next.ServeHTTP(recorded, r)
		requests.WithLabelValues(method, endpoint, strconv.Itoa(recorded.status)).Inc()
		durations.WithLabelValues(method, endpoint).Observe(time.Since(start).Seconds())
	})
}

// labels are a closed set: nothing that a client sends becomes one.
func labels(r *http.Request) (method, endpoint string) {
	method, endpoint = "other", "other"
	switch r.Method {
	case "GET", "HEAD":
		method = r.Method
	}
	switch r.URL.Path {
	case "/", "/health", "/simulate-load", "/metrics":
		endpoint = r.URL.Path
	}
	return
}

func startSeriesAtZero() {
	for _, method := range []string{"GET", "HEAD", "other"} {
		for _, endpoint := range []string{"/", "/health", "/simulate-load", "/metrics", "other"} {
			statuses := []string{"200", "500"}
			switch {
			case endpoint == "other":
				statuses = []string{"404"}
			case method == "other":
				statuses = []string{"405"}
			case endpoint == "/simulate-load":
				statuses = []string{"200", "400", "500", "503"}
			}
			durations.WithLabelValues(method, endpoint)
			for _, status := range statuses {
				requests.WithLabelValues(method, endpoint, status)
			}
		}
	}
}

type load struct {
	milliseconds int
	mode         string
	errorRate    float64
}

func parseLoad(query url.Values) (load, error) {
	l := load{50 + rand.IntN(451), "sleep", 0}
	for name, values := range query {
		value, err := values[0], error(nil)
		if len(values) > 1 {
			return l, errors.New("duration_ms, mode and error_rate may be given once each")
		}
		switch name {
		case "duration_ms":
			l.milliseconds, err = strconv.Atoi(value)
			if err != nil || l.milliseconds < 0 || l.milliseconds > 10000 {
				return l, errors.New("duration_ms must be a whole number from 0 to 10000")
			}
		case "mode":
			l.mode = value
			if l.mode != "sleep" && l.mode != "cpu" {
				return l, errors.New("mode must be sleep or cpu")
			}
		case "error_rate":
			l.errorRate, err = strconv.ParseFloat(value, 64)
			if err != nil || !(l.errorRate >= 0 && l.errorRate <= 1) {
				return l, errors.New("error_rate must be a number from 0 to 1")
			}
		default:
			return l, errors.New("unknown parameter; there are duration_ms, mode and error_rate")
		}
	}
	return l, nil
}

func simulateLoad(w http.ResponseWriter, r *http.Request) {
	l, err := parseLoad(r.URL.Query())
	if err != nil {
		answer(w, 400, fmt.Sprintf(`{"error":%q}`, err))
		return
	}
	select {
	case loads <- struct{}{}:
		defer func() { <-loads }()
	default:
		w.Header().Set("Retry-After", "1")
		answer(w, 503, `{"error":"as much load is being simulated as can be; try again later"}`)
		return
	}
	duration := time.Duration(l.milliseconds) * time.Millisecond
	if l.mode == "cpu" {
		for end := time.Now().Add(duration); time.Now().Before(end); {
		}
	} else {
		time.Sleep(duration)
	}
	status, word := 200, `"status":"ok"`
	if rand.Float64() < l.errorRate {
		status, word = 500, `"error":"simulated, as error_rate asks for"`
	}
	answer(w, status, fmt.Sprintf(`{%s,"mode":"%s","duration_ms":%d}`, word, l.mode, l.milliseconds))
}
