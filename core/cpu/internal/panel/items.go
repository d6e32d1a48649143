// SPDX-License-Identifier: MIT

package panel

import (
	"math"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/core/cpu/internal/walk"
	"github.com/natten-mps/natten-mps/core/scratch"
)

// loadItems loads the items' channels, with QK channels multiplied by the scale, and
// initializes their sums.
func (w *worker[T]) loadItems() {
	qk, vo := w.at.ItemRoles()
	s, d, dv := &w.s, kern.Padded(int(w.problem.HeadDim)), kern.Padded(int(w.problem.ValueDim))
	if w.products.QK {
		scratch.Grow(w.Memory, &w.qk, (s.items+1)*d)
		w.loadRole(w.qk, qk, int(w.problem.HeadDim), T(w.problem.Scale))
	}
	if w.products.DOutV {
		scratch.Grow(w.Memory, &w.vo, (s.items+1)*dv)
		w.loadRole(w.vo, vo, int(w.problem.ValueDim), 1)
	}
	if w.products.SumQK {
		scratch.Grow(w.Memory, &w.sumQK, (s.items+1)*d)
		clear(w.sumQK)
	}
	if w.products.SumVO {
		scratch.Grow(w.Memory, &w.sumVO, (s.items+1)*dv)
		clear(w.sumVO)
	}
	switch w.kind {
	case walk.QKAttn, walk.AVAttn:
		w.clearSlots(w.plan.walk.Pass.Outputs[0])
	case walk.AttnOut:
		s.fresh = true
		scratch.Grow(w.Memory, &w.max, s.items)
		scratch.Grow(w.Memory, &w.sum, s.items)
		clear(w.sum)
		for r := range w.max {
			w.max[r] = T(math.Inf(-1))
		}
	case walk.AttnQuery:
		scratch.Grow(w.Memory, &w.lse, s.items)
		scratch.Grow(w.Memory, &w.delta, s.items)
		for r := range s.items {
			kern.LoadLSE(w.lse[r:r+1], w.item(core.LSE, r), 0, w.problem.DTypeOf(core.LSE))
			w.delta[r] = w.deltaOf(w.at.Index[0], w.at.Index[1], w.at.Index[2]+s.position(r), w.at.ItemHead(r%s.heads))
		}
	}
}

func (w *worker[T]) loadRole(dst []T, role core.Role, channels int, factor T) {
	heads, depth := w.s.heads, kern.Padded(channels)
	for head := range heads {
		w.move.Load(dst[head*depth:], heads*depth, w.at.Items(role, head, channels), w.at.Positions, factor)
	}
}

// storeRole stores the items' channels times their factors, which are step elements
// apart.
func (w *worker[T]) storeRole(role core.Role, src []T, channels int, factors []T, step int) {
	if !w.at.Run.Given(role) {
		return
	}
	heads, depth := w.s.heads, kern.Padded(channels)
	for head := range heads {
		to, sums, factors := w.at.Items(role, head, channels), src[head*depth:], factors[head*step:]
		if w.at.Adds() {
			w.move.Add(to, sums, heads*depth, w.at.Positions, factors, heads*step)
			continue
		}
		w.move.Store(to, sums, heads*depth, w.at.Positions, factors, heads*step)
	}
}

// storeItems stores the items' results.
func (w *worker[T]) storeItems() {
	d, dv := int(w.problem.HeadDim), int(w.problem.ValueDim)
	w.factors = append(w.factors[:0], T(w.problem.Scale), 1)
	scale, one := w.factors[:1], w.factors[1:]
	qk, vo := core.DKey, core.DValue
	if w.plan.walk.Pass.Tokens {
		qk, vo = core.DExtraKey, core.DExtraValue
	}
	switch w.kind {
	case walk.AttnOut:
		w.storeAttention(dv)
	case walk.AVOut:
		w.storeRole(core.Out, w.sumVO, dv, one, 0)
	case walk.AttnQuery, walk.QKQuery:
		w.storeRole(core.DQuery, w.sumQK, d, scale, 0)
	case walk.AttnKey, walk.QKKey, walk.AVValue:
		w.storeRole(qk, w.sumQK, d, scale, 0)
		w.storeRole(vo, w.sumVO, dv, one, 0)
	}
}

func (w *worker[T]) storeAttention(channels int) {
	if w.at.Run.Given(core.LSE) {
		for r := range w.s.items {
			scratch.Grow(w.Memory, &w.lse, 1)
			w.lse[0] = w.max[r] + kern.Log(w.sum[r])
			kern.Store(w.item(core.LSE, r), 0, w.problem.DTypeOf(core.LSE), w.lse, 1)
		}
	}
	for r, v := range w.sum {
		w.sum[r] = kern.Inverse(v)
	}
	w.storeRole(core.Out, w.sumVO, channels, w.sum, 1)
}
