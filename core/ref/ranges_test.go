// SPDX-License-Identifier: MIT

package ref_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/ref"
	"github.com/natten-mps/natten-mps/tests"
	"github.com/natten-mps/natten-mps/tests/conformance"
)

// Problems with ranges give the same rows as the whole problem, bit for bit, and their
// gradients add up to those of the whole.
func TestRangesAreTheWhole(t *testing.T) {
	for number, c := range tests.Cases() {
		for op := core.AttnForward; op.Valid(); op++ {
			p := c.Problem(op, core.Float64)
			for axis := range c.Rank {
				for i, cuts := range conformance.Cuts(number + int(op) + axis) {
					name := fmt.Sprintf("%s %v in %d along axis %d", c.Name, op, cuts, axis)
					parts := conformance.Parts(p, c.FlatSizes(), axis, cuts, (number+i)%2 == 0)
					conformance.Whole(t, conformance.Backend(ref.New()), p, parts, c.FlatSizes(), true, name)
				}
			}
		}
	}
}

func TestRandomRangesWithinTheWhole(t *testing.T) {
	for seed := range uint64(300) {
		p, sizes := conformance.RandomRanges(rand.New(rand.NewPCG(21, seed)))
		p.DType = core.Float64
		conformance.Whole(t, conformance.Backend(ref.New()), conformance.Unranged(p), []core.Problem{p}, sizes, true, fmt.Sprint("seed ", seed))
	}
}
