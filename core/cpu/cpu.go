// SPDX-License-Identifier: MIT

// Package cpu runs problems on the processor's cores.
//
// Work is a walk over tiles of items: the queries of a dilation group in the
// forward walk, its keys in the inverse walk. The columns that an item meets,
// keys or queries, are packed into panels, on which two primitives do the
// arithmetic; see kernels.go.
package cpu

import (
	"strings"

	"github.com/natten-mps/natten-mps/core"
)

type backend struct{}

// New returns the CPU backend, "native".
func New() core.Backend { return backend{} }

func (backend) Name() string { return "native" }

func (backend) Available() (bool, string) {
	return true, details
}

func (backend) Unsupported(p *core.Problem) []string {
	if p.Memory != core.Host {
		return []string{"memory is not the host's"}
	}
	return nil
}

func (b backend) Prepare(p *core.Problem) (core.Runner, error) {
	if why := b.Unsupported(p); len(why) > 0 {
		return nil, core.Errorf(core.Unsupported, "native: %s", strings.Join(why, "; "))
	}
	if p.DType == core.Float64 {
		return newRunner[float64](p), nil
	}
	return newRunner[float32](p), nil
}
