// SPDX-License-Identifier: MIT

package walk

import (
	"math"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/core/cpu/internal/sched"
)

// Cursor is where one goroutine is in a walk: in a tile of items along the fastest axis,
// at one place of the slow axes.
type Cursor struct {
	Run    *Run
	Walk   *Walk
	Stage  *Stage
	Lines  [3]Line // of the dilation group
	Sample int
	KVHead int
	Member int // first query head of the key head's group that takes part

	Index     [3]int // number of the tile's first item on each axis
	Positions int    // of the tile along the fastest axis
	Lo, Hi    []int  // [position] what it meets along the fastest axis
	Start     []int  // [position] first window slot
	Low, High int    // union of [Lo, Hi)
	Tokens    bool   // what is met are the additional tokens

	FirstHead, EndHead int // of the task, in walks that take heads together

	class int // of dilation
	bin   int // element of the first query head in the partial sums of d_rpb
	rows  *sched.Stealable[Rows]
	whole bool // nobody may take rows off
}

// Rows is what a worker must know to compute rows of a tile for a key head at one place of
// axis 0.
type Rows struct {
	Stage               int // number of it in the job
	sample, class       int
	position, positions int // of the tile along axis 2
	kvHead, member      int
	plane               int
	firstHead, endHead  int
}

// Tiles is what an engine does on the way.
type Tiles interface {
	// Plan is called with the positions of a tile, n <= number < n+count, before its columns.
	Plan(n, count int)
	// Column is called to walk the tile down the slow axes for the cursor's heads.
	Column(from, to [3]int)
}

// Begin readies the cursor for a stage. Rows that others may take are published in rows,
// unless whole says that they may not.
func (c *Cursor) Begin(run *Run, s *Stage, rows *sched.Stealable[Rows], whole bool) {
	c.Run, c.Walk, c.Stage, c.rows = run, s.Walk, s, rows
	turns := c.Walk.turns() > 1 // query heads that add to the same gradients
	c.whole = whole || s.Binning || turns
	c.Tokens = false
}

// End lets go of the run.
func (c *Cursor) End() { c.Run, c.Walk, c.Stage, c.rows = nil, nil, nil, nil }

// Task goes through one task of the stage.
func (c *Cursor) Task(n int64, tiles Tiles) {
	if !c.Stage.Binning {
		c.cell(n, tiles)
		return
	}
	// All tasks of one part of d_rpb, in order.
	w := c.Walk
	head, part := int(n)%w.Counts[5], int(n)/w.Counts[5]
	perHead, groups := w.Tasks/int64(w.Counts[5]), w.groupParts()
	first := head/groups*w.Group + head%groups*w.Member
	c.bin = (part*int(w.Problem.Heads) + first) * BiasSize(w.Problem)
	for i := int64(part); i < perHead; i += int64(w.Parts) {
		c.cell(i*int64(w.Counts[5])+int64(head), tiles)
	}
}

// cell goes through one cell of the task grid.
func (c *Cursor) cell(n int64, tiles Tiles) {
	w := c.Walk
	var at [6]int
	for i := 5; i >= 0; i-- {
		count := int64(w.Counts[i])
		if i == 2+w.ColorAxis && w.Colored {
			count = int64(w.ofColor(c.Stage.Color))
			at[i] = c.Stage.Color + 2*int(n%count)
		} else {
			at[i] = int(n % count)
		}
		n /= count
	}
	items := c.enter(at[0], at[1])
	if items[0] == 0 || items[1] == 0 || items[2] == 0 {
		return
	}
	var from, to [3]int
	for a := range 2 {
		from[a] = at[2+a] * w.Shape[a]
		to[a] = min(from[a]+w.Shape[a], items[a])
	}
	from[2] = at[4] * w.Shape[2] * w.Tile
	to[2] = min(from[2]+w.Shape[2]*w.Tile, items[2])
	groups, turns := w.groupParts(), w.turns()
	first, end := at[5]*w.Heads, min((at[5]+1)*w.Heads, int(w.Problem.KVHeads)*groups)
	c.FirstHead, c.EndHead = first, end
	if w.Together {
		end = first + 1 // the others go along
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

// Stolen goes through rows that were taken off another goroutine.
func (c *Cursor) Stolen(r *Rows, from, end int, tiles Tiles) {
	c.enter(r.sample, r.class)
	c.FirstHead, c.EndHead = r.firstHead, r.endHead
	tiles.Plan(r.position, r.positions)
	c.KVHead, c.Member = r.kvHead, r.member
	tiles.Column([3]int{r.plane, from}, [3]int{r.plane + 1, end})
}

// enter sets the lines of a dilation group and returns the number of items on each axis.
// A group's first row is that of the first key and query of its lines; see NewLine.
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
		c.Lines[a] = NewLine(axes[a], rest%axes[a].Dilation)
		rest /= axes[a].Dilation
		items[a] = c.Lines[a].Queries
		if c.Walk.ByKey || c.Walk.Pass.Kind.Inverse() {
			items[a] = c.Lines[a].Keys
		}
	}
	return items
}

// SetTile sets the positions of the tile, n <= number < n+count, and what they meet.
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

// Publish makes rows of the column in hand, at a place of axis 0, those to be taken by
// NextRows or by others.
func (c *Cursor) Publish(n0, from, end int) {
	c.rows.Publish(from, end, Rows{
		c.Stage.Number, c.Sample, c.class, c.Index[2], c.Positions, c.KVHead, c.Member, n0, c.FirstHead, c.EndHead,
	}, c.whole)
}

// NextRows returns the next of the published rows, up to step of them, and the end of
// those that are left.
func (c *Cursor) NextRows(step int) (row, end int, ok bool) { return c.rows.Take(step) }

// Span returns what the n-th item of an axis meets, lo <= number < hi, and the first slot
// of its window.
func (c *Cursor) Span(axis, n int) (lo, hi, start int) {
	if c.Walk.Pass.Kind.Inverse() {
		lo, hi = c.Lines[axis].QueriesOf(n)
		return lo, hi, 0
	}
	return c.Lines[axis].KeysOf(n)
}

// MetRows is the number of rows along axis 1 of what items meet.
func (c *Cursor) MetRows() int {
	if c.Walk.Pass.Kind.Inverse() {
		return c.Lines[1].Queries
	}
	return c.Lines[1].Keys
}

// Members is the number of query heads of whose queries are met together.
func (c *Cursor) Members() int {
	if c.Walk.Pass.Kind.Inverse() {
		return c.Walk.Stacked
	}
	return 1
}

// MembersInHand is the number of query heads, from Member on, that are items together.
func (c *Cursor) MembersInHand() int {
	if c.Walk.Pass.Kind.Inverse() {
		return 1
	}
	return min(c.Walk.Member, c.Walk.Group-c.Member)
}

// Adds reports whether gradients are added to those of query heads before.
func (c *Cursor) Adds() bool { return c.Walk.Pass.Kind.Inverse() && c.Member > 0 }

// ItemHead is the head of items: a query head, or the key head in the inverse walk.
func (c *Cursor) ItemHead(member int) int {
	if c.Walk.Pass.Kind.Inverse() {
		return c.KVHead
	}
	return c.QueryHead(member)
}

// MetHead is the head of what is met: the key head, or a query head in the inverse walk.
func (c *Cursor) MetHead(member int) int {
	if c.Walk.Pass.Kind.Inverse() {
		return c.QueryHead(member)
	}
	return c.KVHead
}

// QueryHead is the query head of a member, counted from Member.
func (c *Cursor) QueryHead(member int) int { return c.KVHead*c.Walk.Group + c.Member + member }

// ItemRoles are the tensors that items come from: of QK and of VO channels.
func (c *Cursor) ItemRoles() (qk, vo core.Role) {
	switch {
	case !c.Walk.Pass.Kind.Inverse():
		return core.Query, core.DOut
	case c.Walk.Pass.Tokens:
		return core.ExtraKey, core.ExtraValue
	}
	return core.Key, core.Value
}

// MetRoles are the tensors that what is met comes from.
func (c *Cursor) MetRoles() (qk, vo core.Role) {
	switch {
	case c.Walk.Pass.Kind.Inverse():
		return core.Query, core.DOut
	case c.Tokens:
		return core.ExtraKey, core.ExtraValue
	}
	return core.Key, core.Value
}

// Address returns where the channels of a role's tensor are for the n-th query or key of
// the lines, whichever the tensor has.
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

// Step is the number of bytes from the channels at one place of the fastest axis to those
// at the next.
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

// Source is the rows of channels of a role's tensor along the fastest axis, from the n2-th
// query or key on.
func (c *Cursor) Source(role core.Role, n0, n1, n2, head, channels int) kern.Source {
	return kern.Source{P: c.Address(role, n0, n1, n2, head), Step: c.Step(role), Channels: channels, DType: c.Run.Tensors[role].DType}
}

// Items is the rows of the tile's items.
func (c *Cursor) Items(role core.Role, member, channels int) kern.Source {
	return c.Source(role, c.Index[0], c.Index[1], c.Index[2], c.ItemHead(member), channels)
}

// Bias is the entry of d_rpb, and of rpb, for an item and what it meets on an axis.
func (c *Cursor) Bias(axis, item, met int) int {
	l, kernel := &c.Lines[axis], int(c.Walk.Problem.Axes[axis].Kernel)
	if c.Walk.Pass.Kind.Inverse() {
		return l.PositionOf(item) - l.Position.At(met) + kernel - 1
	}
	return l.PositionOf(met) - l.Position.At(item) + kernel - 1
}

// BiasStep is what Bias changes by from one to the next of what is met.
func (c *Cursor) BiasStep(axis int) int {
	if c.Walk.Pass.Kind.Inverse() {
		return -c.Lines[axis].Position.Step
	}
	return 1
}
