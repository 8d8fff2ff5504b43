package telemetry

// Metric describes one metric.
type Metric struct {
	// Type is counter or gauge. A counter's name ends in _total.
	Name, Type, Help string
	Labels           []string
}

// Types of metrics.
const (
	counter = "counter"
	gauge   = "gauge"
)

// Metrics of the data plane. Labels are bounded: an item is the template of a
// path, never the path that was asked for.
var (
	Requests = Metric{"openimds_requests_total", counter,
		"Requests answered, by dialect, item template, access mode (none, token_free, tokened) and outcome.",
		[]string{"dialect", "item", "access", "outcome"}}
	UnknownCallers = Metric{"openimds_unknown_callers_total", counter,
		"Requests refused because no running instance has the caller's address.", nil}
	SpoofedCallers = Metric{"openimds_spoofed_callers_total", counter,
		"Those of them that came over an interface of the host that a listener is bound to: an address that nobody there has.", nil}
	ForwardersRefused = Metric{"openimds_forwarders_refused_total", counter,
		"Connections to a listener for forwarders that were closed, because their header did not prove for whom they were.", nil}
	HopLimitSuspects = Metric{"openimds_hop_limit_suspects_total", counter,
		"Session tokens given out whose packets nobody acknowledged, as when a container is further away than the hop limit; the usage tells of which instances.", nil}
	Connections = Metric{"openimds_connections", gauge,
		"Connections that are open.", nil}
	ConnectionsAccepted = Metric{"openimds_connections_accepted_total", counter,
		"Connections accepted.", nil}
	ConnectionsRefused = Metric{"openimds_connections_refused_total", counter,
		"Connections closed unanswered, because too many were open in total or for one instance.", []string{"reason"}}
	Instances = Metric{"openimds_instances", gauge,
		"Instances that are served.", nil}
)

// Metrics of role credentials.
var (
	CredentialsMade = Metric{"openimds_credentials_made_total", counter,
		"Sets of role credentials that sources made.", nil}
	CredentialsNotMade = Metric{"openimds_credentials_not_made_total", counter,
		"Calls to sources of role credentials without a set, by reason (refused, failed).", []string{"reason"}}
	CredentialsHeld = Metric{"openimds_credentials_held", gauge,
		"Sets of role credentials that are held and valid.", nil}
	CredentialsEnding = Metric{"openimds_credentials_ending", gauge,
		"Sets of role credentials that end soon and could not be refreshed. Alarm when it is not 0.", nil}
	CredentialsEnded = Metric{"openimds_credentials_ended_total", counter,
		"Sets of role credentials that ended in use and without a successor.", nil}
)

// Metrics of a node that follows a control plane.
var (
	FeedConnected = Metric{"openimds_feed_connected", gauge,
		"1 while the node follows its control plane, 0 while it serves the last good state without.", nil}
	FeedContact = Metric{"openimds_feed_contact_seconds", gauge,
		"When the control plane last said something, in Unix seconds; 0 if it never did.", nil}
	FeedRevision = Metric{"openimds_feed_revision", gauge,
		"Revision of the control plane's state that is in force.", nil}
	FeedUnsaved = Metric{"openimds_feed_unsaved", gauge,
		"1 while the last-good file is behind what is served, because it cannot be written. Alarm when it is not 0.", nil}
	FeedHeldBack = Metric{"openimds_feed_held_back", gauge,
		"Instances that the control plane sent and that are not served as sent, because they contradict others. Alarm when it is not 0.", nil}
	FeedCertificateEnd = Metric{"openimds_feed_certificate_end_seconds", gauge,
		"When the node's certificate ends, in Unix seconds. Alarm a month before.", nil}
)

// Metrics of the place that usage is handed on to.
var (
	UsageLag = Metric{"openimds_usage_remote_lag_seconds", gauge,
		"How long the oldest minute of usage that the remote place has not taken has been due. Alarm when it grows.", nil}
	UsageSent = Metric{"openimds_usage_remote_samples_sent_total", counter,
		"Samples of usage that the remote place took.", nil}
	UsageDropped = Metric{"openimds_usage_remote_samples_dropped_total", counter,
		"Samples of usage that the remote place refused for good. Alarm when it grows.", nil}
	UsageFailed = Metric{"openimds_usage_remote_requests_failed_total", counter,
		"Requests to the remote place that failed, and are tried again.", nil}
	UsageQueries = Metric{"openimds_usage_remote_queries_total", counter,
		"Questions to the remote place about the past, by outcome (answered, failed).", []string{"outcome"}}
)

// Metrics of the process, under the names that Prometheus's own libraries use.
var (
	processStart   = Metric{"process_start_time_seconds", gauge, "When the process was started, in Unix seconds.", nil}
	processMemory  = Metric{"process_resident_memory_bytes", gauge, "Memory that the process has in RAM.", nil}
	processFiles   = Metric{"process_open_fds", gauge, "File descriptors that are open.", nil}
	processMaximum = Metric{"process_max_fds", gauge, "File descriptors that may be open.", nil}
	goroutines     = Metric{"go_goroutines", gauge, "Goroutines that exist.", nil}
	heapBytes      = Metric{"go_memstats_heap_alloc_bytes", gauge, "Bytes of the heap that are allocated and in use.", nil}
)

// All returns the metrics of this project in the order of the reference page.
func All() []Metric {
	all := append(dataPlaneMetrics(), credentialMetrics()...)
	all = append(all, remoteMetrics()...)
	return append(all, feedMetrics()...)
}

func dataPlaneMetrics() []Metric {
	return []Metric{Requests, UnknownCallers, SpoofedCallers, ForwardersRefused, HopLimitSuspects, Connections, ConnectionsAccepted, ConnectionsRefused, Instances}
}

func credentialMetrics() []Metric {
	return []Metric{CredentialsMade, CredentialsNotMade, CredentialsHeld, CredentialsEnding, CredentialsEnded}
}

func feedMetrics() []Metric {
	return []Metric{FeedConnected, FeedContact, FeedRevision, FeedUnsaved, FeedHeldBack, FeedCertificateEnd}
}

func remoteMetrics() []Metric {
	return []Metric{UsageLag, UsageSent, UsageDropped, UsageFailed, UsageQueries}
}

func processMetrics() []Metric {
	return []Metric{processStart, processMemory, processFiles, processMaximum, goroutines, heapBytes}
}
