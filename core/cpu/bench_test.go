// SPDX-License-Identifier: MIT

package cpu

import (
	"testing"

	"github.com/natten-mps/natten-mps/core"
)

// The six rows of the benchmark table.
var rows = []struct {
	name    string
	batch   int64
	heads   int64
	depth   int64
	lengths []int64
	kernel  []int64
	causal  bool
}{
	{"1d-256-k7", 4, 8, 64, []int64{256}, []int64{7}, false},
	{"1d-1024-k7", 4, 8, 64, []int64{1024}, []int64{7}, false},
	{"2d-32-k7", 2, 4, 64, []int64{32, 32}, []int64{7, 7}, false},
	{"2d-64-k7", 2, 4, 64, []int64{64, 64}, []int64{7, 7}, false},
	{"2d-32-k7-causal", 2, 4, 64, []int64{32, 32}, []int64{7, 7}, true},
	{"3d-16-k3", 1, 2, 32, []int64{16, 16, 16}, []int64{3, 3, 3}, false},
	{"2d-128-k13", 1, 1, 64, []int64{128, 128}, []int64{13, 13}, false},
	{"3d-16-k7", 1, 2, 64, []int64{16, 16, 16}, []int64{7, 7, 7}, false},
}

func BenchmarkRun(b *testing.B) {
	for _, row := range rows {
		for _, op := range []core.Op{core.AttnForward, core.AttnBackward} {
			b.Run(row.name+"/"+op.String(), func(b *testing.B) {
				p := plain(op, row.lengths, row.kernel, row.heads, row.depth)
				p.Batch = row.batch
				work := 4 * float64(row.batch*row.heads*row.depth)
				for i := range row.lengths {
					p.Axes[i].Causal = row.causal
					work *= float64(row.lengths[i] * row.kernel[i])
				}
				if op == core.AttnBackward {
					work *= 2.5
				}
				run := timed(b, p, 2)
				run()
				for b.Loop() {
					run()
				}
				b.ReportMetric(work*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GFLOP/s")
			})
		}
	}
}
