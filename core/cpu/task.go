// SPDX-License-Identifier: MIT

package cpu

// begin readies a tile for a walk.
func (t *tile[T]) begin(u *run[T], s *stage) {
	t.run, t.stage, t.bins, t.simd = u, s, nil, nil
	if elementSize[T]() == float32Bytes {
		t.simd = simd
	}
	if s.walk.strip {
		return
	}
	if s.blocking.rows > 0 {
		t.beginBlocks()
		return
	}
	d, dv := int(u.p.HeadDim), int(u.p.ValueDim)
	slots := s.slots(u.p, elementSize[T]())
	t.panels[0].size(slots, s.width, d, dv, s.parts, s.pass.kind == attnKey)
	if u.p.Extra > 0 && !s.pass.kind.inverse() {
		t.panels[1].size(1, s.width, d, dv, s.parts, false)
	}
}

// bin does all tasks of one part of d_rpb, in order.
func (t *tile[T]) bin(n int) {
	head, part := n%t.counts[5], n/t.counts[5]
	perHead := t.tasks / int64(t.counts[5])
	groups := parted(t.group, t.walk.member)
	first := head/groups*t.group + head%groups*t.walk.member
	t.bins = t.partial[(part*int(t.p.Heads)+first)*biasSize(t.p):]
	for i := int64(part); i < perHead; i += int64(t.walk.bins) {
		t.task(i*int64(t.counts[5]) + int64(head))
	}
}

// task does one cell of the task grid.
func (t *tile[T]) task(n int64) {
	var at [6]int
	for i := 5; i >= 0; i-- {
		count := int64(t.counts[i])
		if i == 2+t.colourAxis && t.coloured {
			count = int64(t.ofColour(t.colour))
			at[i] = t.colour + 2*int(n%count)
		} else {
			at[i] = int(n % count)
		}
		n /= count
	}
	t.sample = at[0]
	items := t.lay(at[1])
	if items[0] == 0 || items[1] == 0 || items[2] == 0 {
		return
	}
	var from, to [3]int
	for a := range 2 {
		from[a] = at[2+a] * t.block[a]
		to[a] = min(from[a]+t.block[a], items[a])
	}
	from[2] = at[4] * t.block[2] * t.walk.tile
	to[2] = min(from[2]+t.block[2]*t.walk.tile, items[2])
	for n2 := from[2]; n2 < to[2]; n2 += t.walk.tile {
		t.planTile(n2, min(t.walk.tile, to[2]-n2))
		groups, turns := 1, 1
		if t.pass.kind.inverse() {
			turns = t.group / t.stacked
		} else {
			groups = parted(t.group, t.walk.member)
		}
		first, end := at[5]*t.walk.heads, min((at[5]+1)*t.walk.heads, int(t.p.KVHeads)*groups)
		if t.walk.stencil {
			t.stencil.first, t.stencil.end = first, end
			end = first + 1 // the others go along
		}
		for head := first; head < end; head++ {
			for turn := range turns {
				t.column(head/groups, head%groups*t.walk.member+turn, from, to)
			}
		}
	}
}

// planTile sets the positions of the tile, as plan does, and what its kind of walk
// needs to know of them.
func (t *tile[T]) planTile(n, count int) {
	switch {
	case t.walk.stencil:
		t.planStencil(n, count)
	case t.pass.kind == attnStrip:
		t.planGradients(n, count)
	case t.walk.strip:
		t.strip.own.first, t.strip.own.count = 0, count
		t.planStrip(n, count)
	case t.blocking.rows > 0:
		t.plan(n, count)
		t.planBlocks()
	default:
		t.plan(n, count)
	}
}

// lay sets the lines of a dilation class and returns the number of items on
// each axis.
func (t *tile[T]) lay(class int) (items [3]int) {
	t.class = class
	axes := t.p.SampleAxes(t.sizes, int64(t.sample))
	if t.pass.tokens {
		t.lines = [3]line{tokenLine(axes[0], 1), tokenLine(axes[1], 1), tokenLine(axes[2], int(t.p.Extra))}
		return [3]int{1, 1, int(t.p.Extra)}
	}
	rest := int64(class)
	for a := 2; a >= 0; a-- {
		t.lines[a] = newLine(axes[a], rest%axes[a].Dilation)
		rest /= axes[a].Dilation
		items[a] = t.lines[a].queries
		if t.pass.kind.inverse() {
			items[a] = t.lines[a].keys
		}
	}
	return items
}

// column walks a tile down the slow axes for one head.
func (t *tile[T]) column(kvHead, member int, from, to [3]int) {
	t.kvHead, t.member = kvHead, member
	if t.blocking.rows > 0 {
		t.blockColumn(from, to)
		return
	}
	t.items = t.positions
	if !t.pass.kind.inverse() {
		t.items *= min(t.walk.member, t.group-member)
	}
	t.panels[1].forget()
	for n0 := from[0]; n0 < to[0]; n0++ {
		t.panels[0].forget()
		t.publishRows(n0, from[1], to[1])
		for n1, end, ok := t.left.Take(1); ok; n1, end, ok = t.left.Take(1) {
			if n1+1 < end {
				t.expect(n0, n1+1)
			}
			t.row(n0, n1)
		}
	}
}

// rowsOf is a tile of items for one key head and, forward, some of its query heads, at
// one place of axis 0: what is to be known to compute rows of it.
type rowsOf struct {
	stage                  *stage
	sample, class          int
	position, positions    int // of the tile along axis 2
	kvHead, member, place0 int
	first, end             int // heads of stencils
}

// help computes rows that other goroutines have not begun until none are left that
// are worth it. Tasks are as large as packing wants them, so the last of them would
// otherwise leave goroutines idle.
func (t *tile[T]) help() {
	for {
		from, end, of, ok := t.victims.Steal()
		if !ok {
			return
		}
		if t.stage != of.stage {
			t.begin(t.run, of.stage)
		}
		t.sample = of.sample
		t.lay(of.class)
		t.stencil.first, t.stencil.end = of.first, of.end
		t.planTile(of.position, of.positions)
		t.column(of.kvHead, of.member, [3]int{of.place0, from}, [3]int{of.place0 + 1, end})
	}
}

// publishRows lets others take rows of the column in hand at a place of axis 0.
func (t *tile[T]) publishRows(n0, from, end int) {
	turns := t.pass.kind.inverse() && t.group > t.stacked // query heads that add to the same gradients
	t.left.Publish(from, end, rowsOf{t.stage, t.sample, t.class, t.place[2], t.positions, t.kvHead, t.member, n0, t.stencil.first, t.stencil.end},
		t.binning || t.parts.scatter || t.blocking.slabs || t.walk.strip && !t.walk.stencil || turns)
}
