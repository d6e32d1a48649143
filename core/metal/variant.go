// SPDX-License-Identifier: MIT

package metal

import (
	"fmt"
	"strings"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/shaders"
)

// layout is what the strides and addresses of one run permit.
type layout struct {
	wide bool // offsets within a (sample, head) need 64 bits
	vec  int  // alignment of all rows, in elements: 1, 4 or 8
}

// variant is a kernel: a template and its arguments. Arguments that the template does
// not take are zero.
type variant struct {
	family   string // source file
	function string // template
	dtype    core.DType
	dim      int64 // channels of queries and keys, or of the one tensor with channels
	valueDim int64
	rank     int // axes of the problem
	design   design
	rpb      bool
	layout   layout
}

// design holds the template arguments that the tuning chooses.
type design struct {
	lanes int // lanes that hold one row, or a box of rows
	// reuse is the number of neighboring queries or keys, along axes 1 and 2, that
	// share loads in one lane group. Split operations share along axis 2 only.
	reuse [2]int
	block int // rows processed per step
	// threads is the number of threads of a threadgroup. aspect is the length of its
	// tile along axis 2 divided by that along the other axes.
	threads, aspect int
	// box is the shape of the 8 rows of a simdgroup of the "matrix" design. It is
	// zero for the "lanes" design.
	box [3]int
}

func (d *design) matrix() bool { return d.box[0] != 0 }

// tiled reports whether the kernel's threadgroups process tiles of the "lanes"
// design.
func (v *variant) tiled() bool { return hasMatrix[v.function] && !v.design.matrix() }

var elementNames = map[core.DType][2]string{
	core.Float32:  {"float", "f32"},
	core.Float16:  {"half", "f16"},
	core.BFloat16: {"bfloat", "bf16"},
}

// parameter is a template parameter.
type parameter int

const (
	dimParameter parameter = iota
	valueDimParameter
	lanesParameter
	reuseParameter
	rowsParameter
	blockParameter
	boxParameter
	axesParameter
	rpbParameter
)

// spell returns the parameter's part of the kernel's name and of the template's
// arguments.
func (v *variant) spell(p parameter) (name, argument string) {
	switch p {
	case dimParameter:
		return fmt.Sprintf("d%d", v.dim), fmt.Sprint(v.dim)
	case valueDimParameter:
		return fmt.Sprintf("e%d", v.valueDim), fmt.Sprint(v.valueDim)
	case lanesParameter:
		return fmt.Sprintf("g%d", v.design.lanes), fmt.Sprint(v.design.lanes)
	case reuseParameter:
		return fmt.Sprintf("r%d", v.design.reuse[1]), fmt.Sprint(v.design.reuse[1])
	case rowsParameter:
		r := v.design.reuse
		return fmt.Sprintf("r%d%d", r[0], r[1]), fmt.Sprintf("%d, %d", r[0], r[1])
	case blockParameter:
		return fmt.Sprintf("k%d", v.design.block), fmt.Sprint(v.design.block)
	case boxParameter:
		b := v.design.box
		return fmt.Sprintf("b%d%d%d", b[0], b[1], b[2]), fmt.Sprintf("%d, %d", b[1], b[2])
	case axesParameter:
		return fmt.Sprintf("a%d", v.rank), fmt.Sprint(v.rank)
	default:
		if v.rpb {
			return "rpb", "true"
		}
		return "", "false"
	}
}

// instance returns the variant's name, which is the key of pipeline caches, and its
// template arguments: element type, offset type, parameters of the template, and
// whether rows are aligned.
func (v *variant) instance() shaders.Instance {
	element := elementNames[v.dtype]
	offset := "int"
	names := []string{v.function, element[1]}
	if v.layout.wide {
		offset = "long"
		names = append(names, "wide")
	}
	if v.layout.vec > 1 {
		names = append(names, fmt.Sprintf("v%d", v.layout.vec))
	}
	arguments := []string{element[0], offset}
	for _, p := range templates[v.function].parameters {
		name, argument := v.spell(p)
		if name != "" {
			names = append(names, name)
		}
		arguments = append(arguments, argument)
	}
	arguments = append(arguments, fmt.Sprint(v.layout.vec))
	return shaders.Instance{
		Name:     strings.Join(names, "_"),
		Template: v.function + "<" + strings.Join(arguments, ", ") + ">",
	}
}

// template describes a kernel template of the sources.
type template struct {
	family     string
	parameters []parameter
}

var forwardParameters = []parameter{
	dimParameter, valueDimParameter, lanesParameter, rowsParameter, axesParameter, blockParameter, rpbParameter,
}

var backwardParameters = []parameter{
	dimParameter, valueDimParameter, lanesParameter, rowsParameter, axesParameter, rpbParameter,
}

var matrixParameters = []parameter{dimParameter, valueDimParameter, boxParameter, rpbParameter}

var templates = map[string]template{
	"attn_fwd":        {"attn_fwd", forwardParameters},
	"attn_bwd_q":      {"attn_bwd_q", backwardParameters},
	"attn_bwd_kv":     {"attn_bwd_kv", backwardParameters},
	"attn_bwd_strip":  {"attn_bwd_strip", []parameter{dimParameter, valueDimParameter, lanesParameter}},
	"attn_fwd_mat":    {"attn_fwd_mat", matrixParameters},
	"attn_bwd_q_mat":  {"attn_bwd_q_mat", matrixParameters},
	"attn_bwd_kv_mat": {"attn_bwd_kv_mat", matrixParameters},
	"attn_bwd_extra":  {"attn_bwd_extra", []parameter{dimParameter, valueDimParameter, lanesParameter}},
	"attn_bwd_rpb":    {"attn_bwd_rpb", []parameter{dimParameter, valueDimParameter, lanesParameter}},
	"qk":              {"qk", []parameter{dimParameter, lanesParameter, reuseParameter, blockParameter, rpbParameter}},
	"av":              {"av", []parameter{dimParameter, lanesParameter, reuseParameter}},
	"inv":             {"inv", []parameter{dimParameter, lanesParameter, reuseParameter}},
	"inv_extra":       {"inv_extra", []parameter{dimParameter, lanesParameter}},
	"inv_rpb":         {"inv_rpb", nil},
	"reduce":          {"reduce", nil},
}
