// SPDX-License-Identifier: MIT

package walk

import (
	"math"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/core/cpu/internal/sched"
)

// Cursor is the position of one goroutine in a walk: a tile of items along the fastest axis at
// one position on each slow axis.
type Cursor struct {
	Run    *Run
	Walk   *Walk
	Stage  *Stage
	Lines  [3]Line // axes of the current dilation group
	Sample int
	KVHead int
	Member int // first query head, within the key head's group, that is processed

	Index     [3]int // index of the tile's first item on each axis
	Positions int    // items in the tile
	Lo, Hi    []int  // [position] the keys (or queries) it meets along the fastest axis: [Lo, Hi)
	Start     []int  // [position] first window slot
	Low, High int    // union of [Lo, Hi)
	Tokens    bool   // the items meet the additional tokens

	FirstHead, EndHead int // heads of the task, in walks that process heads together

	class int // index of the dilation group
	bin   int // index of the first query head's sums in the partial sums of d_rpb
	rows  *sched.Stealable[Rows]
	whole bool // rows may not be stolen
}

// Rows describes rows of a tile, for one key head and one position on axis 0, so that another
// worker can compute them.
type Rows struct {
	Stage               int // index of the stage in the job
	sample, class       int
	position, positions int // first item and number of items of the tile along axis 2
	kvHead, member      int
	plane               int
	firstHead, endHead  int
}

// Tiles is implemented by engines. A Cursor calls it during the traversal.
type Tiles interface {
	// Plan announces a tile of the positions n to n+count-1. It is called before the tile's
	// columns.
	Plan(n, count int)
	// Column computes the tile at all positions from <= n < to of the slow axes, for the
	// cursor's heads.
	Column(from, to [3]int)
}

// Begin prepares the cursor for a stage. Rows not yet begun are published in rows; if whole is
// true, other workers may not steal them.
func (c *Cursor) Begin(run *Run, s *Stage, rows *sched.Stealable[Rows], whole bool) {
	c.Run, c.Walk, c.Stage, c.rows = run, s.Walk, s, rows
	turns := c.Walk.turns() > 1                   // several query heads add to the same gradients, in a fixed order
	scatters := c.Walk.Pass.Kind == AttnGradients // rows add to the same keys, and color 1 waits for whole tasks
	c.whole = whole || s.Binning || turns || scatters
	c.Tokens = false
}

// End drops the cursor's references to the run.
func (c *Cursor) End() { c.Run, c.Walk, c.Stage, c.rows = nil, nil, nil, nil }

// Task processes one task of the stage.
func (c *Cursor) Task(n int64, tiles Tiles) {
	if !c.Stage.Binning {
		c.cell(n, tiles)
		return
	}
	// Process all cells that add to one part of d_rpb, in a fixed order.
	w := c.Walk
	head, part := int(n)%w.Counts[5], int(n)/w.Counts[5]
	perHead, groups := w.Tasks/int64(w.Counts[5]), w.groupParts()
	first := head/groups*w.Group + head%groups*w.Member
	c.bin = (part*int(w.Problem.Heads) + first) * BiasSize(w.Problem)
	for i := int64(part); i < perHead; i += int64(w.Parts) {
		c.cell(i*int64(w.Counts[5])+int64(head), tiles)
	}
}

// cell processes one cell of the task grid.
func (c *Cursor) cell(n int64, tiles Tiles) {
	at, chunks := c.index(n)
	items := c.enter(at[0], at[1])
	if items[0] == 0 || items[1] == 0 || items[2] == 0 {
		return
	}
	for range chunks {
		c.columns(at, items, tiles)
		at[2+c.Walk.ColorAxis]++
	}
}

// index returns the index of a cell in each dimension of the grid, and the number of chunks
// from there on that belong to the same task.
func (c *Cursor) index(n int64) (at [6]int, chunks int) {
	w, s := c.Walk, c.Stage
	chunks = 1
	for i := 5; i >= 0; i-- {
		first, step, count := 0, 1, w.Counts[i]
		switch {
		case !w.Colored || i != 2+w.ColorAxis:
		case s.Joined:
			count, chunks = 1, count
		default:
			first, step, count = s.Color, 2, w.ofColor(s.Color)
		}
		at[i] = first + step*int(n%int64(count))
		n /= int64(count)
	}
	return at, chunks
}

// columns processes the columns of a cell, whose dilation group has the given number of items.
func (c *Cursor) columns(at [6]int, items [3]int, tiles Tiles) {
	w := c.Walk
	var from, to [3]int
	for a := range 2 {
		from[a] = at[2+a] * w.Shape[a]
		to[a] = min(from[a]+w.Shape[a], items[a])
		if from[a] >= to[a] { // a ragged sample ends before the cell
			return
		}
	}
	from[2] = at[4] * w.Shape[2] * w.Tile
	to[2] = min(from[2]+w.Shape[2]*w.Tile, items[2])
	groups, turns := w.groupParts(), w.turns()
	first, end := at[5]*w.Heads, min((at[5]+1)*w.Heads, int(w.Problem.KVHeads)*groups)
	c.FirstHead, c.EndHead = first, end
	if w.Together {
		end = first + 1 // Column processes FirstHead to EndHead itself
	}
	for n2 := from[2]; n2 < to[2]; n2 += w.Tile {
		tiles.Plan(n2, min(w.Tile, to[2]-n2))
		for head := first; head < end; head++ {
			for turn := range turns {
				c.KVHead, c.Member = head/groups, head%groups*w.Member+turn
				tiles.Column(from, to)
			}
		}
	}
}

// Stolen processes rows that were stolen from another goroutine.
func (c *Cursor) Stolen(r *Rows, from, end int, tiles Tiles) {
	c.enter(r.sample, r.class)
	c.FirstHead, c.EndHead = r.firstHead, r.endHead
	tiles.Plan(r.position, r.positions)
	c.KVHead, c.Member = r.kvHead, r.member
	tiles.Column([3]int{r.plane, from}, [3]int{r.plane + 1, end})
}

// enter sets the lines of a dilation group and returns the number of items on each axis.
func (c *Cursor) enter(sample, class int) (items [3]int) {
	c.Sample, c.class = sample, class
	p := c.Walk.Problem
	axes := p.SampleAxes(c.Run.Sizes, int64(sample))
	if c.Walk.Pass.Tokens {
		c.Lines = [3]Line{TokenLine(axes[0], 1), TokenLine(axes[1], 1), TokenLine(axes[2], int(p.Extra))}
		return [3]int{1, 1, int(p.Extra)}
	}
	rest := int64(class)
	for a := 2; a >= 0; a-- {
		count := classes(&p.Axes[a])
		c.Lines[a] = NewLine(axes[a], (axes[a].QueryFirst+rest%count)%axes[a].Dilation)
		rest /= count
		items[a] = c.Lines[a].Queries
		if c.Walk.ByKey || c.Walk.Pass.Kind.Inverse() {
			items[a] = c.Lines[a].Keys
		}
	}
	return items
}

// SetTile makes the tile the positions n to n+count-1, and finds what each of them meets.
func (c *Cursor) SetTile(n, count int) {
	c.Index[2], c.Positions = n, count
	c.Lo, c.Hi, c.Start = kern.Grow(c.Lo, count), kern.Grow(c.Hi, count), kern.Grow(c.Start, count)
	c.Low, c.High = math.MaxInt, 0
	for i := range count {
		lo, hi, start := c.Span(2, n+i)
		c.Lo[i], c.Hi[i], c.Start[i] = lo, hi, start
		if lo < hi {
			c.Low, c.High = min(c.Low, lo), max(c.High, hi)
		}
	}
	c.Low = min(c.Low, c.High)
}

// Publish offers the rows from <= n1 < end of the current column, at position n0 of axis 0, to
// NextRows and to other workers.
func (c *Cursor) Publish(n0, from, end int) {
	c.rows.Publish(from, end, Rows{
		c.Stage.Number, c.Sample, c.class, c.Index[2], c.Positions, c.KVHead, c.Member, n0, c.FirstHead, c.EndHead,
	}, c.whole)
}

// NextRows claims up to step of the published rows. It returns the first of them and the end
// of all published rows.
func (c *Cursor) NextRows(step int) (row, end int, ok bool) { return c.rows.Take(step) }

// Span returns the range [lo, hi) of keys (or queries) that the n-th item of an axis meets,
// and the key of its first window slot, 0 in an inverse walk.
func (c *Cursor) Span(axis, n int) (lo, hi, start int) {
	if c.Walk.Pass.Kind.Inverse() {
		lo, hi = c.Lines[axis].QueriesOf(n)
		return lo, hi, 0
	}
	return c.Lines[axis].KeysOf(n)
}

// MetRows is the number of keys (in an inverse walk: queries) along axis 1.
func (c *Cursor) MetRows() int {
	if c.Walk.Pass.Kind.Inverse() {
		return c.Lines[1].Queries
	}
	return c.Lines[1].Keys
}

// Members is the number of heads that an item meets at once: 1 key head or, in an inverse
// walk, Stacked query heads.
func (c *Cursor) Members() int {
	if c.Walk.Pass.Kind.Inverse() {
		return c.Walk.Stacked
	}
	return 1
}

// MembersInHand is the number of query heads, from Member on, whose items are computed
// together.
func (c *Cursor) MembersInHand() int {
	if c.Walk.Pass.Kind.Inverse() {
		return 1
	}
	return min(c.Walk.Member, c.Walk.Group-c.Member)
}

// Adds reports whether gradients are added to those that earlier query heads stored.
func (c *Cursor) Adds() bool { return c.Walk.Pass.Kind.Inverse() && c.Member > 0 }

// ItemHead is the head of the items: a query head or, in an inverse walk, the key head.
func (c *Cursor) ItemHead(member int) int {
	if c.Walk.Pass.Kind.Inverse() {
		return c.KVHead
	}
	return c.QueryHead(member)
}

// MetHead is the head that the items meet: the key head or, in an inverse walk, a query head.
func (c *Cursor) MetHead(member int) int {
	if c.Walk.Pass.Kind.Inverse() {
		return c.QueryHead(member)
	}
	return c.KVHead
}

// QueryHead is the query head with the given index relative to Member.
func (c *Cursor) QueryHead(member int) int { return c.KVHead*c.Walk.Group + c.Member + member }

// ItemRoles returns the tensors that items are read from: the one with QK channels and the one
// with VO channels.
func (c *Cursor) ItemRoles() (qk, vo core.Role) {
	switch {
	case !c.Walk.Pass.Kind.Inverse():
		return core.Query, core.DOut
	case c.Walk.Pass.Tokens:
		return core.ExtraKey, core.ExtraValue
	}
	return core.Key, core.Value
}

// MetRoles returns the tensors of the keys (or queries) that items meet, in the same order as
// ItemRoles.
func (c *Cursor) MetRoles() (qk, vo core.Role) {
	switch {
	case c.Walk.Pass.Kind.Inverse():
		return core.Query, core.DOut
	case c.Tokens:
		return core.ExtraKey, core.ExtraValue
	}
	return core.Key, core.Value
}

// Address returns the address of the channels of one row of a role's tensor. n0, n1 and n2
// count queries or keys of the lines, whichever the tensor holds.
func (c *Cursor) Address(role core.Role, n0, n1, n2, head int) core.Address {
	x, l := &c.Run.Tensors[role], &c.Lines
	switch role {
	case core.Query, core.DQuery:
		n0, n1, n2 = l[0].Query.At(n0), l[1].Query.At(n1), l[2].Query.At(n2)
	case core.Key, core.Value, core.DKey, core.DValue:
		n0, n1, n2 = l[0].Key.At(n0), l[1].Key.At(n1), l[2].Key.At(n2)
	case core.ExtraKey, core.ExtraValue, core.DExtraKey, core.DExtraValue:
		return x.Base.Add(c.Sample*x.Strides[0] + n2*x.Strides[1] + head*x.Strides[2])
	default:
		n0, n1, n2 = l[0].Output.At(n0), l[1].Output.At(n1), l[2].Output.At(n2)
	}
	return x.Row(c.Sample, n0, n1, n2, head)
}

// Step is the distance in bytes between the channels of neighboring queries or keys of the
// dilation group along the fastest axis.
func (c *Cursor) Step(role core.Role) int {
	x, l := &c.Run.Tensors[role], &c.Lines[2]
	switch role {
	case core.Query, core.DQuery:
		return l.Query.Step * x.Strides[3]
	case core.Key, core.Value, core.DKey, core.DValue:
		return l.Key.Step * x.Strides[3]
	case core.ExtraKey, core.ExtraValue, core.DExtraKey, core.DExtraValue:
		return x.Strides[1]
	}
	return l.Output.Step * x.Strides[3]
}

// Source describes the rows of channels of a role's tensor along the fastest axis, beginning
// with query or key n2.
func (c *Cursor) Source(role core.Role, n0, n1, n2, head, channels int) kern.Source {
	return kern.Source{P: c.Address(role, n0, n1, n2, head), Step: c.Step(role), Channels: channels, DType: c.Run.Tensors[role].DType}
}

// Items describes the rows of channels of the tile's items.
func (c *Cursor) Items(role core.Role, member, channels int) kern.Source {
	return c.Source(role, c.Index[0], c.Index[1], c.Index[2], c.ItemHead(member), channels)
}

// Bias is the index, along an axis of rpb and d_rpb, for an item and a key (or query) that it
// meets.
func (c *Cursor) Bias(axis, item, met int) int {
	l, kernel := &c.Lines[axis], int(c.Walk.Problem.Axes[axis].Kernel)
	if c.Walk.Pass.Kind.Inverse() {
		return l.PositionOf(item) - l.Position.At(met) + kernel - 1
	}
	return l.PositionOf(met) - l.Position.At(item) + kernel - 1
}

// BiasStep is the change of Bias from one key (or query) that an item meets to the next.
func (c *Cursor) BiasStep(axis int) int {
	if c.Walk.Pass.Kind.Inverse() {
		return -c.Lines[axis].Position.Step
	}
	return 1
}
