// SPDX-License-Identifier: MIT

package core

import "math"

// Op is an operation. The values are those of natten_mps_op.
type Op int32

// Operations.
const (
	AttnForward Op = iota + 1
	AttnBackward
	QKForward
	QKBackward
	AVForward
	AVBackward
)

var opNames = [...]string{
	"", "attn_forward", "attn_backward", "qk_forward", "qk_backward", "av_forward", "av_backward",
}

func (o Op) String() string {
	if o.Valid() {
		return opNames[o]
	}
	return "unknown"
}

// Valid reports whether o is a known operation.
func (o Op) Valid() bool { return o >= AttnForward && o <= AVBackward }

// Fused reports whether o is one of the fused attention operations.
func (o Op) Fused() bool { return o == AttnForward || o == AttnBackward }

// UsesQK reports whether o reads queries and keys.
func (o Op) UsesQK() bool { return o <= QKBackward }

// UsesValue reports whether o reads values.
func (o Op) UsesValue() bool { return o.Fused() || o >= AVForward }

// Memory says where the tensors are stored. The values are those of
// natten_mps_memory.
type Memory int32

// Values of Memory.
const (
	Host Memory = iota
	Metal
)

// maxLength is the largest length of an axis. It keeps the window arithmetic from
// overflowing.
const maxLength = 1 << 60

// MaxHeadDim is the largest head dimension. It ensures that a row always fits scratch
// memory.
const MaxHeadDim = 4096

// Problem describes a computation without its data. It is the counterpart of
// natten_mps_problem in the C header. Equal normalized problems have equal plans.
type Problem struct {
	Op       Op
	DType    DType
	Memory   Memory
	Rank     int
	Batch    int64
	Heads    int64
	KVHeads  int64
	HeadDim  int64
	ValueDim int64
	Extra    int64   // additional keys and values that every query sees
	Scale    float64 // of the logits, before the bias; valid if HasScale; 1 for operations without logits
	HasScale bool    // set by Normalize
	RPB      bool
	Ragged   bool
	// Axes are the axes of the token layout, the fastest-varying last. Before
	// Normalize only the first Rank are used, afterwards all three.
	Axes [3]Axis
}

// Group returns the number of query heads that share a key/value head.
func (p *Problem) Group() int64 { return p.Heads / p.KVHeads }

// WindowSize returns the number of window slots of one query.
func (p *Problem) WindowSize() int64 {
	return p.Axes[0].Kernel * p.Axes[1].Kernel * p.Axes[2].Kernel
}

// Slots returns the size of the last dimension of attn: window slots plus additional
// tokens.
func (p *Problem) Slots() int64 { return p.WindowSize() + p.Extra }

// Outputs returns the number of queries computed per sample.
func (p *Problem) Outputs() int64 {
	return p.Axes[0].Outputs() * p.Axes[1].Outputs() * p.Axes[2].Outputs()
}

// SkipsQueries reports whether an axis has a query step, so that only some queries are
// computed.
func (p *Problem) SkipsQueries() bool {
	return p.Axes[0].QueryStep > 1 || p.Axes[1].QueryStep > 1 || p.Axes[2].QueryStep > 1
}

// SampleAxes returns the axes of one sample of a batch. sizes is Buffers.Sizes.
func (p *Problem) SampleAxes(sizes []int64, sample int64) [3]Axis {
	axes := p.Axes
	if p.Ragged {
		for i := range p.Rank {
			axes[3-p.Rank+i].Length = sizes[sample*int64(p.Rank)+int64(i)]
		}
	}
	return axes
}

// Normalize checks p and returns it with defaults filled in and with unit axes before
// the given ones.
func (p Problem) Normalize() (*Problem, error) {
	if err := p.checkChoices(); err != nil {
		return nil, err
	}
	if err := p.normalizeHeads(); err != nil {
		return nil, err
	}
	for i := range p.Rank {
		if err := p.Axes[i].Normalize(i); err != nil {
			return nil, err
		}
		if !p.Ragged { // ragged: it depends on each sample's size
			if err := p.Axes[i].checkHeld(i); err != nil {
				return nil, err
			}
		}
	}
	if err := p.normalizeScale(); err != nil {
		return nil, err
	}
	axes := [3]Axis{UnitAxis, UnitAxis, UnitAxis}
	copy(axes[3-p.Rank:], p.Axes[:p.Rank])
	p.Axes = axes
	return &p, p.checkSizes()
}

func (p *Problem) checkChoices() error {
	switch {
	case !p.Op.Valid():
		return invalid("op %d is unknown (want 1 to %d)", p.Op, AVBackward)
	case !p.DType.Valid():
		return invalid("dtype %d is unknown (want 1 to %d)", p.DType, Float64)
	case p.Memory != Host && p.Memory != Metal:
		return invalid("memory %d is unknown (want 0 or 1)", p.Memory)
	case p.Rank < 1 || p.Rank > 3:
		return invalid("rank is %d (want 1, 2 or 3)", p.Rank)
	case p.RPB && !p.Op.UsesQK():
		return invalid("%v takes no relative position bias (want it with attn or qk)", p.Op)
	}
	return nil
}

func (p *Problem) normalizeHeads() error {
	if p.KVHeads == 0 {
		p.KVHeads = p.Heads
	}
	if p.ValueDim == 0 || !p.Op.UsesValue() {
		p.ValueDim = p.HeadDim
	}
	if !p.Op.UsesQK() {
		p.HeadDim = p.ValueDim
	}
	switch {
	case p.Batch < 0:
		return invalid("batch is %d (want >= 0)", p.Batch)
	case p.Heads < 1:
		return invalid("heads is %d (want >= 1)", p.Heads)
	case p.KVHeads < 1 || p.Heads%p.KVHeads != 0:
		return invalid("kv_heads is %d (want a divisor of heads, %d)", p.KVHeads, p.Heads)
	case p.HeadDim < 1 || p.HeadDim > MaxHeadDim:
		return invalid("head_dim is %d (want 1 to %d)", p.HeadDim, MaxHeadDim)
	case p.ValueDim < 1 || p.ValueDim > MaxHeadDim:
		return invalid("value_dim is %d (want 1 to %d)", p.ValueDim, MaxHeadDim)
	case p.Extra < 0:
		return invalid("extra is %d (want >= 0)", p.Extra)
	}
	return nil
}

func (p *Problem) normalizeScale() error {
	switch {
	case !p.HasScale && p.Op.Fused():
		p.Scale = 1 / math.Sqrt(float64(p.HeadDim))
	case !p.HasScale:
		p.Scale = 1
	case math.IsNaN(p.Scale) || math.IsInf(p.Scale, 0):
		return invalid("scale is %v (want a finite number)", p.Scale)
	}
	if !p.Op.UsesQK() {
		p.Scale = 1 // there are no logits
	}
	p.HasScale = true
	return nil
}

// Normalize checks a and fills in defaults. index is the number of the axis, for
// error messages.
func (a *Axis) Normalize(index int) error {
	for _, v := range []*int64{&a.Dilation, &a.Stride, &a.QueryStep} {
		if *v == 0 {
			*v = 1
		}
	}
	switch {
	case a.Length < 1 || a.Length > maxLength:
		return invalid("length is %d on axis %d (want 1 to 2^60)", a.Length, index)
	case a.Kernel < 1:
		return invalid("kernel is %d on axis %d (want >= 1)", a.Kernel, index)
	case a.Dilation < 1:
		return invalid("dilation is %d on axis %d (want >= 1)", a.Dilation, index)
	case a.Stride < 1:
		return invalid("stride is %d on axis %d (want >= 1)", a.Stride, index)
	case a.QueryStep < 1:
		return invalid("query_step is %d on axis %d (want >= 1)", a.QueryStep, index)
	case a.Kernel > a.Length || a.Dilation > a.Length/a.Kernel:
		return invalid("kernel %d * dilation %d exceeds length %d on axis %d (want kernel * dilation <= length)",
			a.Kernel, a.Dilation, a.Length, index)
	case a.Stride > a.Kernel:
		return invalid("stride %d exceeds kernel %d on axis %d (want stride <= kernel)", a.Stride, a.Kernel, index)
	}
	if err := a.normalizeRange(index); err != nil {
		return err
	}
	a.QueryStep = min(a.QueryStep, a.Length) // a larger step also computes query 0 alone
	return nil
}

// checkSizes refuses problems with a tensor whose size in bytes does not fit
// 63 bits, so that no later product of sizes can overflow.
func (p *Problem) checkSizes() error {
	for role := range NumRoles {
		bytes := int64(8)
		for _, n := range p.Shape(role) {
			if n > 0 && bytes > math.MaxInt64/n {
				return invalid("%v of shape %v does not fit 63-bit sizes", role, p.Shape(role))
			}
			bytes *= max(n, 1)
		}
	}
	return nil
}
