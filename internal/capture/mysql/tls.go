package mysql

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	driver "github.com/go-sql-driver/mysql"
)

// TLSMode says how far a connection is secured.
type TLSMode string

// The modes, as MySQL's own clients name them. The empty mode is TLSPreferred.
const (
	TLSDisabled       TLSMode = "disabled"
	TLSPreferred      TLSMode = "preferred"       // encrypted if the server can, unverified
	TLSRequired       TLSMode = "required"        // encrypted, unverified
	TLSVerifyCA       TLSMode = "verify-ca"       // the certificate must come from the CA
	TLSVerifyIdentity TLSMode = "verify-identity" // and name the host
)

// TLS secures both connections to the server.
type TLS struct {
	Mode TLSMode
	// CA is the file of accepted authorities; empty means the system's.
	CA string
	// Cert and Key are the files of a client certificate.
	Cert, Key string
}

// apply puts the settings into the driver's configuration; the dump connection takes them from there.
func (t TLS) apply(dsn *driver.Config) error {
	if t == (TLS{}) && (dsn.TLS != nil || dsn.TLSConfig != "") {
		return nil // the DSN said it
	}
	if dsn.Net == "unix" && (t.Mode == "" || t.Mode == TLSPreferred) {
		return nil
	}
	cfg, err := t.config(host(dsn))
	if err != nil {
		return err
	}
	dsn.TLS, dsn.TLSConfig = cfg, ""
	dsn.AllowFallbackToPlaintext = t.Mode == "" || t.Mode == TLSPreferred
	return nil
}

func (t TLS) config(host string) (*tls.Config, error) {
	cfg := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	switch t.Mode {
	case TLSDisabled:
		return nil, nil
	case "", TLSPreferred, TLSRequired:
		cfg.InsecureSkipVerify = true
	case TLSVerifyCA:
		cfg.InsecureSkipVerify = true // the name is not to be checked; the chain is, below
		cfg.VerifyConnection = verifyChain(cfg)
	case TLSVerifyIdentity:
	default:
		return nil, fmt.Errorf("tls mode %q: use disabled, preferred, required, verify-ca or verify-identity", t.Mode)
	}
	if err := t.loadFiles(cfg); err != nil {
		return nil, err
	}
	return cfg, nil
}

func (t TLS) loadFiles(cfg *tls.Config) error {
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return fmt.Errorf("read tls ca: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("tls ca %s holds no PEM certificate", t.CA)
		}
	}
	if t.Cert == "" && t.Key == "" {
		return nil
	}
	if t.Cert == "" || t.Key == "" {
		return errors.New("tls cert and key must be given together")
	}
	pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return fmt.Errorf("read tls client certificate: %w", err)
	}
	cfg.Certificates = []tls.Certificate{pair}
	return nil
}

// verifyChain checks the server's certificate against the CA and not its name.
func verifyChain(cfg *tls.Config) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return errors.New("the server sent no certificate")
		}
		opts := x509.VerifyOptions{Roots: cfg.RootCAs, Intermediates: x509.NewCertPool()}
		for _, c := range state.PeerCertificates[1:] {
			opts.Intermediates.AddCert(c)
		}
		if _, err := state.PeerCertificates[0].Verify(opts); err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
		}
		return nil
	}
}
