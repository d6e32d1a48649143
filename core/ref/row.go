// SPDX-License-Identifier: MIT

package ref

import "github.com/natten-mps/natten-mps/core"

// row is one computed query of one head, with the keys that it sees. A row of padding
// sees none.
type row struct {
	sample, head, kvHead int64
	out                  [3]int64 // position among the outputs
	query                [3]int64 // position in query
	padding              bool
	pairs                []pair
}

// pair is one key that a row sees: a key of the window or an additional token.
type pair struct {
	slot  int64    // index in attn
	key   [3]int64 // position in key, or {token, 0, 0}
	extra bool
	bias  [3]int64 // position in rpb
}

func newRow(p *core.Problem, axes *[3]core.Axis, sample, head int64, out [3]int64) *row {
	r := &row{sample: sample, head: head, kvHead: head / p.Group(), out: out}
	var windows [3]core.Window
	for i := range axes {
		r.query[i] = out[i] * axes[i].QueryStep
		position := axes[i].QueryFirst + r.query[i]
		if position >= axes[i].Length {
			r.padding = true
			return r
		}
		windows[i] = axes[i].Window(position)
	}
	w := &windows
	eachPosition(w[0].Hi-w[0].Lo, w[1].Hi-w[1].Lo, w[2].Hi-w[2].Lo, func(offset [3]int64) {
		var pair pair
		for i, n := range offset {
			position := w[i].Lo + n
			pair.slot = pair.slot*axes[i].Kernel + position - w[i].Start
			pair.key[i] = w[i].Residue + position*axes[i].Dilation - axes[i].KeyFirst
			pair.bias[i] = position - w[i].Position + axes[i].Kernel - 1
		}
		r.pairs = append(r.pairs, pair)
	})
	for token := range p.Extra {
		r.pairs = append(r.pairs, pair{slot: p.WindowSize() + token, key: [3]int64{token}, extra: true})
	}
	return r
}

// eachPosition calls f with all positions of a layout, the last axis fastest.
func eachPosition(n0, n1, n2 int64, f func([3]int64)) {
	for i := range n0 {
		for j := range n1 {
			for k := range n2 {
				f([3]int64{i, j, k})
			}
		}
	}
}

// at is the index of channel (or slot) c of the row's output.
func (r *row) at(c int64) index {
	return index{r.sample, r.out[0], r.out[1], r.out[2], r.head, c}
}

// atQuery is the index of channel c of the row's query.
func (r *row) atQuery(c int64) index {
	return index{r.sample, r.query[0], r.query[1], r.query[2], r.head, c}
}

// atKey is the index of channel c of a pair's key or value, in the tensor that
// either chooses.
func (r *row) atKey(pair *pair, c int64) index {
	if pair.extra {
		return index{r.sample, pair.key[0], r.kvHead, c}
	}
	return index{r.sample, pair.key[0], pair.key[1], pair.key[2], r.kvHead, c}
}

// atBias is the index of a pair's entry in rpb.
func (r *row) atBias(pair *pair) index {
	return index{r.head, pair.bias[0], pair.bias[1], pair.bias[2]}
}

// either chooses the tensor that holds a pair's key or value.
func (pair *pair) either(window, extra core.Role) core.Role {
	if pair.extra {
		return extra
	}
	return window
}
