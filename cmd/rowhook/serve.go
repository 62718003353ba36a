package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

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
			"ends at once; both are safe.",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := config.Load(path, os.LookupEnv)
			if err != nil {
				return err
			}
			log := newLogger(os.Stderr, cfg.Logging)
			a, err := app.New(c.Context(), app.Options{Config: cfg, Log: log, Version: version})
			if err != nil && c.Context().Err() != nil && errors.Is(err, context.Canceled) {
				log.Info("stopped before it was ready")
				return nil
			}
			if err != nil {
				return err
			}
			log.Info("serving", "version", version, "http", a.Addr(), "sources", len(cfg.Sources), "endpoints", len(cfg.Endpoints))
			err = a.Run(c.Context())
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

func newLogger(w io.Writer, l config.Logging) *slog.Logger {
	o := &slog.HandlerOptions{Level: l.Level}
	if l.Format == config.LogJSON {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
