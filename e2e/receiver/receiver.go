package receiver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rowhook/rowhook/webhook"
)

// Defaults of Options.
const (
	defaultKeep    = 1 << 20
	defaultMaxBody = 8 << 20
)

// Options say how to receive. Only Secrets are needed.
type Options struct {
	// Addr is the address to listen on, host:port; empty means any free port of 127.0.0.1.
	Addr string
	// Secrets verify the requests of every path that PathSecrets does not name.
	Secrets []webhook.Secret
	// PathSecrets verify the requests of single paths.
	PathSecrets map[string][]webhook.Secret
	// Key names the fields of data that are recorded as Delivery.Key; those a body does not have are passed over.
	Key []string
	// Version names an integer field of data that is recorded as Delivery.Version.
	Version string
	// Raw takes any body: nothing is read from it.
	Raw bool
	// Keep is how many records are kept, about 350 bytes each; 0 means 1,048,576. -1 keeps none, and remembers no id either: each
	// delivery is the first of its id then.
	Keep int
	// MaxBody bounds one body in bytes; 0 means 8 MiB.
	MaxBody int64
	// Check, if set, may find fault with a verified delivery, Body included, such as values that are not what was written. It is
	// refused then. Check is called from many goroutines at once.
	Check func(http.Header, Delivery) error
}

// Receiver is one running receiver. Its methods may be called from any goroutine.
type Receiver struct {
	opts      Options
	verifier  *webhook.Verifier
	verifiers map[string]*webhook.Verifier
	listener  net.Listener
	server    *http.Server
	closed    chan struct{}
	closing   sync.Once
	running   sync.WaitGroup
	observer  atomic.Pointer[func(Delivery)]

	mu      sync.Mutex
	rules   map[string]Rule
	ledger  ledger
	waiters map[chan struct{}]struct{}
}

// New starts a receiver; the caller closes it.
func New(o Options) (*Receiver, error) {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	if o.Keep == 0 {
		o.Keep = defaultKeep
	}
	if o.MaxBody == 0 {
		o.MaxBody = defaultMaxBody
	}
	r := &Receiver{
		opts: o, closed: make(chan struct{}), verifiers: map[string]*webhook.Verifier{}, rules: map[string]Rule{},
		ledger: newLedger(o.Keep), waiters: map[chan struct{}]struct{}{},
	}
	if err := r.makeVerifiers(); err != nil {
		return nil, err
	}
	return r, r.listen()
}

func (r *Receiver) makeVerifiers() (err error) {
	if len(r.opts.Secrets) > 0 || len(r.opts.PathSecrets) == 0 {
		if r.verifier, err = webhook.NewVerifier(r.opts.Secrets); err != nil {
			return fmt.Errorf("the receiver's secrets: %w", err)
		}
	}
	for path, secrets := range r.opts.PathSecrets {
		if r.verifiers[path], err = webhook.NewVerifier(secrets); err != nil {
			return fmt.Errorf("the secrets of %s: %w", path, err)
		}
	}
	return nil
}

func (r *Receiver) listen() error {
	listener, err := net.Listen("tcp", r.opts.Addr)
	if err != nil {
		return fmt.Errorf("receiver: %w", err)
	}
	r.listener = listener
	r.server = &http.Server{
		Handler:           http.HandlerFunc(r.serve),
		ReadHeaderTimeout: 10 * time.Second,
		// Senders are killed in the middle of requests; that is no news.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	r.running.Go(func() { _ = r.server.Serve(listener) })
	return nil
}

// Addr is the host:port that is listened on.
func (r *Receiver) Addr() string { return r.listener.Addr().String() }

// URL is the address of one path, "/orders" or "orders".
func (r *Receiver) URL(path string) string {
	if path == "" || path[0] != '/' {
		path = "/" + path
	}
	return "http://" + r.Addr() + path
}

// OnDelivery sets what is called with each verified delivery, once its answer is decided and before it is given. It is called from
// many goroutines at once and holds up the answer; nil ends it.
func (r *Receiver) OnDelivery(observe func(Delivery)) {
	if observe == nil {
		r.observer.Store(nil)
		return
	}
	r.observer.Store(&observe)
}

// Close breaks all connections, ends what hangs, and waits for it. What was recorded can still be asked for. The second call does
// nothing.
func (r *Receiver) Close() error {
	var err error
	r.closing.Do(func() {
		close(r.closed)
		err = r.server.Close()
	})
	r.running.Wait()
	return err
}

// serve handles one request.
func (r *Receiver) serve(w http.ResponseWriter, req *http.Request) {
	if !r.enter() {
		panic(http.ErrAbortHandler)
	}
	defer r.running.Done()
	d, err := r.receive(req)
	if err != nil {
		r.refuse(w, req.URL.Path, err)
		return
	}
	rule, record := r.arrive(&d)
	b := rule(d)
	d.Status = b.status()
	r.decide(record, d.Status)
	if observe := r.observer.Load(); observe != nil {
		(*observe)(d)
	}
	r.act(w, req, b, func() { r.answering(record) })
}

// enter counts one more request, unless the receiver is closing.
func (r *Receiver) enter() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.closed:
		return false
	default:
		r.running.Add(1)
		return true
	}
}

// receive reads and verifies a request.
func (r *Receiver) receive(req *http.Request) (Delivery, error) {
	verifier := r.verifiers[req.URL.Path]
	if verifier == nil {
		verifier = r.verifier
	}
	if verifier == nil {
		return Delivery{}, fmt.Errorf("no secret for path %s", req.URL.Path)
	}
	if req.Method != http.MethodPost {
		return Delivery{}, fmt.Errorf("method is %s", req.Method)
	}
	message, err := verifier.VerifyRequest(req, r.opts.MaxBody)
	if err != nil {
		return Delivery{}, err
	}
	d, err := r.parse(req.URL.Path, message.ID, req.Header, message.Body)
	if err == nil && r.opts.Check != nil {
		err = r.opts.Check(req.Header, d)
	}
	if err != nil {
		return d, fmt.Errorf("%s: %w", message.ID, err)
	}
	d.At = time.Now()
	return d, nil
}

// refuse answers a request that is not a delivery.
func (r *Receiver) refuse(w http.ResponseWriter, path string, err error) {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, context.Canceled) || isNet(err) {
		r.cut(path) // the sender went away in the middle; nobody reads an answer
		panic(http.ErrAbortHandler)
	}
	r.refused(path, err)
	http.Error(w, err.Error(), http.StatusUnauthorized)
}

// isNet reports whether the connection failed.
func isNet(err error) bool {
	var netError net.Error
	return errors.As(err, &netError)
}
