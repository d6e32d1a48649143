// SPDX-License-Identifier: MIT

package block

import (
	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/core/cpu/internal/walk"
)

// One pass of quads over the queries can compute all gradients. A kernel adds the
// contributions of a quad's queries to the gradient sums of the keys that the quad meets.
// These sums are kept next to the packed rows of keys and are stored in the tensors when
// another row takes the slot. A row of keys may be stored several times: from neighboring
// tiles and planes, and from the task of the neighboring chunk of rows, in which case the task
// of color 1 waits for the task of color 0. The contributions are added in the order of the
// walk, so the result does not depend on the number of threads.

const (
	fewestAtOnce = 2       // concurrent tasks; with fewer, two walks are faster
	tasksAtOnce  = 8       // concurrent tasks below which heads are divided into chunks of rows
	mostResidues = 1 << 12 // largest dilation that keysApart examines, to keep planning fast
)

// ChunkWork is the number of multiply-adds of a forward pass that justifies a separate chunk,
// with its wait for chunks of the other color; tests change it.
var ChunkWork = float64(1 << 20)

// chooseGradients chooses the tasks of the pass of all gradients, or returns why two passes are
// better.
func (l *Plan) chooseGradients() string {
	w := l.walk
	if w.Group > walk.LargestGroup {
		return "groups of query heads are too large"
	}
	// Adding to tensors needs whole vectors, and 16-bit tensors would round partial sums.
	adds := w.Apart()
	once := w.Tile >= w.Extent[2] && (w.Widest[0] == 1 || l.WholeRows())
	w.Joinable = once // the two chunks that share a row of keys add to it once each, in either order
	if !adds && !once {
		return "gradients of keys would have to be added up in tensors"
	}
	if !l.chooseChunks(adds) {
		return "there are too few tasks"
	}
	return ""
}

// chooseChunks makes one task per head or, if there are too few heads and tasks may add to
// stored gradients (adds), one per chunk of rows. Chunks are so long that only neighboring
// chunks share keys. It reports whether there are enough tasks.
func (l *Plan) chooseChunks(adds bool) bool {
	w, p := l.walk, l.walk.Problem
	w.CutHeads()
	if w.Widest[0] == 1 {
		w.Shape[0], w.ColorAxis = 1, 1
		w.Lay()
	}
	atOnce, axis, work := w.Tasks, w.ColorAxis, walk.MultiplyAdds(p)/float64(w.Tasks)
	wanted := int64(tasksAtOnce)
	if p.RPB { // chunks cannot compute d_rpb
		wanted = fewestAtOnce
	}
	for chunks := 4; adds && atOnce < wanted && chunks <= w.Extent[axis]; chunks *= 2 {
		size := kern.CeilDiv(w.Extent[axis], chunks)
		if axis == 1 {
			size += size & 1 // groups are aligned to pairs that begin at even rows
		}
		if !l.keysApart(size) || work/float64(chunks) < ChunkWork {
			break
		}
		w.Colored, w.Shape[axis] = true, size
		atOnce = w.Tasks * int64(kern.CeilDiv(w.Extent[axis], size)/2)
	}
	w.Lay()
	return atOnce >= fewestAtOnce || work < 8*ChunkWork // small work takes one goroutine no longer than two walks take two
}

// keysApart reports whether chunks of size rows share keys only with their neighbors.
func (l *Plan) keysApart(size int) bool {
	a := &l.walk.Problem.Axes[l.walk.ColorAxis]
	if l.walk.Problem.Ragged { // an axis may end anywhere, and there windows reach back by up to Kernel-1 keys
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

// Serves implements engine.Plan. The pass of all gradients requires that query, key and value
// gradients are all wanted, and with colors it cannot compute d_rpb.
func (l *Plan) Serves(run *walk.Run) bool {
	if !l.scatter {
		return true
	}
	return run.AllGradients() && !(l.walk.Colored && run.Given(core.DRPB))
}

// Partial implements engine.Plan.
func (l *Plan) Partial() bool { return l.scatter }

// beginScattered clears the gradient sums of the row of keys in a slot.
func (w *worker) beginScattered(slot int, row rowTag) {
	from, size := slot*w.plan.rowPitch(), (w.to-w.from)*w.plan.depth
	clear(w.panel.scatteredQK[from:][:size])
	clear(w.panel.scatteredVO[from:][:size])
	w.panel.unwritten[slot] = w.unwritten(row.n0, row.index)
}

// resume begins a chunk right after the one before it: the keys that its items meet as well stay
// packed, with new gradient sums.
func (w *worker) resume(axis int) {
	first, _, _ := w.at.Span(axis, w.task.from[axis])
	w.at.Index[0] = w.task.from[0]
	for slot, row := range w.panel.rowTags {
		switch {
		case row == noRow:
		case [2]int{row.n0, row.index}[axis] < first:
			w.panel.rowTags[slot] = noRow
		default:
			w.beginScattered(slot, row)
		}
	}
}

// unwritten reports whether nothing was stored yet for a row of keys by earlier planes or
// chunks: this is the first plane of queries that meets the row, and no chunk that meets it came
// before, which is the previous one or, for color 1, both neighbors.
func (w *worker) unwritten(n0, n1 int) bool {
	first, _ := w.at.Lines[0].QueriesOf(n0)
	if w.at.Index[0] > max(first, w.task.from[0]) {
		return false
	}
	s, axis := w.at.Stage, w.plan.walk.ColorAxis
	if !w.plan.walk.Colored || s.Waits() || w.task.from[axis] == 0 {
		return true
	}
	n := [2]int{n0, n1}[axis]
	_, before, _ := w.at.Span(axis, w.task.from[axis]-1)
	if end := w.task.to[axis]; !s.Joined && n >= before && end < w.at.Lines[axis].Queries {
		before, _, _ = w.at.Span(axis, end)
		return n < before
	}
	return n >= before
}

// storeScattered stores the gradient sums of the row of keys in a slot. It adds to the tensors
// for lanes that the previous tile also meets, or for all lanes if the row was stored before.
// The sums include all query heads of the key head's group.
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
