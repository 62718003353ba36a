package deliver

import (
	"fmt"
	"net/url"
	"time"

	"github.com/rowhook/rowhook/webhook"
)

// EndpointConfig declares a customer's URL.
type EndpointConfig struct {
	Name string
	URL  string
	// Tenant, if set, keeps out the events of all others.
	Tenant  string
	Secrets []webhook.Secret
	// Concurrency is how many requests may be in flight, at least 1.
	Concurrency int
	// Timeout of a whole attempt.
	Timeout time.Duration
	// QueueBytes bounds the bodies that wait in memory.
	QueueBytes int64
	// Ordered keeps the order of each key.
	Ordered bool
	// UserAgent of the requests.
	UserAgent string
}

// Endpoint is a customer's URL, ready to be sent to.
type Endpoint struct {
	EndpointConfig
	target *Target
	signer *webhook.Signer
	// head is what every request begins with.
	head []byte
}

// NewEndpoint checks the declaration; egress decides which URLs are allowed.
func NewEndpoint(c EndpointConfig, egress *Egress) (*Endpoint, error) {
	if err := egress.CheckURL(c.URL); err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", c.Name, err)
	}
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", c.Name, err)
	}
	signer, err := webhook.NewSigner(c.Secrets...)
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", c.Name, err)
	}
	ep := &Endpoint{EndpointConfig: c, target: newTarget(u), signer: signer}
	ep.head = fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\nContent-Type: application/json\r\n", ep.target.uri, ep.target.host, c.UserAgent)
	return ep, nil
}
