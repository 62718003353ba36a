// Command try starts private database servers for a person to play with, and removes them on Ctrl-C:
//
//	go run ./internal/dbserver/try mariadb mysql
//	go run ./internal/dbserver/try -suite sid mariadb -- --max-binlog-size=4096
//	go run ./internal/dbserver/try -install mariadb mysql
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/rowhook/rowhook/internal/dbserver"
)

func main() {
	install := flag.Bool("install", false, "install only, so that the first test need not")
	suite := flag.String("suite", "", "take the server from this suite of the apt archive, such as sid")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	kinds, args := flag.Args(), []string(nil)
	if i := slices.Index(kinds, "--"); i >= 0 {
		kinds, args = kinds[:i], kinds[i+1:]
	}
	if err := try(ctx, kinds, *install, dbserver.Options{Suite: *suite, Args: args}); err != nil {
		fmt.Fprintln(os.Stderr, "try:", err)
		os.Exit(1)
	}
}

// try starts one server of each kind and waits for the end of ctx.
func try(ctx context.Context, kinds []string, install bool, o dbserver.Options) (err error) {
	if len(kinds) == 0 {
		return errors.New("name the kinds: mariadb, mysql")
	}
	o.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	for _, kind := range kinds {
		o.Kind = dbserver.Kind(kind)
		if install {
			err = errors.Join(err, dbserver.Ensure(ctx, o.Kind, o.Log))
			continue
		}
		srv, startErr := dbserver.Start(ctx, o)
		if startErr != nil {
			return startErr
		}
		defer func() { err = errors.Join(err, srv.Close()) }()
		fmt.Printf("%s %s\n  DSN     %s\n  socket  %s\n  errors  %s\n", kind, srv.Version(), srv.DSN(""), srv.Socket(), srv.ErrorLog())
	}
	if !install {
		<-ctx.Done()
	}
	return err
}
