// SPDX-License-Identifier: MIT

package panel

import (
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/core/cpu/internal/walk"
)

// scores holds the scores of items with the packed keys that they meet.
type scores[T kern.Number] struct {
	items, heads       int // number of items, and of items per position
	rows               []keyRow
	segments           []segment // of rows
	panel              *packed[T]
	clips              []clip // [item], with an empty one at the end
	clipKey            [4]int // the state from which clips were computed
	pitch              int    // elements per item in weights and gradients
	weights, gradients []T    // see clip
	fresh              bool   // no keys have been processed yet
}

// segment is a sequence of neighboring slots in use.
type segment struct{ slot, count int }

// clip is the lanes that an item meets, and the position of its weights: the weight of a slot
// and lane is weights[item*pitch+slot*width+lane-base]. The two items of a pair have the same
// base and width, which cover the lanes of both.
type clip struct {
	from, to    int // lanes from <= lane < to that the item meets
	base, width int // width is 4 or a multiple of 8, or 0 if the pair meets nothing
}

// position is the index of item r's position in the tile.
func (s *scores[T]) position(r int) int { return r / s.heads }

// lanes returns the elements of item r and a row of keys in weights or gradients, one for each
// lane that the item meets.
func (s *scores[T]) lanes(of []T, r int, row *keyRow) []T {
	k := &s.clips[r]
	at := r*s.pitch + row.slot*k.width + k.from - k.base
	return of[at : at+k.to-k.from]
}

func (s *scores[T]) findSegments() {
	s.segments = s.segments[:0]
	for i := range s.rows {
		slot, last := s.rows[i].slot, len(s.segments)-1
		if last >= 0 && s.segments[last].slot+s.segments[last].count == slot {
			s.segments[last].count++
			continue
		}
		s.segments = append(s.segments, segment{slot, 1})
	}
}

// findClips computes the clips for the packed keys.
func (w *worker[T]) findClips() {
	s := &w.s
	key := [4]int{w.from, w.to, 0, s.items}
	if w.at.Tokens {
		key[2] = 1
	}
	narrow := len(s.rows) > 1 && w.kind != walk.AttnKey && w.do.Narrows()
	if narrow {
		key[2] += 2
	}
	if key == s.clipKey {
		return
	}
	s.clipKey = key
	s.pitch = s.panel.slots*s.panel.width + 8
	s.clips = kern.Grow(s.clips, s.items+1)
	for r := range s.items {
		s.clips[r].from, s.clips[r].to = w.clipped(r)
	}
	s.clips[s.items] = clip{}
	for r := 0; r < s.items; r += 2 {
		s.join(&s.clips[r], &s.clips[r+1], narrow)
	}
	w.do.Clipped()
}

// clipped returns the lanes that item r meets; from equals to if it meets none.
func (w *worker[T]) clipped(r int) (from, to int) {
	if w.at.Tokens {
		return 0, w.to - w.from
	}
	i := w.s.position(r)
	from, to = max(w.at.Lo[i], w.from)-w.from, min(w.at.Hi[i], w.to)-w.from
	if from >= to {
		return 0, 0
	}
	return from, to
}

// join gives the items of a pair a common base and width. The width may be 4 only if narrow.
func (s *scores[T]) join(a, b *clip, narrow bool) {
	from, to := min(a.from, b.from), max(a.to, b.to)
	switch {
	case a.from == a.to:
		from, to = b.from, b.to
	case b.from == b.to:
		from, to = a.from, a.to
	}
	width := kern.Padded(to - from)
	if to-from <= 4 && to > from && narrow {
		width = 4
	}
	a.base, a.width = from, width
	b.base, b.width = from, width
}
