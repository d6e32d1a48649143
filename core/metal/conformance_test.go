// SPDX-License-Identifier: MIT

package metal

import (
	"os"
	"testing"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/tests"
	"github.com/natten-mps/natten-mps/tests/conformance"
)

// full runs every case with every element type, which compiles several thousand
// kernels the first time. Without it, each case has one type, in rotation;
// TestEveryVariantRuns still covers every variant.
var full = os.Getenv("NATTEN_TEST_METAL") == "full"

var dtypes = []core.DType{core.Float32, core.Float16, core.BFloat16}

// conform runs one in step cases on a backend.
func conform(t *testing.T, b *Backend, step int) {
	execute := conformance.Backend(b)
	for number, c := range tests.Cases() {
		if !full && number%step != 0 {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			for op := core.AttnForward; op.Valid(); op++ {
				for i, dtype := range dtypes {
					if full || (number/step+i)%len(dtypes) == 0 {
						conformance.Check(t, execute, c.Problem(op, dtype), c.FlatSizes(), number+int(op)+int(dtype))
					}
				}
			}
		})
	}
}

func TestConformance(t *testing.T) {
	conform(t, newSimulator(t, nil).backend(), 1)
}

// everywhereMatrix uses the matrix design wherever possible, and elsewhere the lanes
// design without reuse.
var everywhereMatrix = tuning{
	forward: unshared, query: unshared, keys: unshared, split: lanes{channels: 16, reuse: 1, block: 2, threads: 64},
	matrixSlots: 1, matrixDims: 128, fill: 1,
}

var unshared = lanes{channels: 16, reuse: 1, block: 2, threads: 64, aspect: 1}

// Runs other variants of every kernel, with threads in shuffled order.
func TestConformanceOfMatrixDesignAndWideOffsets(t *testing.T) {
	b := newSimulator(t, map[string]string{"order": "shuffled", "seed": "1"}).backend()
	b.tune, b.wide = &everywhereMatrix, true
	conform(t, b, 5)
}

func TestInfinite(t *testing.T) {
	b := newSimulator(t, nil).backend()
	conformance.Infinite(t, conformance.Backend(b), 40)
	b.tune = &everywhereMatrix
	conformance.Infinite(t, conformance.Backend(b), 60)
}

func TestNaN(t *testing.T) {
	b := newSimulator(t, nil).backend()
	conformance.NaN(t, conformance.Backend(b), 48)
	b.tune = &everywhereMatrix
	conformance.NaN(t, conformance.Backend(b), 52)
}

// With logits this far apart, the softmax must update its running maximum during the
// walk.
func TestLogitsFarApart(t *testing.T) {
	b := newSimulator(t, nil).backend()
	p := core.Problem{DType: core.Float32, Rank: 2, Batch: 1, Heads: 2, HeadDim: 16, Scale: 3, HasScale: true}
	p.Axes[0] = core.Axis{Length: 9, Kernel: 5}
	p.Axes[1] = core.Axis{Length: 11, Kernel: 7}
	for _, p.Op = range []core.Op{core.AttnForward, core.AttnBackward} {
		conformance.Check(t, conformance.Backend(b), p, nil, 0)
	}
}

// Tests ranges of queries and keys in every design.
func TestRanges(t *testing.T) {
	b := newSimulator(t, nil).backend()
	conformance.Ranges(t, conformance.Backend(b), rangeStep(11))
	b.tune = &everywhereMatrix
	conformance.Ranges(t, conformance.Backend(b), rangeStep(13))
}

// Reads for rows that do not exist stay within the tensor, and keys visit only
// queries of the range. The simulator reports any read outside.
func TestRangesReadInside(t *testing.T) {
	b := newSimulator(t, nil).backend()
	for _, a := range []core.Axis{
		{Length: 16, Kernel: 1, Dilation: 4, Range: core.Range{QueryFirst: 8, QueryCount: 2, KeyFirst: 8, KeyCount: 2}},
		{Length: 16, Kernel: 3, Range: core.Range{QueryFirst: 4, QueryCount: 4, KeyFirst: 3, KeyCount: 7}},
		{Length: 16, Kernel: 3, QueryStep: 2, Range: core.Range{QueryFirst: 4, QueryCount: 4}},
	} {
		p := core.Problem{DType: core.Float32, Rank: 1, Batch: 1, Heads: 1, HeadDim: 8, Axes: [3]core.Axis{a}}
		for _, p.Op = range []core.Op{core.AttnForward, core.AttnBackward, core.QKBackward} {
			conformance.Check(t, conformance.Backend(b), p, nil, 0)
		}
	}
}

// rangeStep returns the step over the cases: 1 if full is set.
func rangeStep(step int) int {
	if full {
		return 1
	}
	return step
}
