// SPDX-License-Identifier: MIT

package main

import (
	"log"
	"reflect"

	"github.com/natten-mps/natten-mps/core/cpu/internal/kern/abi"
)

// layout is the offsets of a struct's fields by name, and its size.
type layout struct {
	name   string
	fields map[string]int
	size   int
}

func layoutOf(x any) *layout {
	t := reflect.TypeOf(x)
	l := &layout{t.Name(), map[string]int{}, int(t.Size())}
	for i := range t.NumField() {
		l.fields[t.Field(i).Name] = int(t.Field(i).Offset)
	}
	return l
}

// at is where a field is.
func (l *layout) at(field string) int {
	offset, ok := l.fields[field]
	if !ok {
		log.Fatalf("abi.%s has no field %s", l.name, field)
	}
	return offset
}

// The structs that kernels get.
var (
	scorePair = layoutOf(abi.ScorePair{})
	sumPair   = layoutOf(abi.SumPair{})
	strip     = layoutOf(abi.Strip{})
	stencil   = layoutOf(abi.Stencil{})
	quad      = layoutOf(abi.Quad{})
	metRow    = layoutOf(abi.MetRow{})
	stream    = layoutOf(abi.Stream{})
	block     = layoutOf(abi.Block{})
)
