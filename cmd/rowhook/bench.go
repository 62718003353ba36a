package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/rowhook/rowhook/bench"
)

func newBench() *cobra.Command {
	c := &cobra.Command{
		Use: "bench", Short: "Measure Rowhook beside its peers and limits",
		Long: "Measure Rowhook beside its peers and limits: each pair in turns on the same load, the median of five, absolutes and ratios.\n" +
			"Without --dsn a private server is installed if need be, started for the run and removed after it.",
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newBenchCapture(), newBenchLatency(), newBenchDeliver(), newBenchReceiver())
	return c
}

// benchFlags are those of every scenario.
type benchFlags struct {
	server bench.ServerOptions
	short  bool
	asJSON bool
}

func (f *benchFlags) add(c *cobra.Command) {
	c.Args = benchArgs
	c.Flags().BoolVar(&f.short, "short", false, "less load: done in under a minute, with ratios that still mean something")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print one JSON object")
}

func (f *benchFlags) addServer(c *cobra.Command) {
	c.Flags().StringVar(&f.server.Kind, "server", "", "mariadb or mysql (default mariadb, or what --dsn names)")
	c.Flags().StringVar(&f.server.DSN, "dsn", "", "use this server, in a database made for the run, in place of a private one")
	c.Flags().StringVar(&f.server.Dir, "dir", "", "keep servers and logs below this folder (default the system's temporary folder)")
}

func benchArgs(c *cobra.Command, args []string) error {
	if err := cobra.NoArgs(c, args); err != nil {
		return &usageError{c.CommandPath(), err}
	}
	return nil
}

// runBench checks the options, runs the scenario and prints what it measured.
func runBench(c *cobra.Command, asJSON bool, validate func() error, run func(context.Context) (bench.Result, error)) error {
	if err := validate(); err != nil {
		return &usageError{c.CommandPath(), err}
	}
	r, err := run(c.Context())
	if c.Context().Err() != nil {
		return errors.New("interrupted before the end: nothing is measured, and nothing is left behind")
	}
	if err != nil {
		return err
	}
	if !asJSON {
		return r.WriteTable(c.OutOrStdout())
	}
	for _, w := range r.Warnings {
		c.PrintErrln("warning:", w)
	}
	return r.WriteJSON(c.OutOrStdout())
}

func newBenchCapture() *cobra.Command {
	var f benchFlags
	var o bench.CaptureOptions
	c := &cobra.Command{
		Use: "capture", Short: "Read a backlog into the durable log",
		Long: "Read the backlog of one UPDATE of many rows of 12 columns, before and after image, or of many transactions of one row: as raw\n" +
			"events, decoded by go-mysql, and by Rowhook into its fsynced log.",
	}
	f.add(c)
	f.addServer(c)
	c.Flags().BoolVar(&o.Single, "single", false, "a backlog of single-row transactions in place of one UPDATE")
	c.Flags().IntVar(&o.Rows, "rows", bench.CaptureRows, fmt.Sprintf("rows of the backlog (with --short %d, with --single %d, with both %d)",
		bench.CaptureShortRows, bench.CaptureSingleRows, bench.CaptureSingleShortRows))
	c.RunE = func(c *cobra.Command, _ []string) error {
		o.Server, o.Progress = f.server, c.ErrOrStderr()
		switch {
		case c.Flags().Changed("rows"):
		case f.short && o.Single:
			o.Rows = bench.CaptureSingleShortRows
		case f.short:
			o.Rows = bench.CaptureShortRows
		case o.Single:
			o.Rows = bench.CaptureSingleRows
		}
		return runBench(c, f.asJSON, o.Validate, func(ctx context.Context) (bench.Result, error) { return bench.Capture(ctx, o) })
	}
	return c
}

func newBenchLatency() *cobra.Command {
	var f benchFlags
	var o bench.LatencyOptions
	c := &cobra.Command{
		Use: "latency", Short: "Measure the time from a commit to the endpoint's 2xx",
		Long: "Measure the time from a commit to the endpoint's 2xx, with a server, rowhook serve and a receiver on this machine: one commit at\n" +
			"a time, then under load.",
	}
	f.add(c)
	f.addServer(c)
	c.Flags().IntVar(&o.Rate, "rate", bench.LatencyRate, "single-row transactions a second under load; 0 measures the idle system only")
	c.Flags().DurationVar(&o.For, "for", bench.LatencyFor, fmt.Sprintf("how long each phase lasts (with --short %v)", bench.LatencyShortFor))
	c.RunE = func(c *cobra.Command, _ []string) error {
		var err error
		if o.Binary, o.ReceiverArgs, err = processes(); err != nil {
			return err
		}
		if o.Server, o.Progress = f.server, c.ErrOrStderr(); f.short && !c.Flags().Changed("for") {
			o.For = bench.LatencyShortFor
		}
		return runBench(c, f.asJSON, o.Validate, func(ctx context.Context) (bench.Result, error) { return bench.Latency(ctx, o) })
	}
	return c
}

func newBenchDeliver() *cobra.Command {
	var f benchFlags
	var o bench.DeliverOptions
	c := &cobra.Command{
		Use: "deliver", Short: "Send what is in the log, beside a bare loop of net/http",
		Long: "Let rowhook serve send what is in its log, every attempt recorded, beside net/http in a bare loop that posts the same bytes: 64\n" +
			"connections each, to a receiver in a process of its own.",
	}
	f.add(c)
	c.Flags().IntVar(&o.Rows, "rows", bench.DeliverRows, fmt.Sprintf("events in each round (with --short %d)", bench.DeliverShortRows))
	c.Flags().StringVar(&o.Dir, "dir", "", "keep logs below this folder (default the system's temporary folder)")
	c.RunE = func(c *cobra.Command, _ []string) error {
		var err error
		if o.Binary, o.ReceiverArgs, err = processes(); err != nil {
			return err
		}
		if o.Progress = c.ErrOrStderr(); f.short && !c.Flags().Changed("rows") {
			o.Rows = bench.DeliverShortRows
		}
		return runBench(c, f.asJSON, o.Validate, func(ctx context.Context) (bench.Result, error) { return bench.Deliver(ctx, o) })
	}
	return c
}

// processes returns the program that a scenario measures, and the arguments that make it a receiver.
func processes() (binary string, receiver []string, err error) {
	if binary, err = os.Executable(); err != nil {
		return "", nil, fmt.Errorf("find this program: %w", err)
	}
	return binary, []string{"bench", receiverCommand}, nil
}

// receiverCommand is run by scenarios, not by people.
const receiverCommand = "receiver"

func newBenchReceiver() *cobra.Command {
	return &cobra.Command{
		Use: receiverCommand, Short: "Answer 200 to everything until standard input ends", Hidden: true, Args: benchArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return bench.Receive(c.Context(), c.InOrStdin(), c.OutOrStdout())
		},
	}
}
