package app

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/rowhook/rowhook/internal/deliver"
)

// metrics turns what the stages count into Prometheus metrics. Timestamps are exported, not ages: the query computes those.
type metrics struct {
	app      *App
	registry *prometheus.Registry
	next     deliver.Observer

	attempts *prometheus.CounterVec
	latency  prometheus.Histogram
}

func newMetrics(a *App, next deliver.Observer) *metrics {
	m := &metrics{
		app: a, next: next, registry: prometheus.NewRegistry(),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rowhook_delivery_attempts_total", Help: "Requests to endpoints by outcome.",
		}, []string{"outcome"}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "rowhook_delivery_seconds", Help: "From commit to 2xx.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 15, 60, 300, 3600},
		}),
	}
	m.registry.MustRegister(m.attempts, m.latency, m, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Attempted counts an attempt.
func (m *metrics) Attempted(at deliver.Attempt, commit, answered time.Time) {
	m.attempts.WithLabelValues(at.Outcome).Inc()
	if at.Outcome == "ok" {
		m.latency.Observe(answered.Sub(commit).Seconds())
	}
	if m.next != nil {
		m.next.Attempted(at, commit, answered)
	}
}

// sourceMetric is one number of a source.
type sourceMetric struct {
	name, help string
	kind       prometheus.ValueType
	value      func(*source) float64
}

func sourceMetrics() []sourceMetric {
	return []sourceMetric{
		{"rowhook_source_running", "1 while the source is followed or being reconnected to, 0 after it stopped.", prometheus.GaugeValue,
			func(s *source) float64 {
				if state, _ := s.status(); state == sourceStopped {
					return 0
				}
				return 1
			}},
		{"rowhook_source_last_packet_timestamp_seconds", "When the source last sent anything, heartbeats included.", prometheus.GaugeValue,
			func(s *source) float64 { return seconds(s.capture.Status().LastHeard) }},
		{"rowhook_source_commit_timestamp_seconds", "Commit time of the newest transaction in the log.", prometheus.GaugeValue,
			func(s *source) float64 { return seconds(s.capture.Status().CommitTime) }},
		{"rowhook_source_connections_lost_total", "Connections to the source that were lost.", prometheus.CounterValue,
			func(s *source) float64 { return float64(s.capture.Status().Retries) }},
		{"rowhook_source_purge_margin_seconds", "How long until the server may purge the binlog that the source needs next; +Inf if never.", prometheus.GaugeValue,
			func(s *source) float64 { return s.purgeMargin() }},
		{"rowhook_source_changes_total", "Row changes appended to the log.", prometheus.CounterValue,
			func(s *source) float64 { return float64(s.capture.Status().Changes) }},
		{"rowhook_source_bytes_total", "Bytes appended to the log.", prometheus.CounterValue,
			func(s *source) float64 { return float64(s.capture.Status().Bytes) }},
		{"rowhook_log_next_seq", "Seq of the next change.", prometheus.GaugeValue,
			func(s *source) float64 { n, _, _ := s.log.Tail(); return float64(n) }},
		{"rowhook_deliver_live_seq", "Seq up to which live endpoints were offered events.", prometheus.GaugeValue,
			func(s *source) float64 { return float64(s.engine.Stats().LiveSeq.Load()) }},
		{"rowhook_deliver_lagging_endpoints", "Endpoints that are behind and served from the log.", prometheus.GaugeValue,
			func(s *source) float64 { return float64(s.engine.Stats().Lagging.Load()) }},
		{"rowhook_deliver_parked_total", "Events parked since the start.", prometheus.CounterValue,
			func(s *source) float64 { return float64(s.engine.Stats().Parked.Load()) }},
	}
}

func seconds(t time.Time) float64 {
	if t.UnixMicro() <= 0 {
		return 0
	}
	return float64(t.UnixMicro()) / 1e6
}

// Describe sends nothing: the metrics are made anew at each scrape.
func (m *metrics) Describe(chan<- *prometheus.Desc) {}

// Collect reads every source.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	for _, sm := range sourceMetrics() {
		d := prometheus.NewDesc(sm.name, sm.help, []string{"source"}, nil)
		for _, s := range m.app.sources {
			ch <- prometheus.MustNewConstMetric(d, sm.kind, sm.value(s), s.name)
		}
	}
}
