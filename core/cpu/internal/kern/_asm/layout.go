// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"log"
	"reflect"
	"strings"

	"github.com/natten-mps/natten-mps/core/cpu/internal/kern/abi"
)

// layout has the size of a struct and the offsets of its fields by name.
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

// at is the offset of a field in bytes.
func (l *layout) at(field string) int {
	offset, ok := l.fields[field]
	if !ok {
		log.Fatalf("abi.%s has no field %s", l.name, field)
	}
	return offset
}

// The structs that kernels take as arguments.
var (
	scorePair = layoutOf(abi.ScorePair{})
	sumPair   = layoutOf(abi.SumPair{})
	strip     = layoutOf(abi.Strip{})
	stencil   = layoutOf(abi.Stencil{})
	quad      = layoutOf(abi.Quad{})
	metRow    = layoutOf(abi.MetRow{})
	stream    = layoutOf(abi.Stream{})
	block     = layoutOf(abi.Block{})

	productCall = layoutOf(abi.Product{})
	columnsCall = layoutOf(abi.Columns{})
)

// writeLayout writes declarations that do not compile if a struct of abi differs from the one
// for which the assembly was written.
func writeLayout() {
	var b strings.Builder
	b.WriteString("package kern\n\nimport (\n\"unsafe\"\n\n" + abiImport + ")\n")
	b.WriteString("\n// An index that is not 0 is out of range: the struct has changed, and ./build.sh gen was not run.\nvar (\n")
	b.WriteString("zero [1]struct{}\n")
	for _, x := range []any{
		abi.ScorePair{}, abi.SumPair{}, abi.Strip{}, abi.Stencil{}, abi.Quad{}, abi.MetRow{}, abi.Stream{}, abi.Block{},
	} {
		t := reflect.TypeOf(x)
		fmt.Fprintf(&b, "_ = zero[unsafe.Sizeof(abi.%s{})-%d]\n", t.Name(), t.Size())
		for i := range t.NumField() {
			f := t.Field(i)
			fmt.Fprintf(&b, "_ = zero[unsafe.Offsetof(abi.%s{}.%s)-%d]\n", t.Name(), f.Name, f.Offset)
		}
	}
	b.WriteString(")\n")
	write("kernels_layout.go", "!noasm && (amd64 || arm64)", []byte(b.String()))
}
