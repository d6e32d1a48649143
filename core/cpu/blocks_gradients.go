// SPDX-License-Identifier: MIT

package cpu

import "github.com/natten-mps/natten-mps/core"

// One walk of blocks over the queries can give all gradients: a kernel adds to the sums
// of the keys that a block meets what its queries have for them. The sums are beside the
// packed rows and leave them for the tensors when another row takes the slot. A key's row
// may leave more than once: from neighbouring tiles and planes and from the task of the
// neighbouring rows, which a coloured walk does not run at the same time. The order in
// which they are added is that of the walk, whatever the number of threads.

const (
	fewestAtOnce = 2 // tasks that can run at the same time: with fewer, two walks are quicker
	tasksAtOnce  = 8 // for which heads are parted
)

// chunkWork is the number of multiply-adds of a forward pass that are worth a task of their
// own and its wait for those of the other colour.
var chunkWork = float64(1 << 21)

// newGradientWalk is the walk that gives all gradients, or nil if the problem has none.
func newGradientWalk(p *core.Problem, element int) *walk {
	if p.Op != core.AttnBackward || p.Group() > largestGroup {
		return nil
	}
	w, widest := newSizes(p, pass{attnQuery, false, []core.Role{core.DQuery, core.DKey, core.DValue, core.DRPB}})
	w.parts.scatter = true
	if !w.chooseBlocks(p, widest, element) {
		return nil
	}
	// Sums are added to tensors in whole vectors, and those of 16 bits would be rounded on the way.
	adds := apart(p, w.pass)
	once := w.tile >= w.extent[2] && (widest[0] == 1 || w.blocking.ring >= w.columns[1])
	if !adds && !once || !w.chooseChunks(p, widest, adds) {
		return nil
	}
	return w
}

// chooseChunks makes tasks of whole heads or, where those are few and tasks may add to
// what others stored, of chunks of rows that are so long that only neighbours meet the same
// keys. It reports whether there are enough.
func (w *walk) chooseChunks(p *core.Problem, widest [3]int, adds bool) bool {
	w.heads, w.block = 1, [3]int{max(w.extent[0], 1), max(w.extent[1], 1), max(parted(w.extent[2], w.tile), 1)}
	if widest[0] == 1 {
		w.block[0], w.colourAxis = 1, 1
	}
	w.counts = [6]int{
		int(p.Batch), int(p.Axes[0].Dilation * p.Axes[1].Dilation * p.Axes[2].Dilation),
		parted(w.extent[0], w.block[0]), 1, 1, int(p.KVHeads),
	}
	w.countTasks()
	atOnce, work := w.tasks, multiplyAdds(p)/float64(w.tasks)
	for chunks := 4; adds && atOnce < tasksAtOnce && chunks <= w.extent[w.colourAxis]; chunks *= 2 {
		size := parted(w.extent[w.colourAxis], chunks)
		if w.colourAxis == 1 {
			size += size & 1 // groups of rows fit pairs that begin at even ones
		}
		if !w.keysApart(p, size) || work/float64(chunks) < chunkWork {
			break
		}
		w.coloured, w.block[w.colourAxis] = true, size
		atOnce = w.tasks * int64(parted(w.extent[w.colourAxis], size)/2)
	}
	w.counts[2+w.colourAxis] = max(parted(w.extent[w.colourAxis], w.block[w.colourAxis]), 1)
	w.countTasks()
	w.bins = int(min(16, max(w.tasks/int64(max(w.counts[5], 1)), 1)))
	return atOnce >= fewestAtOnce || work < 4*chunkWork // then one goroutine takes no longer than two with two walks
}

// keysApart reports whether chunks of so many rows meet no key in common unless they are
// neighbours.
func (w *walk) keysApart(p *core.Problem, size int) bool {
	a := &p.Axes[w.colourAxis]
	if p.Ragged { // at the end of any axis windows reach back by up to Kernel-1 keys
		return size >= int(a.Kernel+a.Kernel/2)
	}
	for residue := range a.Dilation {
		l := newLine(*a, residue)
		for first := 2 * size; first < l.queries; first += size {
			_, end, _ := l.keysOf(first - size - 1)
			if lo, _, _ := l.keysOf(first); end > lo {
				return false
			}
		}
	}
	return true
}

// ofColour is the number of chunks of a colour.
func (w *walk) ofColour(colour int) int {
	return parted(w.counts[2+w.colourAxis]-colour, 2)
}

// runColours runs the tasks of even chunks, then those of odd ones.
func (u *run[T]) runColours() {
	w := u.all
	chunks := int64(w.counts[2+w.colourAxis])
	for colour := range 2 {
		s := u.stage(w)
		s.colour, s.count = colour, w.tasks/chunks*int64(w.ofColour(colour))
		u.stages = append(u.stages, s)
		u.runStages()
	}
}

// wantsAll reports whether the walk of all gradients gives what is wanted.
func (u *run[T]) wantsAll() bool {
	x := &u.tensors
	return x[core.DQuery].given() && x[core.DKey].given() && x[core.DValue].given() && !(u.all.coloured && x[core.DRPB].given())
}

// beginColumn clears the sums of a row of keys.
func (t *tile[T]) beginColumn(r *place) {
	s, b := &t.blocking, &t.blocked
	for i := range b.given {
		clear(b.given[i][r.slot*s.rowPitch():][:(t.to-t.from)*s.depth])
	}
	b.unwritten[r.slot] = t.unwritten(r.n0, r.number)
}

// unwritten reports whether nothing was stored for a row of keys before this tile: this
// is the first plane of queries that meets it, and no chunk that was before does.
func (t *tile[T]) unwritten(n0, n1 int) bool {
	b := &t.blocked
	first, _ := t.lines[0].queriesOf(n0)
	if t.place[0] > max(first, b.first[0]) {
		return false
	}
	if !t.coloured || t.colour == 0 {
		return true
	}
	axis, n := t.colourAxis, [2]int{n0, n1}[t.colourAxis]
	_, before, _ := t.span(axis, b.first[axis]-1)
	if end := b.end[axis]; n >= before && end < t.lines[axis].queries {
		before, _, _ = t.span(axis, end)
		return n < before
	}
	return n >= before
}

// storeColumn writes the sums of the row of keys in a slot. Those of the lanes that the
// tile before meets too, or all, are added to what is there.
func (t *tile[T]) storeColumn(slot int) {
	s, b := &t.blocking, &t.blocked
	tag := b.rowTags[slot]
	if tag < 0 {
		return
	}
	c := column{n0: tag >> 32, n1: tag & (1<<32 - 1)}
	lanes, there := t.to-t.from, t.to-t.from
	if b.unwritten[slot] {
		there = 0
		if t.place[2] > 0 {
			_, before, _ := t.span(2, t.place[2]-1)
			there = before - t.from
		}
	}
	b.factors = append(b.factors[:0], 1)
	for i, role := range [2]core.Role{core.DKey, core.DValue} {
		p, step := t.lane(role, &c, t.kvHead)
		x := source{p, step, int([2]int64{t.p.HeadDim, t.p.ValueDim}[i]), t.p.DType}
		sums := b.given[i][slot*s.rowPitch():]
		if there > 0 {
			t.addRows(x, sums, s.depth, there, b.factors, 0)
		}
		if there < lanes {
			x.p = x.p.Add(there * x.step)
			t.storeRows(x, sums[there*s.depth:], s.depth, lanes-there, b.factors, 0)
		}
	}
}
