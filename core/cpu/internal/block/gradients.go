// SPDX-License-Identifier: MIT

package block

import (
	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/core/cpu/internal/walk"
)

// One pass of quads over the queries can give all gradients: a kernel adds to the sums
// of the keys that a quad meets what its queries have for them. The sums are beside the
// packed rows and leave them for the tensors when another row takes the slot. A key's row
// may leave more than once: from neighboring tiles and planes and from the task of the
// neighboring rows, which waits for it if it is of the other color. The order in
// which they are added is that of the walk, whatever the number of threads.

const (
	fewestAtOnce = 2       // tasks that can run at the same time: with fewer, two walks are quicker
	tasksAtOnce  = 8       // for which heads are parted
	mostResidues = 1 << 12 // dilation groups that are looked at, or plans would take long
)

// ChunkWork is the number of multiply-adds of a forward pass that are worth a task of their
// own and its wait for those of the other color; tests change it.
var ChunkWork = float64(1 << 20)

// chooseGradients makes the tasks of the pass of all gradients, or returns why two passes
// are better.
func (l *Plan) chooseGradients() string {
	w := l.walk
	if w.Group > walk.LargestGroup {
		return "groups of query heads are too large"
	}
	// Sums are added to tensors in whole vectors, and those of 16 bits would be rounded on the way.
	adds := w.Apart()
	once := w.Tile >= w.Extent[2] && (w.Widest[0] == 1 || l.WholeRows())
	if !adds && !once {
		return "gradients of keys would have to be added up in tensors"
	}
	if !l.chooseChunks(adds) {
		return "there are too few tasks"
	}
	return ""
}

// chooseChunks makes tasks of whole heads or, where those are few and tasks may add to
// what others stored, of chunks of rows that are so long that only neighbors meet the same
// keys. It reports whether there are enough.
func (l *Plan) chooseChunks(adds bool) bool {
	w, p := l.walk, l.walk.Problem
	w.Heads, w.Shape = 1, [3]int{max(w.Extent[0], 1), max(w.Extent[1], 1), max(kern.CeilDiv(w.Extent[2], w.Tile), 1)}
	if w.Widest[0] == 1 {
		w.Shape[0], w.ColorAxis = 1, 1
	}
	counts, axis := [6]int{int(p.Batch), w.Classes(), kern.CeilDiv(w.Extent[0], w.Shape[0]), 1, 1, int(p.KVHeads)}, w.ColorAxis
	w.Count(counts)
	atOnce, work := w.Tasks, walk.MultiplyAdds(p)/float64(w.Tasks)
	wanted := int64(tasksAtOnce)
	if p.RPB { // d_rpb does not come from chunks
		wanted = fewestAtOnce
	}
	for chunks := 4; adds && atOnce < wanted && chunks <= w.Extent[axis]; chunks *= 2 {
		size := kern.CeilDiv(w.Extent[axis], chunks)
		if axis == 1 {
			size += size & 1 // groups of rows fit pairs that begin at even ones
		}
		if !l.keysApart(size) || work/float64(chunks) < ChunkWork {
			break
		}
		w.Colored, w.Shape[axis] = true, size
		atOnce = w.Tasks * int64(kern.CeilDiv(w.Extent[axis], size)/2)
	}
	counts[2+axis] = max(kern.CeilDiv(w.Extent[axis], w.Shape[axis]), 1)
	w.Count(counts)
	return atOnce >= fewestAtOnce || work < 8*ChunkWork // then one goroutine takes no longer than two with two walks
}

// keysApart reports whether chunks of so many rows meet no key in common unless they are
// neighbors.
func (l *Plan) keysApart(size int) bool {
	a := &l.walk.Problem.Axes[l.walk.ColorAxis]
	if l.walk.Problem.Ragged { // at the end of any axis windows reach back by up to Kernel-1 keys
		return size >= int(a.Kernel+a.Kernel/2)
	}
	if a.Dilation > mostResidues {
		return false
	}
	for residue := range a.Dilation {
		line := walk.NewLine(*a, residue)
		for first := 2 * size; first < line.Queries; first += size {
			_, end, _ := line.KeysOf(first - size - 1)
			if lo, _, _ := line.KeysOf(first); end > lo {
				return false
			}
		}
	}
	return true
}

// Serves implements engine.Plan: the pass of all gradients gives nothing else.
func (l *Plan) Serves(run *walk.Run) bool {
	if !l.scatter {
		return true
	}
	return run.Given(core.DQuery) && run.Given(core.DKey) && run.Given(core.DValue) && !(l.walk.Colored && run.Given(core.DRPB))
}

// Partial implements engine.Plan.
func (l *Plan) Partial() bool { return l.scatter }

// beginScattered clears the sums of a row of keys.
func (w *worker) beginScattered(r *packedRow) {
	from, size := r.slot*w.plan.rowPitch(), (w.to-w.from)*w.plan.depth
	clear(w.panel.scatteredQK[from:][:size])
	clear(w.panel.scatteredVO[from:][:size])
	w.panel.unwritten[r.slot] = w.unwritten(r.n0, r.index)
}

// unwritten reports whether nothing was stored for a row of keys before this tile: this
// is the first plane of queries that meets it, and no chunk that was before does.
func (w *worker) unwritten(n0, n1 int) bool {
	first, _ := w.at.Lines[0].QueriesOf(n0)
	if w.at.Index[0] > max(first, w.task.from[0]) {
		return false
	}
	if !w.plan.walk.Colored || w.at.Stage.Color == 0 {
		return true
	}
	axis := w.plan.walk.ColorAxis
	n := [2]int{n0, n1}[axis]
	_, before, _ := w.at.Span(axis, w.task.from[axis]-1)
	if end := w.task.to[axis]; n >= before && end < w.at.Lines[axis].Queries {
		before, _, _ = w.at.Span(axis, end)
		return n < before
	}
	return n >= before
}

// storeScattered writes the sums of the row of keys in a slot. Those of the lanes that the
// tile before meets too, or all, are added to what is there: here the gradients of grouped
// heads meet, whose queries all scatter to the key head's sums.
func (w *worker) storeScattered(slot int) {
	row := w.panel.rowTags[slot]
	if row == noRow {
		return
	}
	lanes, there := w.to-w.from, w.to-w.from
	if w.panel.unwritten[slot] {
		there = 0
		if w.at.Index[2] > 0 {
			_, before, _ := w.at.Span(2, w.at.Index[2]-1)
			there = before - w.from
		}
	}
	w.factors = append(w.factors[:0], 1)
	at, depth := slot*w.plan.rowPitch(), w.plan.depth
	store := func(role core.Role, channels int64, sums []float32) {
		to := w.at.Source(role, row.n0, row.index, w.from, w.at.KVHead, int(channels))
		if there > 0 {
			w.move.Add(to, sums, depth, there, w.factors, 0)
		}
		if there < lanes {
			to.P = to.P.Add(there * to.Step)
			w.move.Store(to, sums[there*depth:], depth, lanes-there, w.factors, 0)
		}
	}
	store(core.DKey, w.problem.HeadDim, w.panel.scatteredQK[at:])
	store(core.DValue, w.problem.ValueDim, w.panel.scatteredVO[at:])
}
