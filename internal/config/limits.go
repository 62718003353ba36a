package config

import "time"

// The limits of an endpoint's settings, for the file and for the API. Sizes are in bytes.
const (
	MinConcurrency = 1
	MaxConcurrency = 256
	MinTimeout     = 100 * time.Millisecond
	MaxTimeout     = 2 * time.Minute
	MinQueueBytes  = 64 << 10
	MaxQueueBytes  = 64 << 20
)

// EndpointDefaults returns the settings of an endpoint that says nothing of them, as the keys of the file have them.
func EndpointDefaults() Endpoint {
	var e Endpoint
	r := newReader("", nil, nil)
	r.object(value{path: "endpoints[]"}, r.endpointSettings(&e)...)
	return e
}
