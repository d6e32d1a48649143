// SPDX-License-Identifier: MIT

package metal

import (
	"fmt"
	"math"
	"sync/atomic"

	"github.com/natten-mps/natten-mps/core"
)

// Backend is the "metal" backend on one device.
type Backend struct {
	open func() (Device, error)
	tune *tuning // nil: chosen by the device's generation
	wide bool    // 64-bit offsets even where 32 bits suffice, for tests

	check   *checker               // nil: kernels are not checked
	refused atomic.Pointer[string] // why a tuned kernel was last replaced by a plainer one
}

// New returns the backend on the device that open returns. open is called when the
// device is first needed, and must return the same result on every call.
func New(open func() (Device, error)) *Backend { return &Backend{open: open} }

// Name returns "metal".
func (b *Backend) Name() string { return "metal" }

// Available reports whether there is a GPU, its name, and the last kernel that was
// refused.
func (b *Backend) Available() (bool, string) {
	device, err := b.open()
	if err != nil {
		return false, err.Error()
	}
	details := device.Info().Name
	if why := b.refused.Load(); why != nil {
		details += "; plainer kernels where the tuned ones were refused: " + *why
	}
	return true, details
}

// Unsupported lists the reasons why a problem cannot run.
func (b *Backend) Unsupported(p *core.Problem) []string {
	var why []string
	if _, err := b.open(); err != nil {
		why = append(why, err.Error())
	}
	if p.DType == core.Float64 {
		why = append(why, "dtype is float64 (Metal has float32, float16 and bfloat16)")
	}
	return append(why, tooLarge(p)...)
}

// tooLarge lists the counts that kernels keep in 32 bits and that do not fit.
func tooLarge(p *core.Problem) []string {
	var why []string
	check := func(what string, factors ...int64) {
		product := 1.0
		for _, n := range factors {
			product *= float64(n)
		}
		if product > math.MaxInt32/2 {
			why = append(why, fmt.Sprintf("%s is %.0f (want at most %d)", what, product, math.MaxInt32/2))
		}
	}
	for i := range p.Axes {
		check(fmt.Sprintf("length of axis %d", i-3+p.Rank), p.Axes[i].Length+p.Axes[i].QueryStep)
	}
	check("number of attention slots", p.Axes[0].Kernel, p.Axes[1].Kernel, p.Axes[2].Kernel)
	check("extra", p.Extra)
	check("batch * heads", p.Batch, p.Heads)
	check("batch * queries", p.Batch, p.Axes[0].Outputs(), p.Axes[1].Outputs(), p.Axes[2].Outputs())
	if p.RPB {
		n := p.Shape(core.RPB)
		check("size of rpb", n...)
	}
	if p.Extra > 0 {
		n := p.Shape(core.ExtraKey)
		check("size of extra_key", n...)
		n = p.Shape(core.ExtraValue)
		check("size of extra_value", n...)
	}
	return why
}

// Prepare decides the launches of a problem, then compiles and checks their kernels
// for the most common layout. If the GPU refuses a tuned kernel, for example because
// it lacks registers or threads, or if one computes wrong results, the plainest
// design replaces it. If that fails as well, the error is core.Unsupported.
func (b *Backend) Prepare(p *core.Problem) (core.Runner, error) {
	device, err := b.open()
	if err != nil {
		return nil, core.Errorf(core.Unsupported, "%v", err)
	}
	if err := b.check.wrongMode(); err != nil {
		return nil, err
	}
	tune := b.tune
	if tune == nil {
		tune = tuningFor(device.Info().Generation)
	}
	r := b.newRunner(p, device, tune)
	k, err := r.kernels(layout{vec: 8, wide: r.wide})
	if err != nil {
		return nil, err
	}
	if k.instead != nil {
		return k.instead, nil
	}
	return r, nil
}
