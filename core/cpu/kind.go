// SPDX-License-Identifier: MIT

package cpu

import "github.com/natten-mps/natten-mps/core"

// kind is what a walk computes. The first seven have queries as items and keys as
// columns, the others keys as items and queries as columns.
type kind uint8

const (
	attnOut   kind = iota // out, lse
	qkAttn                // attn
	avOut                 // out
	attnQuery             // d_query, d_rpb of fused attention; with parts.scatter d_key and d_value too
	qkQuery               // d_query, d_rpb of qk
	avAttn                // d_attn
	attnStrip             // d_query, d_key, d_value of fused attention in strips
	attnKey               // d_key, d_value of fused attention
	qkKey                 // d_key of qk
	avValue               // d_value of av
)

func (k kind) inverse() bool { return k >= attnKey }

// parts says which products a walk takes. "First" are the query and key
// channels, "second" those of values and outputs.
type parts struct {
	scoreFirst, scoreSecond bool // items . columns
	sumFirst, sumSecond     bool // weights times columns
	scatter                 bool // weights times items, both channels, to what columns hold
}

var partsOf = [...]parts{
	attnOut:   {scoreFirst: true, sumSecond: true},
	qkAttn:    {scoreFirst: true},
	avOut:     {sumSecond: true},
	attnQuery: {scoreFirst: true, scoreSecond: true, sumFirst: true},
	qkQuery:   {sumFirst: true},
	avAttn:    {scoreSecond: true},
	attnStrip: {},
	attnKey:   {scoreFirst: true, scoreSecond: true, sumFirst: true, sumSecond: true},
	qkKey:     {sumFirst: true},
	avValue:   {sumSecond: true},
}

// pass is one walk of a plan with the outputs that make it necessary.
type pass struct {
	kind    kind
	tokens  bool // items of the inverse walk are the additional tokens
	outputs []core.Role
}

var passesOf = [...][]pass{
	core.AttnForward: {{attnOut, false, []core.Role{core.Out}}},
	core.AttnBackward: {
		{attnQuery, false, []core.Role{core.DQuery, core.DRPB}},
		{attnKey, false, []core.Role{core.DKey, core.DValue}},
		{attnKey, true, []core.Role{core.DExtraKey, core.DExtraValue}},
	},
	core.QKForward: {{qkAttn, false, []core.Role{core.Attn}}},
	core.QKBackward: {
		{qkQuery, false, []core.Role{core.DQuery, core.DRPB}},
		{qkKey, false, []core.Role{core.DKey}},
		{qkKey, true, []core.Role{core.DExtraKey}},
	},
	core.AVForward: {{avOut, false, []core.Role{core.Out}}},
	core.AVBackward: {
		{avAttn, false, []core.Role{core.DAttn}},
		{avValue, false, []core.Role{core.DValue}},
		{avValue, true, []core.Role{core.DExtraValue}},
	},
}
