package deliver

import (
	"context"
	"fmt"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/event"
)

// TypeSets knows the versions of the event types. It is called by several goroutines.
type TypeSets interface {
	// Types returns the set that blocks of a version are to be read with. An error stops the delivery of the source: what an
	// unknown set would make of a change cannot be guessed.
	Types(ctx context.Context, version uint64) (*event.Set, error)
}

// matcherVersions is how many versions a reader keeps a matcher for. Blocks of one version stand together.
const matcherVersions = 4

// matchers makes events with the version of the types that each block names. It belongs to one goroutine.
type matchers struct {
	sets      TypeSets
	byVersion map[uint64]*event.Matcher
}

func newMatchers(sets TypeSets) *matchers {
	return &matchers{sets: sets, byVersion: map[uint64]*event.Matcher{}}
}

// of returns the matcher for a block.
func (m *matchers) of(ctx context.Context, blk *change.Block) (*event.Matcher, error) {
	v := blk.TypesVersion
	if matcher, ok := m.byVersion[v]; ok {
		return matcher, nil
	}
	set, err := m.sets.Types(ctx, v)
	if err != nil {
		return nil, fmt.Errorf("find version %d of the event types: %w", v, err)
	}
	if len(m.byVersion) >= matcherVersions {
		clear(m.byVersion)
	}
	m.byVersion[v] = set.NewMatcher()
	return m.byVersion[v], nil
}
