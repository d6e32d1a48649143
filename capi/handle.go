// SPDX-License-Identifier: MIT

package main

import (
	"sync"
	"sync/atomic"

	"github.com/natten-mps/natten-mps/core"
)

// table gives integers to values. Looking one up takes no lock. The zero table
// is empty and ready.
type table[T any] struct {
	most int // values at a time; 0: as many as handles have room for
	// slots only grows, and what is published of it never changes place.
	slots  atomic.Pointer[[]*slot[T]]
	mutex  sync.Mutex // of all below, and of writing slots
	free   []uint64
	serial uint64
}

// slot of a table; nil when free.
type slot[T any] struct{ entry atomic.Pointer[entry[T]] }

type entry[T any] struct {
	handle uint64
	value  *T
}

// A handle is a serial number above the slot's index, so that a slot in use
// again has another handle.
const (
	indexBits = 24
	indexMask = 1<<indexBits - 1
)

// add fails when there are too many values.
func (t *table[T]) add(value *T) (uint64, error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	var slots []*slot[T]
	if published := t.slots.Load(); published != nil {
		slots = *published
	}
	if len(t.free) == 0 {
		most := indexMask + 1
		if t.most > 0 {
			most = t.most
		}
		if len(slots) >= most {
			return 0, core.Errorf(core.OutOfMemory, "%d plans are alive (want some of them destroyed first)", len(slots))
		}
		t.free = append(t.free, uint64(len(slots)))
		slots = append(slots, new(slot[T]))
		t.slots.Store(&slots)
	}
	index := t.free[len(t.free)-1]
	t.free = t.free[:len(t.free)-1]
	t.serial++
	handle := t.serial<<indexBits | index
	slots[index].entry.Store(&entry[T]{handle, value})
	return handle, nil
}

// find returns the slot of a handle and what is in it, or nil.
func (t *table[T]) find(handle uint64) (*slot[T], *entry[T]) {
	slots := t.slots.Load()
	index := handle & indexMask
	if slots == nil || index >= uint64(len(*slots)) {
		return nil, nil
	}
	s := (*slots)[index]
	e := s.entry.Load()
	if e == nil || e.handle != handle {
		return nil, nil
	}
	return s, e
}

func (t *table[T]) get(handle uint64) (*T, error) {
	if _, e := t.find(handle); e != nil {
		return e.value, nil
	}
	return nil, badHandle(handle)
}

func (t *table[T]) remove(handle uint64) error {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	s, e := t.find(handle)
	if e == nil {
		return badHandle(handle)
	}
	s.entry.Store(nil)
	t.free = append(t.free, handle&indexMask)
	return nil
}

func badHandle(handle uint64) error {
	return core.Errorf(core.BadHandle, "plan %#x was never made or is destroyed (want a handle from natten_mps_plan_create)", handle)
}
