// SPDX-License-Identifier: MIT

package main

import (
	"sync"
	"sync/atomic"

	"github.com/natten-mps/natten-mps/core"
)

// table maps integer handles to values. Lookups take no lock. The zero table is empty
// and ready to use.
type table[T any] struct {
	most int // maximum number of values; 0: as many as handles can represent
	// slots only grows. Slots that have been published never move.
	slots  atomic.Pointer[[]*slot[T]]
	mutex  sync.Mutex // guards the fields below and writes to slots
	free   []uint64
	serial uint64
}

// slot is one slot of a table. Its entry is nil if the slot is free.
type slot[T any] struct{ entry atomic.Pointer[entry[T]] }

type entry[T any] struct {
	handle uint64
	value  *T
}

// A handle consists of a serial number in the high bits and the slot's index in the
// low bits, so that a reused slot has a different handle.
const (
	indexBits = 24
	indexMask = 1<<indexBits - 1
)

// add stores a value and returns its handle. It fails if the table is full.
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

// find returns the slot of a handle and the slot's entry, or nil.
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
