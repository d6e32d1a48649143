// SPDX-License-Identifier: MIT

package metal

import "github.com/natten-mps/natten-mps/core"

// argument describes what is bound to a buffer of a kernel. Buffer 0 is the parameter
// block.
type argument struct {
	kind    argumentKind
	role    core.Role // tensors
	scratch int       // index of a scratch buffer
	perRow  bool      // indexed by output although the tensor has a row per query
	writes  bool
}

type argumentKind int

const (
	tensorArgument argumentKind = iota
	absentArgument              // the problem has no such tensor, and the kernel does not access it
	scratchArgument
	sizesArgument
)

func reads(r core.Role) argument  { return argument{role: r} }
func writes(r core.Role) argument { return argument{role: r, writes: true} }

// queries is the query tensor, read at the rows of the computed queries.
func queries() argument { return argument{role: core.Query, perRow: true} }

func readsScratch(i int) argument { return argument{kind: scratchArgument, scratch: i} }

func writesScratch(i int) argument {
	return argument{kind: scratchArgument, scratch: i, writes: true}
}

var (
	sizes  = argument{kind: sizesArgument}
	absent = argument{kind: absentArgument}
)

// scratch is a temporary buffer of floats or of pairs of floats. strides are set if a
// kernel reads them from the parameter block.
type scratch struct {
	bytes   int64
	strides [strideNumbers]int64
}

// step is one kernel launch of a plan.
type step struct {
	variant variant // for the most common layout
	args    []argument
	// wants lists optional outputs. The launch happens if at least one of them is
	// given, or if the list is empty. Flags tell the kernel which are given.
	wants   []core.Role
	params  params
	extents [3]extent // rows that lane groups work on
	groups  Size
	threads int
}

// steps returns the launches of a normalized problem and their scratch buffers.
func steps(p *core.Problem, tune *tuning) ([]step, []scratch) {
	l := &lister{problem: p, tune: tune}
	switch p.Op {
	case core.AttnForward:
		l.attnForward()
	case core.AttnBackward:
		l.attnBackward()
	case core.QKForward:
		l.qk(core.Query, core.Key, core.RPB, core.ExtraKey, core.Attn)
	case core.QKBackward:
		l.av(core.DAttn, core.Key, core.ExtraKey, core.DQuery)
		l.inv(core.DAttn, core.Query, core.DKey)
		l.invRPB()
		l.invExtra(core.Query, core.DAttn, core.DExtraKey)
	case core.AVForward:
		l.av(core.Attn, core.Value, core.ExtraValue, core.Out)
	default:
		l.qk(core.DOut, core.Value, core.NumRoles, core.ExtraValue, core.DAttn)
		l.inv(core.Attn, core.DOut, core.DValue)
		l.invExtra(core.DOut, core.Attn, core.DExtraValue)
	}
	return l.steps, l.scratch
}

// lister collects the steps of a problem.
type lister struct {
	problem *core.Problem
	tune    *tuning
	steps   []step
	scratch []scratch
}

// optional returns a, or absentArgument if the problem's fields switch that tensor
// off.
func (l *lister) optional(a argument) argument {
	switch a.role {
	case core.RPB:
		if !l.problem.RPB {
			return absent
		}
	case core.ExtraKey, core.ExtraValue:
		if l.problem.Extra == 0 {
			return absent
		}
	case core.NumRoles:
		return absent
	}
	return a
}

func (l *lister) addScratch(s scratch) int {
	l.scratch = append(l.scratch, s)
	return len(l.scratch) - 1
}

// add completes a launch whose lane groups work on rows of queries or keys.
func (l *lister) add(function string, rpb bool, flags int, side side, wants []core.Role, args ...argument) {
	p := l.problem
	d := l.tune.design(p, function)
	if d.matrix() {
		function += "_mat"
	}
	x := step{
		variant: l.variant(function, rpb, d),
		args:    append(args, sizes),
		wants:   wants,
		params:  l.params(flags),
		extents: extents(p, side),
	}
	heads := p.Heads
	if side == keySide {
		heads = p.KVHeads
	}
	x.params.heads = int(heads)
	x.arrange(d.threads, int(p.Batch*heads))
	l.steps = append(l.steps, x)
}

func (l *lister) params(flags int) params {
	p := l.problem
	for _, a := range p.Axes {
		if a.Causal {
			flags |= flagCausal
		}
	}
	if p.Ragged {
		flags |= flagRagged
	}
	return params{
		axes: p.Axes, heads: int(p.Heads), group: int(p.Group()), extra: int(p.Extra), slots: int(p.WindowSize()),
		batch: int(p.Batch), flags: flags, splits: 1, scale: p.Scale,
	}
}

func (l *lister) variant(function string, rpb bool, d design) variant {
	p := l.problem
	dim := p.HeadDim
	if !p.Op.UsesQK() {
		dim = p.ValueDim
	}
	v := variant{
		family: templates[function].family, function: function, dtype: p.DType,
		dim: dim, valueDim: p.ValueDim, rank: p.Rank, design: d, rpb: rpb,
	}
	v.layout.vec = v.alignment()
	return v
}

// alignment returns the largest row alignment, in elements, that the kernel can
// exploit: 16 bytes, or 8.
func (v *variant) alignment() int {
	dims := v.dim
	for _, p := range templates[v.function].parameters {
		if p == valueDimParameter {
			dims |= v.valueDim // its lowest set bit is the largest common power of two
		}
	}
	switch {
	case len(templates[v.function].parameters) == 0:
		return 1
	case dims%8 == 0 && v.dtype.Size() == 2:
		return 8
	case dims%4 == 0:
		return 4
	}
	return 1
}

func (l *lister) attnForward() {
	l.add("attn_fwd", l.problem.RPB, 0, querySide, nil,
		queries(), reads(core.Key), reads(core.Value), l.optional(reads(core.RPB)),
		l.optional(reads(core.ExtraKey)), l.optional(reads(core.ExtraValue)), writes(core.Out), writes(core.LSE))
}

func (l *lister) attnBackward() {
	p := l.problem
	if l.tune.strip(p) {
		l.strip()
		return
	}
	n := p.Shape(core.LSE)
	lseDelta := l.addScratch(scratch{ // pairs of floats, see attn_bwd_q.metal
		bytes:   8 * p.Batch * p.Outputs() * p.Heads,
		strides: [strideNumbers]int64{n[1] * n[2] * n[3] * n[4], n[2] * n[3] * n[4], n[3] * n[4], n[4], 1},
	})
	rpb := l.optional(reads(core.RPB))
	l.add("attn_bwd_q", p.RPB, 0, querySide, nil,
		queries(), reads(core.Key), reads(core.Value), rpb, l.optional(reads(core.ExtraKey)),
		l.optional(reads(core.ExtraValue)), reads(core.Out), reads(core.LSE), reads(core.DOut), reads(core.DLSE),
		writes(core.DQuery), writesScratch(lseDelta))
	l.add("attn_bwd_kv", p.RPB, 0, keySide, []core.Role{core.DKey, core.DValue},
		queries(), reads(core.Key), reads(core.Value), rpb, reads(core.DOut),
		writes(core.DKey), writes(core.DValue), readsScratch(lseDelta))
	if p.RPB {
		l.sum("attn_bwd_rpb", l.cells(), []core.Role{core.DRPB},
			queries(), reads(core.Key), reads(core.Value), rpb, reads(core.DOut),
			readsScratch(lseDelta))
	}
	if p.Extra > 0 {
		l.sum("attn_bwd_extra", l.tokens(), []core.Role{core.DExtraKey, core.DExtraValue},
			queries(), reads(core.ExtraKey), reads(core.ExtraValue), reads(core.DOut),
			readsScratch(lseDelta))
	}
}

// strip adds the one launch that computes all gradients of a one-axis problem.
func (l *lister) strip() {
	l.add("attn_bwd_strip", false, 0, keySide, []core.Role{core.DQuery, core.DKey, core.DValue},
		reads(core.Query), reads(core.Key), reads(core.Value), reads(core.Out), reads(core.LSE), reads(core.DOut),
		reads(core.DLSE), writes(core.DQuery), writes(core.DKey), writes(core.DValue))
}

func (l *lister) qk(row, key, rpb, extra, attn core.Role) {
	flags := 0
	if attn == core.DAttn {
		flags = flagZeroMask
	}
	x := reads(row)
	x.perRow = row == core.Query
	l.add("qk", l.problem.RPB && rpb == core.RPB, flags, querySide, wanted(attn),
		x, reads(key), l.optional(reads(rpb)), l.optional(reads(extra)), writes(attn))
}

func (l *lister) av(attn, row, extra, out core.Role) {
	flags := 0
	if out == core.DQuery {
		flags = flagCells
	}
	l.add("av", false, flags, querySide, wanted(out),
		reads(attn), reads(row), l.optional(reads(extra)), writes(out))
}

func (l *lister) inv(attn, row, out core.Role) {
	x := reads(row)
	x.perRow = row == core.Query
	l.add("inv", false, 0, keySide, wanted(out), reads(attn), x, writes(out))
}

func (l *lister) invRPB() {
	if l.problem.RPB {
		l.sum("inv_rpb", l.cells(), []core.Role{core.DRPB}, reads(core.DAttn))
	}
}

func (l *lister) invExtra(row, attn, out core.Role) {
	if l.problem.Extra > 0 {
		x := reads(row)
		x.perRow = row == core.Query
		l.sum("inv_extra", l.tokens(), []core.Role{out}, x, reads(attn))
	}
}

// wanted returns the list of wants for an output. Outputs that are always given need
// none.
func wanted(r core.Role) []core.Role {
	if r == core.Attn || r == core.Out {
		return nil
	}
	return []core.Role{r}
}
