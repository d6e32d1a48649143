// SPDX-License-Identifier: MIT

package walk

import "github.com/natten-mps/natten-mps/core"

// Kind says what a pass computes. Up to AttnGradients the items are queries, which meet keys;
// from AttnKey on the items are keys, which meet queries.
type Kind uint8

// The kinds, with the outputs that each produces.
const (
	AttnOut       Kind = iota // out, lse
	QKAttn                    // attn
	AVOut                     // out
	AttnQuery                 // d_query, d_rpb of fused attention
	QKQuery                   // d_query, d_rpb of qk
	AVAttn                    // d_attn
	AttnGradients             // d_query, d_key, d_value, d_rpb of fused attention
	AttnKey                   // d_key, d_value of fused attention
	QKKey                     // d_key of qk
	AVValue                   // d_value of av
)

// Inverse reports whether the items are keys, which meet queries.
func (k Kind) Inverse() bool { return k >= AttnKey }

// Products says which products a pass computes. QK denotes the channels of queries and keys,
// VO the channels of values and outputs.
type Products struct {
	QK, DOutV    bool // dot products of items with the keys (or queries) that they meet
	SumQK, SumVO bool // weighted sums over the keys (or queries) that an item meets
	Scatter      bool // weights times items, QK and VO, added to the keys that they meet
}

var productsOf = [...]Products{
	AttnOut:       {QK: true, SumVO: true},
	QKAttn:        {QK: true},
	AVOut:         {SumVO: true},
	AttnQuery:     {QK: true, DOutV: true, SumQK: true},
	QKQuery:       {SumQK: true},
	AVAttn:        {DOutV: true},
	AttnGradients: {QK: true, DOutV: true, SumQK: true, Scatter: true},
	AttnKey:       {QK: true, DOutV: true, SumQK: true, SumVO: true},
	QKKey:         {SumQK: true},
	AVValue:       {SumVO: true},
}

// Pass is what is computed in one walk over a problem.
type Pass struct {
	Kind    Kind
	Tokens  bool        // the items of the inverse walk are the additional tokens
	Outputs []core.Role // the pass is needed if any of these is wanted
}

var passesOf = [...][]Pass{
	core.AttnForward: {{AttnOut, false, []core.Role{core.Out}}},
	core.AttnBackward: {
		{AttnQuery, false, []core.Role{core.DQuery, core.DRPB}},
		{AttnKey, false, []core.Role{core.DKey, core.DValue}},
		{AttnKey, true, []core.Role{core.DExtraKey, core.DExtraValue}},
	},
	core.QKForward: {{QKAttn, false, []core.Role{core.Attn}}},
	core.QKBackward: {
		{QKQuery, false, []core.Role{core.DQuery, core.DRPB}},
		{QKKey, false, []core.Role{core.DKey}},
		{QKKey, true, []core.Role{core.DExtraKey}},
	},
	core.AVForward: {{AVOut, false, []core.Role{core.Out}}},
	core.AVBackward: {
		{AVAttn, false, []core.Role{core.DAttn}},
		{AVValue, false, []core.Role{core.DValue}},
		{AVValue, true, []core.Role{core.DExtraValue}},
	},
}

// gradients is one pass that can replace all passes of a fused backward operation.
var gradients = Pass{AttnGradients, false, []core.Role{core.DQuery, core.DKey, core.DValue, core.DRPB}}

// Passes returns the passes of an operation, each of which produces some of its outputs.
func Passes(p *core.Problem) (passes []Pass) {
	for _, q := range passesOf[p.Op] {
		if !q.Tokens || p.Extra > 0 {
			passes = append(passes, q)
		}
	}
	return passes
}

// Whole returns a single pass that can replace the Passes of an operation, if there is one.
func Whole(p *core.Problem) (pass Pass, ok bool) {
	return gradients, p.Op == core.AttnBackward
}
