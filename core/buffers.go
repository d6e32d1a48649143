// SPDX-License-Identifier: MIT

package core

import (
	"math"
	"math/bits"
)

// Role identifies a tensor of natten_mps_args. The order is that of its fields.
type Role int

// Roles.
const (
	Query Role = iota
	Key
	Value
	Attn
	RPB
	ExtraKey
	ExtraValue
	Out
	LSE
	DOut
	DLSE
	DAttn
	DQuery
	DKey
	DValue
	DRPB
	DExtraKey
	DExtraValue
	NumRoles
)

var roleNames = [NumRoles]string{
	"query", "key", "value", "attn", "rpb", "extra_key", "extra_value", "out", "lse", "d_out",
	"d_lse", "d_attn", "d_query", "d_key", "d_value", "d_rpb", "d_extra_key", "d_extra_value",
}

func (r Role) String() string { return roleNames[r] }

// Tensor is memory with strides, which are counted in elements. For GPU memory, Data
// is the address of an id<MTLBuffer>. The address is not kept after a run.
type Tensor struct {
	Data    Address // 0: not given
	Offset  int64   // bytes
	Strides [6]int64
}

// Buffers are the tensors of one run.
type Buffers struct {
	Tensors [NumRoles]Tensor
	// The C function that says whether to end the run, and its argument; backends call
	// Interrupted instead.
	Interrupt, InterruptContext Address

	Sizes   []int64 // Ragged problems: [batch][rank] lengths
	Threads int     // the most threads to use, >= 1
	// Interrupted says whether the host wants the run to end. It is nil if the host never
	// does. Only the goroutine of Run may call it, as often as it likes.
	Interrupted func() bool
}

// ErrInterrupted is the error of a run that Interrupted ended.
var ErrInterrupted = Errorf(Interrupted, "the run was interrupted, its outputs are incomplete (want interrupt to return 0)")

// Given reports whether the caller passed the tensor.
func (b *Buffers) Given(r Role) bool { return b.Tensors[r].Data != 0 }

// access says how an operation uses a role's tensor.
type access uint8

const (
	unused access = iota
	reads
	readsIfGiven
	writes
	writesIfGiven
)

func (a access) writable() bool { return a == writes || a == writesIfGiven }

func (a access) optional() bool { return a == readsIfGiven || a == writesIfGiven }

var accessOf = [...][NumRoles]access{
	AttnForward: {
		Query: reads, Key: reads, Value: reads, RPB: reads, ExtraKey: reads, ExtraValue: reads,
		Out: writes, LSE: writesIfGiven,
	},
	AttnBackward: {
		Query: reads, Key: reads, Value: reads, RPB: reads, ExtraKey: reads, ExtraValue: reads,
		Out: reads, LSE: reads, DOut: reads, DLSE: readsIfGiven,
		DQuery: writesIfGiven, DKey: writesIfGiven, DValue: writesIfGiven, DRPB: writesIfGiven,
		DExtraKey: writesIfGiven, DExtraValue: writesIfGiven,
	},
	QKForward: {Query: reads, Key: reads, RPB: reads, ExtraKey: reads, Attn: writes},
	QKBackward: {
		Query: reads, Key: reads, RPB: readsIfGiven, ExtraKey: reads, DAttn: reads,
		DQuery: writesIfGiven, DKey: writesIfGiven, DRPB: writesIfGiven, DExtraKey: writesIfGiven,
	},
	AVForward: {Attn: reads, Value: reads, ExtraValue: reads, Out: writes},
	AVBackward: {
		Attn: reads, Value: reads, ExtraValue: reads, DOut: reads,
		DAttn: writesIfGiven, DValue: writesIfGiven, DExtraValue: writesIfGiven,
	},
}

func (p *Problem) access(r Role) access {
	switch r {
	case RPB, DRPB:
		if !p.RPB {
			return unused
		}
	case ExtraKey, ExtraValue, DExtraKey, DExtraValue:
		if p.Extra == 0 {
			return unused
		}
	}
	return accessOf[p.Op][r]
}

// Reads reports whether the operation reads the role's tensor.
func (p *Problem) Reads(r Role) bool { return p.access(r) == reads || p.access(r) == readsIfGiven }

// Writes reports whether the operation writes the role's tensor.
func (p *Problem) Writes(r Role) bool { return p.access(r).writable() }

// Optional reports whether the role's tensor may be left out.
func (p *Problem) Optional(r Role) bool { return p.access(r).optional() }

// Shape returns the shape of a role's tensor in a normalized problem. It has all
// three axes, so it is [batch, axis, axis, axis, head, channel] for most roles.
func (p *Problem) Shape(r Role) []int64 {
	a := &p.Axes
	switch r {
	case Query, DQuery:
		return []int64{p.Batch, a[0].Queries(), a[1].Queries(), a[2].Queries(), p.Heads, p.HeadDim}
	case Key, DKey:
		return []int64{p.Batch, a[0].Keys(), a[1].Keys(), a[2].Keys(), p.KVHeads, p.HeadDim}
	case Value, DValue:
		return []int64{p.Batch, a[0].Keys(), a[1].Keys(), a[2].Keys(), p.KVHeads, p.ValueDim}
	case Out, DOut:
		return []int64{p.Batch, a[0].Outputs(), a[1].Outputs(), a[2].Outputs(), p.Heads, p.ValueDim}
	case Attn, DAttn:
		return []int64{p.Batch, a[0].Outputs(), a[1].Outputs(), a[2].Outputs(), p.Heads, p.Slots()}
	case LSE, DLSE:
		return []int64{p.Batch, a[0].Outputs(), a[1].Outputs(), a[2].Outputs(), p.Heads}
	case RPB, DRPB:
		return []int64{p.Heads, 2*a[0].Kernel - 1, 2*a[1].Kernel - 1, 2*a[2].Kernel - 1}
	case ExtraKey, DExtraKey:
		return []int64{p.Batch, p.Extra, p.KVHeads, p.HeadDim}
	default: // ExtraValue, DExtraValue
		return []int64{p.Batch, p.Extra, p.KVHeads, p.ValueDim}
	}
}

// DTypeOf returns the element type of a role's tensor.
func (p *Problem) DTypeOf(r Role) DType {
	if r == LSE || r == DLSE {
		return p.DType.Accumulator()
	}
	return p.DType
}

// ElementSize returns the size in bytes of one element of a role's tensor.
func (p *Problem) ElementSize(r Role) int64 { return p.DTypeOf(r).Size() }

// roleCheck holds what checking one tensor needs. It is computed once per plan.
type roleCheck struct {
	role   Role
	access access
	shape  []int64
	size   int64
	empty  bool
	axes   bool // dimensions 1..3 are the axes
	dense  bool // the last dimension has stride 1
}

func (p *Problem) roleChecks() []roleCheck {
	var checks []roleCheck
	for r := range NumRoles {
		if p.access(r) == unused {
			continue
		}
		c := roleCheck{role: r, access: p.access(r), shape: p.Shape(r), size: p.ElementSize(r)}
		for _, n := range c.shape {
			c.empty = c.empty || n == 0
		}
		c.axes = r != ExtraKey && r != ExtraValue && r != DExtraKey && r != DExtraValue
		c.dense = r != LSE && r != DLSE && r != RPB && r != DRPB
		checks = append(checks, c)
	}
	return checks
}

// accept checks the caller's tensors and spreads their strides over three axes. It
// clears tensors that the operation does not use.
func (p *Problem) accept(checks []roleCheck, b *Buffers) error {
	next := 0
	for r := range NumRoles {
		if next == len(checks) || checks[next].role != r {
			b.Tensors[r] = Tensor{}
			continue
		}
		c := &checks[next]
		next++
		if err := p.acceptTensor(c, &b.Tensors[r]); err != nil {
			return err
		}
	}
	if err := p.acceptOutputs(checks, b); err != nil {
		return err
	}
	if b.Threads < 1 {
		return invalid("threads is %d (want >= 1)", b.Threads)
	}
	return p.acceptSizes(b)
}

// lowestAddress is the end of the memory that no system grants. Go does not say at which address
// of it a fault was, so Known could not tell such a tensor from a defect.
const lowestAddress Address = 1 << 12

func (p *Problem) acceptTensor(c *roleCheck, t *Tensor) error {
	if t.Data == 0 {
		if c.empty || c.access.optional() {
			return nil
		}
		return invalid("%v is NULL (%v needs it)", c.role, p.Op)
	}
	if c.axes {
		t.spread(p.Rank)
	}
	address := Address(t.Offset)
	if p.Memory == Host {
		address += t.Data
	} else if t.Offset < 0 {
		return invalid("%v has offset %d (want >= 0)", c.role, t.Offset)
	}
	if address%Address(c.size) != 0 {
		return invalid("%v is not aligned to its %d-byte elements", c.role, c.size)
	}
	if p.Memory == Host && address < lowestAddress && !c.empty {
		return invalid("%v is at address %#x (want >= %#x)", c.role, address, lowestAddress)
	}
	last := len(c.shape) - 1
	if c.dense && c.shape[last] > 1 && t.Strides[last] != 1 {
		return invalid("%v has stride %d in its last dimension (want 1)", c.role, t.Strides[last])
	}
	var extent uint64
	for i, n := range c.shape {
		if n <= 1 {
			continue
		}
		if c.access.writable() && t.Strides[i] == 0 {
			return invalid("%v is written and has stride 0 in dimension %d of size %d (want distinct elements)", c.role, i, n)
		}
		hi, lo := bits.Mul64(uint64(max(t.Strides[i], -t.Strides[i])), uint64(n-1))
		extent += lo
		if hi != 0 || lo > math.MaxInt64/16 || extent > math.MaxInt64/16 {
			return invalid("%v has stride %d over %d elements, which does not fit 63-bit addresses", c.role, t.Strides[i], n)
		}
	}
	return nil
}

// acceptOutputs refuses outputs that begin where another tensor does. Whether tensors overlap
// otherwise is not checked, as those that are interleaved do not.
func (p *Problem) acceptOutputs(checks []roleCheck, b *Buffers) error {
	var begin [NumRoles]Address // of each check's tensor; 0 if it has no elements
	for i := range checks {
		if t := &b.Tensors[checks[i].role]; t.Data != 0 && !checks[i].empty {
			begin[i] = t.Data + Address(t.Offset)
		}
	}
	for i := range checks {
		if begin[i] == 0 || !checks[i].access.writable() {
			continue
		}
		for j, at := range begin[:len(checks)] {
			if at != begin[i] || i == j {
				continue
			}
			out, other := checks[i].role, checks[j].role
			if p.Memory == Host || b.Tensors[out].Data == b.Tensors[other].Data { // else the sum is no address
				return invalid("%v begins at the address of %v (want outputs that overlap no other tensor)", out, other)
			}
		}
	}
	return nil
}

// spread moves the strides of the rank axes that the caller gave to the last rank of
// three.
func (t *Tensor) spread(rank int) {
	s := t.Strides
	t.Strides = [6]int64{s[0]}
	copy(t.Strides[4-rank:], s[1:])
}

func (p *Problem) acceptSizes(b *Buffers) error {
	if !p.Ragged {
		return nil
	}
	if want := p.Batch * int64(p.Rank); int64(len(b.Sizes)) != want {
		return invalid("sizes has %d entries (want batch * rank = %d)", len(b.Sizes), want)
	}
	for i, n := range b.Sizes {
		axis := i % p.Rank
		a := &p.Axes[3-p.Rank+axis]
		if n < a.Kernel*a.Dilation || n > a.Length {
			return invalid("size %d of sample %d on axis %d (want kernel * dilation = %d to length %d)",
				n, i/p.Rank, axis, a.Kernel*a.Dilation, a.Length)
		}
		b := a.WithLength(n)
		if err := b.checkHeld(axis); err != nil {
			return invalid("in sample %d of size %d, %v", i/p.Rank, n, err)
		}
	}
	return nil
}
