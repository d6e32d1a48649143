// SPDX-License-Identifier: MIT

// Package tests gives Go tests and benchmarks the table of problems that the
// Python tests read, too.
package tests

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/natten-mps/natten-mps/core"
)

//go:embed cases.json
var text []byte

// Case is a problem without operation and element type; see natten_mps_problem
// in the C header.
type Case struct {
	Name      string    `json:"name"`
	Rank      int       `json:"rank"`
	Batch     int64     `json:"batch"`
	Heads     int64     `json:"heads"`
	KVHeads   int64     `json:"kv_heads"`
	HeadDim   int64     `json:"head_dim"`
	ValueDim  int64     `json:"value_dim"`
	Extra     int64     `json:"extra"`
	Lengths   []int64   `json:"lengths"`
	Kernel    []int64   `json:"kernel"`
	Dilation  []int64   `json:"dilation"`
	Stride    []int64   `json:"stride"`
	QueryStep []int64   `json:"query_step"`
	Causal    []bool    `json:"causal"`
	MaskFirst bool      `json:"mask_first"`
	Scale     *float64  `json:"scale"` // nil: the default
	RPB       bool      `json:"rpb"`
	Sizes     [][]int64 `json:"sizes"` // nil: not ragged
}

// Problem returns the case as a problem with an operation and an element type.
func (c *Case) Problem(op core.Op, dtype core.DType) core.Problem {
	p := core.Problem{
		Op: op, DType: dtype, Rank: c.Rank,
		Batch: c.Batch, Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim, ValueDim: c.ValueDim,
		Extra: c.Extra, RPB: c.RPB && op.UsesQK(), Ragged: c.Sizes != nil,
	}
	if c.Scale != nil {
		p.Scale, p.HasScale = *c.Scale, true
	}
	for i := range c.Rank {
		p.Axes[i] = core.Axis{
			Length: c.Lengths[i], Kernel: c.Kernel[i], Dilation: c.Dilation[i], Stride: c.Stride[i],
			QueryStep: c.QueryStep[i], Causal: c.Causal[i], MaskFirst: c.MaskFirst,
		}
	}
	return p
}

// FlatSizes returns the sizes in the layout that a run takes.
func (c *Case) FlatSizes() []int64 {
	var flat []int64
	for _, sample := range c.Sizes {
		flat = append(flat, sample...)
	}
	return flat
}

type bound struct{ Forward, Backward float64 }

var table = func() (t struct {
	Tolerances map[string]map[string]bound
	Cases      []Case
	Bench      []Case
},
) {
	if err := json.Unmarshal(text, &t); err != nil {
		panic(fmt.Sprintf("tests/cases.json: %v", err))
	}
	return t
}()

// Cases lists the problems that tests run.
func Cases() []Case { return table.Cases }

// Bench lists the problems that benchmarks time.
func Bench() []Case { return table.Bench }

// Tolerance bounds the errors of an operation, relative to the largest value of
// an array or to 1.
func Tolerance(op core.Op, dtype core.DType) float64 {
	name, backward := strings.CutSuffix(op.String(), "_backward")
	name = strings.TrimSuffix(name, "_forward")
	b, ok := table.Tolerances[name][dtype.String()]
	if !ok {
		panic(fmt.Sprintf("tests/cases.json has no tolerance for %v in %v", op, dtype))
	}
	if backward {
		return b.Backward
	}
	return b.Forward
}
