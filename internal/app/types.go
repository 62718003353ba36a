package app

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/rowhook/rowhook/internal/config"
	"github.com/rowhook/rowhook/internal/event"
	"github.com/rowhook/rowhook/internal/store"
)

// TypesError holds everything that is wrong in the files of event types.
type TypesError struct{ Err error }

func (e *TypesError) Error() string { return e.Err.Error() }

// Unwrap returns the problems.
func (e *TypesError) Unwrap() error { return e.Err }

// CompileTypes reads the event types that a configuration names, and checks its subscriptions against them.
func CompileTypes(cfg *config.Config) (*event.Set, error) {
	set, err := compile(typeFiles(cfg))
	if err != nil {
		return nil, err
	}
	if err := cfg.CheckTypes(set.Names(), event.MatchType); err != nil {
		return nil, err
	}
	return set, nil
}

func typeFiles(cfg *config.Config) []store.TypeFile {
	out := make([]store.TypeFile, 0, len(cfg.Types))
	for _, f := range cfg.Types {
		out = append(out, store.TypeFile{Path: f.Path, Content: f.Content})
	}
	return out
}

func compile(files []store.TypeFile) (*event.Set, error) {
	var defs []event.Definition
	var errs []error
	for _, f := range files {
		d, err := event.Parse(f.Path, f.Content)
		defs, errs = append(defs, d...), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, &TypesError{err}
	}
	set, err := event.Compile(defs)
	if err != nil {
		return nil, &TypesError{err}
	}
	return set, nil
}

// typeSets hands out the event types by version: a block says which one it is to be read with, and a reader that lags may need
// an older one. It may be used by many goroutines at once.
type typeSets struct {
	store *store.Store

	mu      sync.Mutex
	sets    map[uint64]*event.Set
	current uint64
	set     *event.Set // of current
}

// keptSets bounds the versions in memory; readers keep the ones they use themselves.
const keptSets = 16

// firstVersion is what blocks are read with that were written before versions were kept.
const firstVersion = 1

// openTypes makes the files' types the current version: a new one, if they are not those of the latest.
func openTypes(ctx context.Context, st *store.Store, files []store.TypeFile, set *event.Set) (*typeSets, error) {
	t := &typeSets{store: st, sets: map[uint64]*event.Set{}}
	_, err := t.put(ctx, files, set)
	return t, err
}

// put stores the types and makes them current. created is false if they were already.
func (t *typeSets) put(ctx context.Context, files []store.TypeFile, set *event.Set) (created bool, err error) {
	version, created, err := t.store.PutTypes(ctx, files)
	if err != nil {
		return false, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keep(version, set)
	t.current, t.set = version, set
	return created, nil
}

func (t *typeSets) keep(version uint64, set *event.Set) {
	if len(t.sets) >= keptSets {
		clear(t.sets)
	}
	t.sets[version] = set
}

// Types returns the event types of a version.
func (t *typeSets) Types(ctx context.Context, version uint64) (*event.Set, error) {
	version = max(version, firstVersion)
	t.mu.Lock()
	defer t.mu.Unlock()
	if set, ok := t.sets[version]; ok {
		return set, nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	files, err := t.store.Types(ctx, version)
	if err != nil {
		return nil, err
	}
	set, err := compile(files)
	if err != nil {
		return nil, fmt.Errorf("event types of version %d: %w", version, err)
	}
	t.keep(version, set)
	return set, nil
}

// latest returns the version that is in force for what is captured now.
func (t *typeSets) latest() (uint64, *event.Set) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.current, t.set
}
