// SPDX-License-Identifier: MIT

package walk

import (
	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/core/scratch"
)

// Run holds what the walks of one run share.
type Run struct {
	Problem *core.Problem
	Tensors [core.NumRoles]Tensor
	Sizes   []int64 // lengths of ragged samples
	bins    bins
	memory  *scratch.Memory // of bins; nil until they are first needed
}

// Given reports whether the caller passed the role's tensor.
func (r *Run) Given(role core.Role) bool { return r.Tensors[role].Given() }

// AllGradients reports whether the caller wants the gradients of queries, keys and values.
func (r *Run) AllGradients() bool {
	return r.Given(core.DQuery) && r.Given(core.DKey) && r.Given(core.DValue)
}

// Stage is a walk, or one color of it, in a run.
type Stage struct {
	Number   int // index in the job
	Walk     *Walk
	Products Products // those that the given outputs need
	Binning  bool     // the walk accumulates d_rpb
	Color    int      // color of the tasks, if the walk has colors
	Joined   bool     // a task is all chunks of a head, of both colors
	Count    int64    // number of tasks; 0 if no given output needs the walk
}

// Stage returns the stage with the walk's tasks of a color.
func (w *Walk) Stage(run *Run, color int) Stage {
	s := Stage{Walk: w, Products: w.Products, Color: color}
	qk, vo := false, false
	for _, role := range w.Pass.Outputs {
		if !run.Given(role) {
			continue
		}
		switch role {
		case core.DQuery, core.DKey, core.DExtraKey:
			qk = true
		default:
			vo = true
		}
	}
	s.Products.SumQK = s.Products.SumQK && qk
	if w.Pass.Kind == AttnKey {
		s.Products.SumVO = vo
		s.Products.DOutV = qk
	}
	s.Binning = w.bins() && run.Given(core.DRPB)
	switch {
	case !qk && !vo:
	case s.Binning:
		s.Count = int64(w.Counts[5] * w.Parts)
		run.clearBins(w)
	default:
		s.Count = w.taskCount(color)
	}
	return s
}

// Joined returns the stage in which the chunks of a head are one task.
func (w *Walk) Joined(run *Run) Stage {
	s := w.Stage(run, 0)
	s.Joined = true
	s.Count = min(s.Count, w.Tasks/int64(w.chunks()))
	return s
}

// Waits reports whether tasks of color 1 wait for the tasks of this stage.
func (s *Stage) Waits() bool { return s.Walk.Colored && !s.Joined && s.Color == 0 }

// bins are partial sums of d_rpb: [part][head][entry].
type bins struct {
	single []float32
	double []float64
}

func (r *Run) clearBins(w *Walk) {
	if r.memory == nil {
		r.memory = scratch.New()
	}
	b := &r.bins
	size := w.Parts * int(w.Problem.Heads) * BiasSize(w.Problem)
	if w.Problem.DType == core.Float64 {
		scratch.Grow(r.memory, &b.double, size)
		clear(b.double)
		return
	}
	scratch.Grow(r.memory, &b.single, size)
	clear(b.single)
}

func binsOf[T kern.Number](b *bins) []T {
	var of any = b.single
	if kern.SizeOf[T]() != kern.Float32Bytes {
		of = b.double
	}
	return of.([]T)
}

// Bins returns the partial sums of d_rpb that the current task adds to, beginning with its
// first query head, or nil if the stage does not compute d_rpb.
func Bins[T kern.Number](c *Cursor) []T {
	if !c.Stage.Binning {
		return nil
	}
	return binsOf[T](&c.Run.bins)[c.bin:]
}

// BiasSize is the number of bias entries per head.
func BiasSize(p *core.Problem) int {
	n := 1
	for a := range p.Axes {
		n *= int(2*p.Axes[a].Kernel - 1)
	}
	return n
}

// StoreBins adds up the partial sums of d_rpb, in a fixed order, and stores the result.
func (r *Run) StoreBins(w *Walk) {
	if w.Problem.DType == core.Float64 {
		storeBins(r, w, r.bins.double)
		return
	}
	storeBins(r, w, r.bins.single)
}

func storeBins[T kern.Number](r *Run, w *Walk, partial []T) {
	size, x := BiasSize(w.Problem), &r.Tensors[core.DRPB]
	heads := int(w.Problem.Heads)
	n1, n2 := int(2*w.Problem.Axes[1].Kernel-1), int(2*w.Problem.Axes[2].Kernel-1)
	for head := range heads {
		sum := partial[head*size : (head+1)*size]
		for part := 1; part < w.Parts; part++ {
			for i, v := range partial[(part*heads+head)*size:][:size] {
				sum[i] += v
			}
		}
		for i := 0; i < size; i += n2 {
			row := i / n2
			kern.Store(x.Row(head, row/n1, row%n1, 0, 0), x.Strides[3], x.DType, sum[i:i+n2], 1)
		}
	}
}

// LoadBias loads the bias of a query head.
func LoadBias[T kern.Number](r *Run, dst []T, head int) {
	x, p := &r.Tensors[core.RPB], r.Problem
	n1, n2 := int(2*p.Axes[1].Kernel-1), int(2*p.Axes[2].Kernel-1)
	for i := 0; i < len(dst); i += n2 {
		row := i / n2
		kern.Load(dst[i:][:n2], x.Row(head, row/n1, row%n1, 0, 0), x.Strides[3], x.DType)
	}
}
