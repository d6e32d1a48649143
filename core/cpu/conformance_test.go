// SPDX-License-Identifier: MIT

package cpu_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu"
	"github.com/natten-mps/natten-mps/tests"
	"github.com/natten-mps/natten-mps/tests/conformance"
)

func TestConformance(t *testing.T) {
	conformance.Run(t, conformance.Backend(cpu.New()))
}

// Fuzzes problems drawn from two random seeds.
func FuzzConformance(f *testing.F) {
	for seed := range uint64(200) {
		f.Add(seed, seed)
	}
	f.Add(uint64(273), uint64(30))  // blocks after additional tokens
	f.Add(uint64(130), uint64(104)) // down-sampled problem whose windows are single rows
	f.Fuzz(func(t *testing.T, a, b uint64) {
		p, sizes := conformance.Random(rand.New(rand.NewPCG(a, b)))
		conformance.Check(t, conformance.Backend(cpu.New()), p, sizes, int(a%(1<<20)))
	})
}

// Tensors lie between unmapped pages, so that an access out of bounds faults.
func TestTensorsBetweenUnmappedPages(t *testing.T) {
	for _, end := range []bool{true, false} {
		conformance.AtEdges(t, end, func() {
			conformance.Run(t, conformance.Backend(cpu.New()))
			for seed := range uint64(100) {
				p, sizes := conformance.Random(rand.New(rand.NewPCG(1900, seed)))
				conformance.Check(t, conformance.Backend(cpu.New()), p, sizes, int(seed))
			}
		})
	}
}

func TestInfinite(t *testing.T) { conformance.Infinite(t, conformance.Backend(cpu.New()), 1) }

func TestInterrupts(t *testing.T) { conformance.Interrupts(t, cpu.New(), 1) }

func TestNaN(t *testing.T) { conformance.NaN(t, conformance.Backend(cpu.New()), 1) }

func TestRanges(t *testing.T) { conformance.Ranges(t, conformance.Backend(cpu.New()), 1) }

// Fuzzes problems with ranges, drawn from two random seeds.
func FuzzRanges(f *testing.F) {
	for seed := range uint64(300) {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, a, b uint64) {
		p, sizes := conformance.RandomRanges(rand.New(rand.NewPCG(a, b)))
		conformance.Check(t, conformance.Backend(cpu.New()), p, sizes, int(a%(1<<20)))
	})
}

// Problems with ranges give the same rows as the whole problem, within rounding, as the start
// of a tile decides the order of sums. Their gradients add up to those of the whole.
func TestRangesAreTheWhole(t *testing.T) {
	for number, c := range tests.Cases() {
		for op := core.AttnForward; op.Valid(); op++ {
			p := c.Problem(op, conformance.DTypes[number%2*3]) // float32 or float64: adding up parts in 16 bits would round too much
			for axis := range c.Rank {
				for i, cuts := range conformance.Cuts(number + int(op) + axis) {
					name := fmt.Sprintf("%s %v in %d along axis %d", c.Name, op, cuts, axis)
					parts := conformance.Parts(p, c.FlatSizes(), axis, cuts, (number+i)%2 == 0)
					conformance.Whole(t, conformance.Backend(cpu.New()), p, parts, c.FlatSizes(), false, name)
				}
			}
		}
	}
}
