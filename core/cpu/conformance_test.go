// SPDX-License-Identifier: MIT

package cpu_test

import (
	"math/rand/v2"
	"testing"

	"github.com/natten-mps/natten-mps/core/cpu"
	"github.com/natten-mps/natten-mps/tests/conformance"
)

func TestConformance(t *testing.T) {
	conformance.Run(t, conformance.Backend(cpu.New()))
}

// Any problem, drawn from two numbers.
func FuzzConformance(f *testing.F) {
	for seed := range uint64(200) {
		f.Add(seed, seed)
	}
	f.Add(uint64(273), uint64(30))  // blocks after additional tokens
	f.Add(uint64(130), uint64(104)) // down-sampled rows, each of which is a window
	f.Fuzz(func(t *testing.T, a, b uint64) {
		p, sizes := conformance.Random(rand.New(rand.NewPCG(a, b)))
		conformance.Check(t, conformance.Backend(cpu.New()), p, sizes, int(a%(1<<20)))
	})
}

func TestInfinite(t *testing.T) { conformance.Infinite(t, conformance.Backend(cpu.New()), 1) }

func TestNaN(t *testing.T) { conformance.NaN(t, conformance.Backend(cpu.New()), 1) }
