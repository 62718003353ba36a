package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rowhook/rowhook/e2e/receiver"
	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/webhook"
)

//go:embed rowhook.yaml
var configYAML []byte

//go:embed types.yaml
var typesYAML []byte

// drainTimeout bounds the wait for what was committed and not yet delivered when the shop closes.
const drainTimeout = 30 * time.Second

// demo is everything that runs.
type demo struct {
	opts     options
	screen   *screen
	folder   *folder
	server   *dbserver.Server
	receiver *receiver.Receiver
	book     *book
	daemon   *daemon
	shop     *shop
}

// run plays until stop ends, then lets the rest be delivered, unless abort ends too, and settles the account.
func run(stop, abort context.Context, o options, stdin, stdout *os.File) (err error) {
	d := &demo{opts: o, screen: newScreen(stdout), book: newBook()}
	if d.folder, err = newFolder(o.dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.folder.remove()) }()
	began := time.Now()
	if err = d.prepare(stop); err != nil {
		if stop.Err() != nil {
			err = nil // Ctrl-C while everything was still being set up
		}
		return errors.Join(err, d.close())
	}
	d.screen.say("ready after %v", time.Since(began).Round(100*time.Millisecond))
	for _, line := range d.view(time.Now(), true).places() {
		d.screen.say("%s", line)
	}
	err = d.play(stop, abort, stdin)
	d.screen.restore()
	return errors.Join(err, d.close(), d.settle())
}

// prepare sets up everything that Rowhook needs, in the order of dependence.
func (d *demo) prepare(ctx context.Context) (err error) {
	if d.opts.binary, err = filepath.Abs(d.opts.binary); err != nil {
		return fmt.Errorf("find the rowhook binary: %w", err)
	}
	if _, err := os.Stat(d.opts.binary); err != nil {
		return fmt.Errorf("the rowhook binary (make build makes it, --rowhook names it): %w", err)
	}
	d.screen.say("starting a private MariaDB (the first time it is downloaded)")
	log := slog.New(slog.NewTextHandler(d.screen, nil))
	if d.server, err = dbserver.Start(ctx, dbserver.Options{Kind: dbserver.MariaDB, Dir: d.folder.path, Durable: true, Log: log}); err != nil {
		return err
	}
	d.screen.say("loading Sakila into MariaDB %s", d.server.Version())
	if err := d.fill(ctx); err != nil {
		return err
	}
	if err := d.configure(); err != nil {
		return err
	}
	d.screen.say("checking the configuration: rowhook check")
	return d.daemon.check(ctx)
}

// fill loads Sakila and makes two accounts: the one Rowhook follows with, which needs two global privileges and the tables it reads, and
// one for whoever watches.
func (d *demo) fill(ctx context.Context) error {
	db, err := d.server.Open("")
	if err != nil {
		return err
	}
	if d.server.External() {
		var there int
		if err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = 'sakila'").Scan(&there); err != nil || there > 0 {
			return errors.Join(err, db.Close(), fmt.Errorf("%s names a server; the demo replaces its database sakila, so there must be none", dbserver.MariaDB.EnvDSN()))
		}
	}
	d.shop = &shop{db: db}
	if err := loadSakila(ctx, db, d.opts.sakila); err != nil {
		return err
	}
	const account = `CREATE OR REPLACE USER rowhook_demo IDENTIFIED BY 'demo';
		GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO rowhook_demo;
		GRANT SELECT ON sakila.* TO rowhook_demo;
		CREATE OR REPLACE USER visitor;
		GRANT SELECT ON sakila.* TO visitor;
		GRANT UPDATE ON sakila.customer TO visitor`
	if _, err := db.ExecContext(ctx, account); err != nil {
		return fmt.Errorf("make the accounts: %w", err)
	}
	d.shop, err = openShop(ctx, db, d.book)
	return err
}

// configure starts the receiver and writes the files that Rowhook is told with.
func (d *demo) configure() (err error) {
	forBilling, forCRM := webhook.NewSecret(), webhook.NewSecret()
	d.receiver, err = receiver.New(receiver.Options{
		PathSecrets: map[string][]webhook.Secret{"/" + billing: {forBilling}, "/" + crm: {forCRM}},
		Keep:        1 << 17,
	})
	if err != nil {
		return err
	}
	d.receiver.OnDelivery(d.book.arrived)
	for name, text := range map[string][]byte{"rowhook.yaml": configYAML, "types.yaml": typesYAML} {
		if err := os.WriteFile(d.folder.join(name), text, 0o600); err != nil {
			return fmt.Errorf("write the configuration: %w", err)
		}
	}
	d.daemon = &daemon{binary: d.opts.binary, dir: d.folder.path, env: append(os.Environ(),
		"SHOP_USER=rowhook_demo", "SHOP_PASSWORD=demo", "SHOP_ADDRESS="+d.server.Addr(), "RECEIVER_ADDRESS="+d.receiver.Addr(),
		"BILLING_SECRET="+forBilling.Reveal(), "CRM_SECRET="+forCRM.Reveal(),
	)}
	return d.daemon.move()
}

// play runs Rowhook, and the shop as long as stop allows, and then waits for the last delivery.
func (d *demo) play(stop, abort context.Context, stdin *os.File) error {
	if d.opts.runFor > 0 {
		var cancel context.CancelFunc
		stop, cancel = context.WithTimeout(stop, d.opts.runFor)
		defer cancel()
	}
	// What watches ends with the last delivery, Rowhook after it.
	serving, endServing := context.WithCancel(context.Background())
	defer endServing()
	g, failed := errgroup.WithContext(serving)
	g.Go(func() error { return d.daemon.Run(failed) })
	g.Go(func() error {
		defer endServing()
		return d.trade(stop, abort, failed)
	})
	for _, run := range []func(){
		func() { d.watchKeys(failed, stdin) },
		func() { d.killOften(failed, stop) },
		func() { d.show(failed, stop) },
	} {
		g.Go(func() error { run(); return nil })
	}
	return g.Wait()
}

// trade opens the shop when Rowhook is attached, and closes it when stop ends.
func (d *demo) trade(stop, abort, failed context.Context) error {
	open, closeShop := context.WithCancel(stop)
	defer closeShop()
	defer context.AfterFunc(failed, closeShop)()
	if err := d.daemon.awaitAttached(open); err != nil {
		if open.Err() != nil {
			return nil
		}
		return err
	}
	if err := d.shop.Run(open, d.opts.rate); err != nil || failed.Err() != nil {
		return err
	}
	drain, cancel := context.WithTimeout(abort, drainTimeout)
	defer cancel()
	defer context.AfterFunc(failed, cancel)()
	// What did not come in time is missing; the account says so.
	_ = d.receiver.WaitFor(drain, func() bool { return d.book.lag() == 0 })
	return nil
}

// killOften kills Rowhook every so often while the shop is open, until ctx ends.
func (d *demo) killOften(ctx, open context.Context) {
	if d.opts.killEvery == 0 {
		return
	}
	tick := time.NewTicker(d.opts.killEvery)
	defer tick.Stop()
	for {
		select {
		case <-open.Done():
			return
		case <-ctx.Done():
			return
		case <-tick.C:
			d.daemon.kill()
		}
	}
}

// show draws what happens until ctx ends; open says whether the shop still is.
func (d *demo) show(ctx, open context.Context) {
	tick := time.NewTicker(d.screen.interval())
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			d.screen.draw(d.view(now, open.Err() == nil))
		}
	}
}

// close ends what prepare started, the newest first.
func (d *demo) close() error {
	var errs []error
	if d.receiver != nil {
		errs = append(errs, d.receiver.Close())
	}
	if d.shop != nil {
		if d.server.External() {
			ctx, cancel := context.WithTimeout(context.Background(), statementTimeout)
			defer cancel()
			_, err := d.shop.db.ExecContext(ctx, "DROP DATABASE IF EXISTS sakila; DROP USER IF EXISTS rowhook_demo, visitor")
			errs = append(errs, err)
		}
		errs = append(errs, d.shop.db.Close())
	}
	if d.server != nil {
		errs = append(errs, d.server.Close())
	}
	return errors.Join(errs...)
}
