package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/rowhook/rowhook/internal/app"
	"github.com/rowhook/rowhook/internal/config"
)

const defaultConfig = "rowhook.yaml"

func newServe() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use: "serve", Short: "Follow the sources and deliver their events",
		Long: "Follow the sources and deliver their events until a signal comes. The first signal lets requests in flight finish, the second\n" +
			"ends at once; both are safe. SIGHUP reads the configuration and the event types again, as rowhook reload does.",
		RunE: func(c *cobra.Command, _ []string) error {
			load := func() (*config.Config, error) { return config.Load(path, os.LookupEnv) }
			cfg, err := load()
			if err != nil {
				return err
			}
			log := newLogger(os.Stderr, cfg.Logging)
			// Before anything takes time: the signal's own effect would be to end the process.
			hangups := make(chan os.Signal, 1)
			signal.Notify(hangups, syscall.SIGHUP)
			defer signal.Stop(hangups)
			a, err := app.New(c.Context(), app.Options{Config: cfg, Load: load, Log: log, Version: version})
			if err != nil && c.Context().Err() != nil && errors.Is(err, context.Canceled) {
				log.Info("stopped before it was ready")
				return nil
			}
			if err != nil {
				return err
			}
			log.Info("serving", "version", version, "http", a.Addr(), "sources", len(cfg.Sources), "endpoints", len(cfg.Endpoints))
			stop := reloadOn(c.Context(), hangups, a)
			err = a.Run(c.Context())
			stop()
			if cerr := a.Close(); err == nil && cerr != nil {
				err = fmt.Errorf("close: %w", cerr)
			}
			if err == nil {
				log.Info("stopped")
			}
			return err
		},
	}
	c.Flags().StringVarP(&path, "config", "c", defaultConfig, "the configuration file")
	return c
}

// reloadOn reloads at each signal until the function that it returns is called, which waits for a reload under way.
func reloadOn(ctx context.Context, hangups <-chan os.Signal, a *app.App) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-hangups:
				a.Reload(ctx) // logs what came of it
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

func newLogger(w io.Writer, l config.Logging) *slog.Logger {
	o := &slog.HandlerOptions{Level: l.Level}
	if l.Format == config.LogJSON {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
