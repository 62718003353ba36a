package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	rate      float64
	runFor    time.Duration
	killEvery time.Duration
	binary    string
	sakila    string
	dir       string
}

func main() { os.Exit(command(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// command is main with its surroundings given, and returns the exit code: 0 after a clean account, 1 otherwise, 2 for a mistake on the
// command line.
func command(args []string, stdin, stdout *os.File, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if err != nil {
		return 2
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	stop, cancelStop := context.WithCancel(context.Background())
	abort, cancelAbort := context.WithCancel(context.Background())
	defer cancelAbort()
	listening := make(chan struct{})
	go func() {
		defer close(listening)
		for _, cancel := range []func(){cancelStop, cancelAbort} {
			select {
			case <-signals:
				cancel()
			case <-abort.Done():
				return
			}
		}
	}()
	err = run(stop, abort, o, stdin, stdout)
	cancelStop()
	cancelAbort()
	<-listening
	if err != nil {
		fmt.Fprintf(stderr, "demo: %v\n", err)
		return 1
	}
	return 0
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("demo", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Float64Var(&o.rate, "rate", 20, "transactions per second, on average")
	f.DurationVar(&o.runFor, "for", 0, "end by itself after this time, such as 20s (default: at Ctrl-C)")
	f.DurationVar(&o.killEvery, "kill-every", 0, "kill -9 Rowhook this often, such as 15s (default: when k and Enter are pressed)")
	f.StringVar(&o.binary, "rowhook", "bin/rowhook", "the rowhook `binary` to run")
	f.StringVar(&o.sakila, "sakila", "examples/sakila", "the `folder` of schema.sql and data.sql")
	f.StringVar(&o.dir, "dir", os.TempDir(), "make the temporary folder in this `folder`")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	return o, o.validate(f, stderr)
}

func (o options) validate(f *flag.FlagSet, stderr io.Writer) (err error) {
	switch {
	case f.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", f.Arg(0))
	case !(o.rate > 0 && o.rate <= 10000):
		err = fmt.Errorf("--rate is %v; it must be above 0, and at most 10000", o.rate)
	case o.runFor < 0 || o.killEvery < 0:
		err = fmt.Errorf("--for and --kill-every must not be negative")
	case o.killEvery > 0 && o.killEvery < time.Second:
		err = fmt.Errorf("--kill-every is %v; at least 1s lets Rowhook start in between", o.killEvery)
	}
	if err != nil {
		fmt.Fprintf(stderr, "demo: %v\n", err)
		f.Usage()
	}
	return err
}
