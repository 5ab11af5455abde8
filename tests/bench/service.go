// GET / and /metrics of the service, written with net/http and client_golang.
package main

import (
	"log"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const body = `{"name":"metrics-service","version":"0.1.0","routes":["/","/health","/simulate-load","/metrics"]}`

var (
	requests = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "http_requests_total", Help: "HTTP requests answered.",
	}, []string{"method", "endpoint", "status"})
	durations = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Name: "http_request_duration_seconds", Help: "Time until the response is ready.",
		Buckets: append([]float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025}, prometheus.DefBuckets...),
	}, []string{"method", "endpoint"})
	inFlight = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "active_connections", Help: "HTTP requests in flight.",
	})
)

func main() {
	// About as many series as the service has.
	for _, endpoint := range []string{"/", "/health", "/simulate-load", "/metrics", "other"} {
		for _, method := range []string{"GET", "HEAD", "other"} {
			durations.WithLabelValues(method, endpoint)
			for _, status := range []string{"200", "500"} {
				requests.WithLabelValues(method, endpoint, status)
			}
		}
	}
	http.Handle("/metrics", promhttp.Handler())
	http.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		inFlight.Inc()
		defer inFlight.Dec()
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(body))
		requests.WithLabelValues(r.Method, "/", "200").Inc()
		durations.WithLabelValues(r.Method, "/").Observe(time.Since(start).Seconds())
	})
	log.Fatal(http.ListenAndServe(os.Args[1], nil))
}
