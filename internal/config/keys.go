package config

// Key is one key of rowhook.yaml.
type Key struct {
	// Path is where it stands; [] stands for any element of a list, as in
	// sources[].tls.mode.
	Path string
	// Required keys have no default.
	Required bool
	// Default is the value of an absent key, as it would be written in the
	// file. It is empty for required keys, for keys that then mean nothing,
	// and for those that only hold other keys.
	Default string
	// Value says what may be written.
	Value string
	// Doc says what it means.
	Doc string
	// Reason says why the default, or a limit, is what it is.
	Reason string

	holder bool // holds other keys, which have defaults of their own
	secret bool // the value is never shown
}

// Keys returns every key of rowhook.yaml, in the order of the documentation. It
// is the only place where a default stands: Load reads them from here.
func Keys() []Key {
	var all []Key
	for _, part := range [][]Key{
		processKeys(), sourceKeys(), typeKeys(), endpointKeys(), subscriptionKeys(), egressKeys(), deliveryKeys(), encryptionKeys(), servingKeys(),
	} {
		all = append(all, part...)
	}
	return all
}

func processKeys() []Key {
	return []Key{
		{
			Path: "data_dir", Default: "./rowhook-data", Value: "folder",
			Doc:    "The folder of the log, the store and the journal. It belongs to one running Rowhook at a time.",
			Reason: "Beside the configuration, so that a first try needs no rights outside its folder.",
		},
		{Path: "log", holder: true, Value: "keys below", Doc: "The durable log of changes."},
		{
			Path: "log.retention", Default: "96h", Value: "duration, longer than the whole of delivery.retry",
			Doc:    "The age at which blocks of changes expire. Size never expires them: a full disk stops capture and loses nothing.",
			Reason: "The default retry schedule takes 75h35m5s; a day more lets an operator step in before an event that still waits has left the log.",
		},
		{
			Path: "log.ring_bytes", Default: "16MiB", Value: "size, 1MiB to 256MiB",
			Doc:    "Memory for the newest blocks of one source, which readers take from there and not from the disk.",
			Reason: "64 blocks of 256 KiB, or 16 in bulk: a reader that is a few fsyncs behind still finds them, and with the queues of busy endpoints it stays within 256 MiB.",
		},
	}
}

func sourceKeys() []Key {
	return []Key{
		{Path: "sources", Required: true, holder: true, Value: "list of sources", Doc: "The servers that are followed as a replica; at least one."},
		{
			Path: "sources[].name", Required: true, Value: "1 to 32 of a-z 0-9 _ -",
			Doc: "Names the source in events, metrics and commands. It is part of every event's id: a new name gives new ids.",
		},
		{
			Path: "sources[].dsn", Required: true, secret: true, Value: "mysql://user:password@host:port/",
			Doc: "Where the server is and who we are there; the port is 3306 unless it is given. A variable that stands for the user or the password is " +
				"taken as it is; written out, the characters %, /, ?, # and @ in them need percent-encoding.",
		},
		{Path: "sources[].tls", holder: true, Value: "keys below", Doc: "TLS to the server."},
		{
			Path: "sources[].tls.mode", Default: "preferred", Value: "disabled, preferred, required, verify-ca or verify-identity",
			Doc:    "How much is insisted on: with preferred and required nothing about the server is verified, verify-ca checks its certificate, verify-identity its host name too.",
			Reason: "What MySQL's own clients do. Across a network that is not yours, use verify-identity.",
		},
		{
			Path: "sources[].tls.ca", Value: "file (PEM)",
			Doc: "The authority that signed the server's certificate, for the modes that verify; without it the system's roots are used.",
		},
		{Path: "sources[].tls.cert", Value: "file (PEM)", Doc: "Our own certificate, where the server asks for one."},
		{Path: "sources[].tls.key", Value: "file (PEM)", Doc: "The key of our own certificate."},
		{
			Path: "sources[].server_id", Default: "0", Value: "0 to 4294967295",
			Doc:    "Our server_id as a replica, unique among the server's replicas. 0 derives one.",
			Reason: "A derived id needs no bookkeeping; set one where the ids of all replicas are assigned by hand.",
		},
		{
			Path: "sources[].heartbeat", Default: "5s", Value: "duration, 1s to 10s",
			Doc:    "How often the server says that it is there while it has nothing to say. The connection counts as dead after three times this.",
			Reason: "A dead link is named after 15 s. More than 10s would break the promise to name any outage within 30 s; below 1s it is load without news.",
		},
		{
			Path: "sources[].generation", Default: "1", Value: "1 to 4294967295",
			Doc:    "Part of every event's id. Raise it when the server's data was replaced by other data, for instance by an older backup.",
			Reason: "The first data has the first generation.",
		},
		{
			Path: "sources[].attach", Default: "now", Value: "now or earliest",
			Doc:    "Where a source without a log begins: at the server's present position, or at the oldest binlog it still has.",
			Reason: "Nobody expects webhooks about last week on a first start.",
		},
		{
			Path: "sources[].tables", Required: true, Value: "list of schema.table, where * is any run of characters",
			Doc: "The tables whose changes enter the log. No other table's rows are stored anywhere.",
		},
		{
			Path: "sources[].exclude_columns", Default: "[]", Value: "list of schema.table.column, where * is any run of characters",
			Doc:    "Columns that are left out before the log.",
			Reason: "Only columns that an event type names leave Rowhook anyway; this keeps others from its disk.",
		},
	}
}

func typeKeys() []Key {
	return []Key{
		{
			Path: "types", Default: "[]", Value: "list of files, where * is any run of characters",
			Doc:    "The files of event types. A pattern that matches no file is an error.",
			Reason: "A source can be followed before it is decided what to tell about it.",
		},
	}
}

func endpointKeys() []Key {
	return []Key{
		{Path: "endpoints", Default: "[]", holder: true, Value: "list of endpoints", Doc: "The URLs that events are sent to.", Reason: "As for types."},
		{Path: "endpoints[].name", Required: true, Value: "1 to 64 of a-z 0-9 _ - .", Doc: "Names the endpoint; its progress is kept under this name. Names that begin with ep_ are the API's."},
		{
			Path: "endpoints[].url", Required: true, secret: true, Value: "https URL",
			Doc: "Where requests are sent. egress says which URLs are accepted.",
		},
		{Path: "endpoints[].tenant", Value: "text", Doc: "If set, the endpoint gets events of this tenant alone, whatever its subscriptions say."},
		{
			Path: "endpoints[].secrets", Required: true, secret: true, Value: "list of whsec_… or whsk_…",
			Doc: "What signs each request, the newest first. Several at once let a receiver change over without a gap.",
		},
		{
			Path: "endpoints[].concurrency", Default: "16", Value: "1 to 256",
			Doc:    "Requests in flight at once.",
			Reason: "At 20 ms an answer that is 800 events a second, and hardly a load for a receiver.",
		},
		{
			Path: "endpoints[].timeout", Default: "20s", Value: "duration, 100ms to 2m",
			Doc:    "The time of one attempt, from connecting, which may take 5 s of it, to the end of the answer.",
			Reason: "Long enough for a receiver that does its work before it answers, short enough that one that hangs is seen.",
		},
		{
			Path: "endpoints[].queue_bytes", Default: "4MiB", Value: "size, 64KiB to 64MiB",
			Doc:    "Memory for payloads that wait for this endpoint. Beyond it the endpoint lags and is served from the log.",
			Reason: "Some thousands of events: enough to keep its connections busy, and 32 full queues still fit in 128 MiB.",
		},
		{
			Path: "endpoints[].order", Default: "key", Value: "key or none",
			Doc:    "key: an event waits until the one before it with the same key was accepted or parked. none: nothing waits.",
			Reason: "A receiver that keeps a copy of rows is right with no effort of its own.",
		},
	}
}

func subscriptionKeys() []Key {
	return []Key{
		{
			Path: "subscriptions", Default: "[]", holder: true, Value: "list of subscriptions", Doc: "Which endpoint gets which events. An event that several subscriptions of an endpoint match is sent once.",
			Reason: "As for types.",
		},
		{Path: "subscriptions[].name", Required: true, Value: "1 to 64 of a-z 0-9 _ - .", Doc: "Names the subscription, uniquely within its endpoint."},
		{Path: "subscriptions[].endpoint", Required: true, Value: "name of an endpoint", Doc: "The endpoint."},
		{
			Path: "subscriptions[].types", Required: true, Value: "list of event types, where * is any run of characters",
			Doc: "The types of events. Each pattern has to match a type that is declared.",
		},
		{Path: "subscriptions[].subject", Value: "subject, where * is any run of characters", Doc: "If set, only events about these subjects."},
		{
			Path: "subscriptions[].from", Default: "now", Value: "now, earliest or a time such as 2026-11-22T09:30:00Z",
			Doc:    "Where a new subscription begins: with the next change, with the oldest that the log still has, or with the first that committed at the time or later.",
			Reason: "As for sources[].attach.",
		},
	}
}

func egressKeys() []Key {
	return []Key{
		{Path: "egress", holder: true, Value: "keys below", Doc: "Where deliveries may go."},
		{
			Path: "egress.allow_http", Default: "false", Value: "true or false",
			Doc:    "Lets http URLs through beside https.",
			Reason: "Events are somebody's data.",
		},
		{
			Path: "egress.allow", Default: "[]", Value: "list of CIDR ranges",
			Doc:    "Ranges that are opened although they are private, loopback, link-local or reserved otherwise.",
			Reason: "An endpoint's URL comes from outside; it must not reach into our network.",
		},
		{
			Path: "egress.deny", Default: "[]", Value: "list of CIDR ranges",
			Doc:    "Ranges that are closed although they are public or allowed.",
			Reason: "Public addresses of one's own that trust each other are rare; name them here.",
		},
	}
}

func deliveryKeys() []Key {
	return []Key{
		{Path: "delivery", holder: true, Value: "keys below", Doc: "How deliveries are retried and recorded."},
		{
			Path: "delivery.retry", Default: "[5s, 5m, 30m, 2h, 5h, 10h, 14h, 20h, 24h]", Value: "list of at most 32 durations, each 10ms to 168h",
			Doc:    "The waits before the second and each further attempt, each drawn between zero and the value. After the last one fails the event is parked; with an empty list after the first.",
			Reason: "A deployment is survived within minutes, a weekend without anybody on call within the whole of it.",
		},
		{
			Path: "delivery.progress_interval", Default: "100ms", Value: "duration, 1ms to 100ms",
			Doc:    "How often progress is written. A crash repeats at most what was accepted since, with the same ids.",
			Reason: "Ten writes a second cost nothing; a longer window would break the promise on repeats.",
		},
		{
			Path: "delivery.attempts_retention", Default: "168h", Value: "duration, longer than the whole of delivery.retry",
			Doc:    "How long the record of attempts is kept.",
			Reason: "A week, so that a question on Monday about last Monday has an answer; shorter than the schedule, an event would be parked with its first failures forgotten.",
		},
	}
}

func encryptionKeys() []Key {
	return []Key{
		{Path: "encryption", holder: true, Value: "keys below", Doc: "What encrypts the secrets of endpoints that the API made, where the store keeps them."},
		{
			Path: "encryption.keys", secret: true, Value: "list of base64 of 32 bytes, from ${VARIABLES}",
			Doc: "The keys, the newest first: it encrypts, all of them decrypt. To rotate, put a new one in front, restart, and remove the old one after the log said that all is encrypted anew.",
		},
		{
			Path: "encryption.key_file", Value: "file with one key a line, the newest first",
			Doc: "The same from a file; keys stand before it. If neither is set: rowhook.key in data_dir, which is made at the first start. Keep it apart from backups.",
		},
	}
}

func servingKeys() []Key {
	return []Key{
		{Path: "http", holder: true, Value: "keys below", Doc: "Where Rowhook itself answers: the API, /metrics and /livez."},
		{
			Path: "http.listen", Default: "127.0.0.1:8500", Value: "host:port",
			Doc:    "The address; port 0 takes any free one and logs it. The API asks for a key here, /metrics and /livez do not.",
			Reason: "Metrics are nobody's business outside the machine unless you say so.",
		},
		{
			Path: "http.socket", Value: "path of a Unix socket, at most 100 bytes",
			Doc: "Where the commands of this machine find the process; whoever may open the file may do everything. If absent: rowhook.sock in data_dir.",
		},
		{Path: "http.tls", holder: true, Value: "keys below", Doc: "TLS at http.listen. Without it the API should not be reached from another machine, or through a proxy that has TLS."},
		{Path: "http.tls.cert", Value: "file (PEM)", Doc: "The certificate, with those between it and its root."},
		{Path: "http.tls.key", Value: "file (PEM)", Doc: "Its key."},
		{Path: "logging", holder: true, Value: "keys below", Doc: "What Rowhook says on standard error."},
		{
			Path: "logging.level", Default: "info", Value: "debug, info, warn or error",
			Doc:    "The least level that is written.",
			Reason: "Info is a line for each thing that changes state, none for each event.",
		},
		{
			Path: "logging.format", Default: "text", Value: "text or json",
			Doc:    "The form of a line.",
			Reason: "The first reader is a person.",
		},
	}
}
