// SPDX-License-Identifier: MIT

//go:build cgo

package mtl

/*
#include <stdint.h>
static void call_desc(void* f, uint32_t k, uint32_t a, uint32_t* o) { ((void (*)(uint32_t, uint32_t, uint32_t*))f)(k, a, o); }
*/
import "C"

import (
	"fmt"
	"strings"
	"unsafe"

	"github.com/natten-mps/natten-mps/tests/metalsim/lower"
)

type arg struct {
	lower.Arg
	kind, size, align uint32
	ref               bool
}

const (
	argDevice = 1 + iota
	argDeviceConst
	argConstant
	argThreadgroup
)

// Pipeline is a kernel that is ready to run.
type Pipeline struct {
	lib             *Library
	index           int
	k               lower.Kernel
	args            []arg
	consts          map[int][]byte
	MaxTotalThreads int
}

// NewPipeline prepares the named kernel; consts are its function constants.
func (d *Device) NewPipeline(l *Library, name string, consts map[int]any) (*Pipeline, error) {
	for i, k := range l.unit.Kernels {
		if k.Host != name {
			continue
		}
		p := &Pipeline{lib: l, index: i, k: k, MaxTotalThreads: 1024, consts: map[int][]byte{}}
		if k.MaxTotal > 0 && k.MaxTotal < 1024 {
			p.MaxTotalThreads = k.MaxTotal
		}
		for j, a := range k.Args {
			var o [4]C.uint32_t
			C.call_desc(l.desc, C.uint32_t(i), C.uint32_t(j), &o[0])
			p.args = append(p.args, arg{a, uint32(o[0]), uint32(o[2]), uint32(o[3]), o[1] != 0})
		}
		for n, v := range consts {
			b, err := bytesOf(v)
			if err != nil {
				return nil, fmt.Errorf("function constant %d: %w", n, err)
			}
			ok := false
			for _, c := range l.unit.Constants {
				if c.Index == n {
					ok = true
					if want := sizeOf(c.Type); want != len(b) {
						return nil, fmt.Errorf("function constant %d (%s %s): %d bytes given", n, c.Type, c.Name, len(b))
					}
				}
			}
			if !ok {
				return nil, fmt.Errorf("function constant %d: the library has none", n)
			}
			p.consts[n] = b
		}
		for _, c := range l.unit.Constants {
			if _, ok := p.consts[c.Index]; !ok && !strings.Contains(strings.Join(optionals(k), " "), c.Name) {
				p.consts[c.Index] = nil // reading it is an error on a Mac; here it reads as zero
			}
		}
		return p, nil
	}
	return nil, fmt.Errorf("no kernel function %q", name)
}

func optionals(k lower.Kernel) (o []string) {
	for _, a := range k.Args {
		o = append(o, a.Optional)
	}
	return
}

func sizeOf(t string) int {
	switch t {
	case "bool", "char", "uchar":
		return 1
	case "short", "ushort", "half", "bfloat":
		return 2
	case "long", "ulong", "float2", "int2", "uint2":
		return 8
	}
	return 4
}

func bytesOf(v any) ([]byte, error) {
	switch x := v.(type) {
	case bool:
		if x {
			return []byte{1}, nil
		}
		return []byte{0}, nil
	case int:
		return Bytes([]int32{int32(x)}), nil
	case int32:
		return Bytes([]int32{x}), nil
	case uint32:
		return Bytes([]uint32{x}), nil
	case float32:
		return Bytes([]float32{x}), nil
	}
	return nil, fmt.Errorf("cannot pass a %T", v)
}

// Bytes returns the memory of a slice of plain values as bytes.
func Bytes[T any](s []T) []byte {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), len(s)*int(unsafe.Sizeof(s[0])))
}
