// SPDX-License-Identifier: MIT

package ref

import (
	"math"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/scratch"
)

// run is one run of a problem.
type run struct {
	problem *core.Problem
	memory  *scratch.Memory // holds sums and weights
	weights []float64       // [pair of the row]
	tensors [core.NumRoles]tensor
	sums    [core.NumRoles]*sum // gradients; nil if not wanted
}

func (r *run) get(role core.Role, i index) float64 { return r.tensors[role].get(i) }

func (r *run) set(role core.Role, i index, v float64) { r.tensors[role].set(i, v) }

func (r *run) given(role core.Role) bool { return r.tensors[role].data != 0 }

// logit is scale * q.k + rpb.
func (r *run) logit(row *row, pair *pair) float64 {
	keys := pair.either(core.Key, core.ExtraKey)
	var dot float64
	for c := range r.problem.HeadDim {
		dot += r.get(core.Query, row.atQuery(c)) * r.get(keys, row.atKey(pair, c))
	}
	logit := r.problem.Scale * dot
	if r.problem.RPB && !pair.extra {
		logit += r.get(core.RPB, row.atBias(pair))
	}
	return logit
}

// addLogitGradient propagates a logit's gradient g to the query, key and bias that the
// logit is computed from.
func (r *run) addLogitGradient(row *row, pair *pair, g float64) {
	keys := pair.either(core.Key, core.ExtraKey)
	dKeys := pair.either(core.DKey, core.DExtraKey)
	for c := range r.problem.HeadDim {
		r.sums[core.DQuery].add(row.atQuery(c), g*r.problem.Scale*r.get(keys, row.atKey(pair, c)))
		r.sums[dKeys].add(row.atKey(pair, c), g*r.problem.Scale*r.get(core.Query, row.atQuery(c)))
	}
	if !pair.extra {
		r.sums[core.DRPB].add(row.atBias(pair), g)
	}
}

// valueDot is d_out . value, the gradient of a pair's weight.
func (r *run) valueDot(row *row, pair *pair) float64 {
	values := pair.either(core.Value, core.ExtraValue)
	var dot float64
	for c := range r.problem.ValueDim {
		dot += r.get(core.DOut, row.at(c)) * r.get(values, row.atKey(pair, c))
	}
	return dot
}

// addValueGradient adds weight * d_out to the gradient of a pair's value.
func (r *run) addValueGradient(row *row, pair *pair, weight float64) {
	dValues := pair.either(core.DValue, core.DExtraValue)
	for c := range r.problem.ValueDim {
		r.sums[dValues].add(row.atKey(pair, c), weight*r.get(core.DOut, row.at(c)))
	}
}

// writeOut writes the weighted sum of values, which is 0 for a row of padding.
func (r *run) writeOut(row *row, weights []float64) {
	for c := range r.problem.ValueDim {
		var out float64
		for i := range row.pairs {
			pair := &row.pairs[i]
			out += weights[i] * r.get(pair.either(core.Value, core.ExtraValue), row.atKey(pair, c))
		}
		r.set(core.Out, row.at(c), out)
	}
}

func (r *run) attnForward(row *row) {
	scratch.Grow(r.memory, &r.weights, len(row.pairs))
	weights := r.weights
	largest := math.Inf(-1)
	for i := range row.pairs {
		weights[i] = r.logit(row, &row.pairs[i])
		largest = math.Max(largest, weights[i])
	}
	var total float64
	for i := range weights {
		weights[i] = weight(weights[i], largest)
		total += weights[i]
	}
	for i := range weights {
		if total != 0 { // else the row sees nothing, and its weights are 0
			weights[i] /= total
		}
	}
	r.writeOut(row, weights)
	if r.given(core.LSE) {
		r.set(core.LSE, row.at(0), largest+math.Log(total))
	}
}

// weight is e**(logit-offset), where offset is the row's lse or largest logit. It is 0 if
// offset is -infinity, as all logits are -infinity then.
func weight(logit, offset float64) float64 {
	if math.IsInf(offset, -1) {
		return 0
	}
	return math.Exp(logit - offset)
}

// attnBackward computes P = exp(S - lse) and dS = P * (dP - delta + d_lse), where
// dP = d_out.v and delta = d_out.out.
func (r *run) attnBackward(row *row) {
	if row.padding {
		return
	}
	var delta, dLSE float64
	for c := range r.problem.ValueDim {
		delta += r.get(core.DOut, row.at(c)) * r.get(core.Out, row.at(c))
	}
	if r.given(core.DLSE) {
		dLSE = r.get(core.DLSE, row.at(0))
	}
	lse := r.get(core.LSE, row.at(0))
	for i := range row.pairs {
		pair := &row.pairs[i]
		weight := weight(r.logit(row, pair), lse)
		r.addValueGradient(row, pair, weight)
		r.addLogitGradient(row, pair, weight*(r.valueDot(row, pair)-delta+dLSE))
	}
}

// fill sets all slots of a row, including those that the row does not see, to v, or to 0
// if the row is padding.
func (r *run) fill(role core.Role, row *row, v float64) {
	if row.padding {
		v = 0
	}
	for slot := range r.problem.Slots() {
		r.set(role, row.at(slot), v)
	}
}

func (r *run) qkForward(row *row) {
	r.fill(core.Attn, row, math.Inf(-1))
	for i := range row.pairs {
		r.set(core.Attn, row.at(row.pairs[i].slot), r.logit(row, &row.pairs[i]))
	}
}

func (r *run) qkBackward(row *row) {
	for i := range row.pairs {
		r.addLogitGradient(row, &row.pairs[i], r.get(core.DAttn, row.at(row.pairs[i].slot)))
	}
}

func (r *run) avForward(row *row) {
	scratch.Grow(r.memory, &r.weights, len(row.pairs))
	weights := r.weights
	for i := range row.pairs {
		weights[i] = r.get(core.Attn, row.at(row.pairs[i].slot))
	}
	r.writeOut(row, weights)
}

func (r *run) avBackward(row *row) {
	if r.given(core.DAttn) {
		r.fill(core.DAttn, row, 0)
	}
	for i := range row.pairs {
		pair := &row.pairs[i]
		r.addValueGradient(row, pair, r.get(core.Attn, row.at(pair.slot)))
		if r.given(core.DAttn) {
			r.set(core.DAttn, row.at(pair.slot), r.valueDot(row, pair))
		}
	}
}
