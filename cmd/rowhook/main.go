// Command rowhook follows MySQL and MariaDB servers and delivers their row changes as signed webhooks.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the build.
var version = "dev"

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	// The first signal asks for a graceful end; after it the default is back, so that the second one ends at once.
	context.AfterFunc(ctx, stop)
	root := newRoot()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	jsonOut, _ := cmd.Flags().GetBool("json") // a command without the flag prints text
	return report(os.Stderr, err, jsonOut)
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "rowhook",
		Short: "Tell every committed row change in MySQL or MariaDB to everyone who asked for it",
		Long: "Rowhook follows MySQL and MariaDB as a replica, keeps the changes in a durable log and delivers them as signed webhooks:\n" +
			"at least once, in order for each row, with the same id every time.\n\n" + exitCodesHelp,
		SilenceUsage: true, SilenceErrors: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &usageError{"rowhook", fmt.Errorf("unknown command %q", args[0])}
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return &usageError{c.CommandPath(), err} })
	root.AddCommand(
		newInit(), newCheck(), newServe(), newStatus(), newReload(), newBackup(), newRestore(),
		newEndpoint(), newSubscription(), newSource(), newType(), newKey(), newSecret(),
		newEvent(), newTail(), newListen(), newTrigger(), newVersion(), newBench(),
	)
	for _, c := range root.Commands() {
		args := c.Args
		c.Args = func(cmd *cobra.Command, a []string) error {
			if args == nil {
				args = cobra.NoArgs
			}
			if err := args(cmd, a); err != nil {
				return &usageError{cmd.CommandPath(), err}
			}
			return nil
		}
	}
	return root
}

// usageError is a mistake on the command line.
type usageError struct {
	command string
	err     error
}

func (e *usageError) Error() string { return e.err.Error() }

func newVersion() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "version", Short: "Print the version",
		RunE: func(c *cobra.Command, _ []string) error {
			if asJSON {
				return printJSON(c.OutOrStdout(), map[string]string{"version": version})
			}
			_, err := fmt.Fprintln(c.OutOrStdout(), "rowhook", version)
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
