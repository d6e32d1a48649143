// SPDX-License-Identifier: MIT

package cpu

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
)

// twins are the block kernels in Go, element by element.
var twins = blockKernels{
	score: scoreTwin, softmax: softmaxTwin, gradientItems: gradientItemsTwin, gradientLanes: gradientLanesTwin,
	accumulate: accumulateTwin, scatter: scatterTwin, turn: turnTwin, dotRows: dotRowsTwin,
}

func number32(p unsafe.Pointer, bytes int) *float32 { return (*float32)(unsafe.Add(p, bytes)) }

func scoreTwin(dst, items, panel, blocks, offsets, ahead unsafe.Pointer, count, depth, pitch, vectors, dstStep, dstItem, item, row, streams int) {
	askTwin(ahead, count, streams)
	for i, b := range unsafe.Slice((*block)(blocks), count) {
		for k := range 4 * vectors * 16 {
			q, v, lane := k/(vectors*16), k/16%vectors, k%16
			var sum float32
			for c := range depth {
				offset := unsafe.Slice((*int)(offsets), vectors)[v]
				sum += *number32(items, (2*i+q%2)*item+q/2*row+4*c) * *number32(panel, b.panel+offset+c*pitch+4*lane)
			}
			*number32(dst, (4*i+q)*dstItem+v*dstStep+4*lane) = sum
		}
	}
}

// blockVector calls f for the elements of a block item's vectors, with whether the
// masks let them through.
func blockVector(b *block, masks unsafe.Pointer, q, vectors, wide, step int, f func(at, v int, met bool)) {
	rows := unsafe.Slice((*[2]uint32)(masks), vectors)
	for v := range vectors {
		for lane := range 16 * wide {
			f(v*step+4*lane, v, b.masks[q%2]&rows[v][q/2]>>lane&1 != 0)
		}
	}
}

func softmaxTwin(scores, blocks, masks, statistics unsafe.Pointer, count, vectors, wide, step, item, row int) {
	for i, b := range unsafe.Slice((*block)(blocks), count) {
		for q := range 4 {
			x := unsafe.Add(scores, (4*i+q)*item)
			top, total := float32(math.Inf(-1)), float32(0)
			blockVector(&b, masks, q, vectors, wide, step, func(at, _ int, met bool) {
				if v := *number32(x, at); met && v > top {
					top = v
				}
			})
			place, lse := q/2*row+(2*i+q%2)*4, top
			if math.IsInf(float64(top), -1) {
				top = 0
			}
			blockVector(&b, masks, q, vectors, wide, step, func(at, _ int, met bool) {
				v := number32(x, at)
				*v = weight(*v, top, met)
				total += *v
			})
			if total > 0 {
				lse += log32(total)
			}
			*number32(statistics, place) = lse
			*number32(statistics, 2*row+place) = 1 / total
		}
	}
}

func weight(x, offset float32, met bool) float32 {
	if !met {
		return 0
	}
	return exp32(x - offset)
}

func gradientItemsTwin(scores, gradients, blocks, masks, lse, delta unsafe.Pointer, count, vectors, wide, step, item, row int) {
	for i, b := range unsafe.Slice((*block)(blocks), count) {
		for q := range 4 {
			first, place := (4*i+q)*item, q/2*row+(2*i+q%2)*4
			blockVector(&b, masks, q, vectors, wide, step, func(at, _ int, met bool) {
				x, y := number32(scores, first+at), number32(gradients, first+at)
				*x = weight(*x, *number32(lse, place), met)
				*y = *x * (*y - *number32(delta, place))
			})
		}
	}
}

func gradientLanesTwin(scores, gradients, blocks, masks, lse, delta, offsets unsafe.Pointer, count, vectors, wide, step, item int) {
	for i, b := range unsafe.Slice((*block)(blocks), count) {
		for q := range 4 {
			first := (4*i + q) * item
			blockVector(&b, masks, q, vectors, wide, step, func(at, v int, met bool) {
				x, y := number32(scores, first+at), number32(gradients, first+at)
				place := b.panel + unsafe.Slice((*int)(offsets), vectors)[v] + at - v*step
				*x = weight(*x, *number32(lse, place), met)
				*y = *x * (*y - *number32(delta, place))
			})
		}
	}
}

// askTwin only moves the streams on.
func askTwin(ahead unsafe.Pointer, count, streams int) {
	of := unsafe.Slice((*stream)(ahead), streams)
	for i := range of {
		of[i].row = of[i].row.Add(2 * count * of[i].step)
	}
}

func askedFor(p unsafe.Pointer) [2]stream {
	return [2]stream{{core.AddressOf(p), 64, 1}, {core.AddressOf(p), -8, 3}}
}

func movedOn(p unsafe.Pointer, blocks int) [2]stream {
	s := askedFor(p)
	askTwin(unsafe.Pointer(&s), blocks, len(s))
	return s
}

func accumulateTwin(sums, weights, panel, blocks, rows, ahead unsafe.Pointer, count, channels, upper, both, lower, lane, column, weightItem, item, row, streams int) {
	askTwin(ahead, count, streams)
	eachMetLane(blocks, rows, count, upper, both, lower, func(i, q, l int, b *block, r [2]int) {
		w := *number32(weights, (4*i+q)*weightItem+r[1]+l*column)
		for c := range channels {
			*number32(sums, (2*i+q%2)*item+q/2*row+4*c) += w * *number32(panel, b.rows+r[0]+l*lane+4*c)
		}
	})
}

func scatterTwin(items, weights, panel, blocks, rows, ahead unsafe.Pointer, count, channels, upper, both, lower, lane, column, weightItem, item, row, streams int) {
	askTwin(ahead, count, streams)
	eachMetLane(blocks, rows, count, upper, both, lower, func(i, q, l int, b *block, r [2]int) {
		w := *number32(weights, (4*i+q)*weightItem+r[1]+l*column)
		for c := range channels {
			*number32(panel, b.rows+r[0]+l*lane+4*c) += w * *number32(items, (2*i+q%2)*item+q/2*row+4*c)
		}
	})
}

// eachMetLane calls f for the items q of blocks i, the rows that they meet, with their
// offsets, and the lanes.
func eachMetLane(blocks, rows unsafe.Pointer, count, upper, both, lower int, f func(i, q, lane int, b *block, row [2]int)) {
	offsets := unsafe.Slice((*[2]int)(rows), upper+both+lower)
	for i, b := range unsafe.Slice((*block)(blocks), count) {
		for q := range 4 {
			from, to, first, last := 0, upper+both, 0, b.left+b.both
			if q >= 2 {
				from, to = upper, len(offsets)
			}
			if q%2 == 1 {
				first, last = b.left, b.left+b.both+b.right
			}
			for _, r := range offsets[from:to] {
				for l := first; l < last; l++ {
					f(i, q, l, &b, r)
				}
			}
		}
	}
}

func turnTwin(dst, rows unsafe.Pointer, blocks, pitch int) {
	for lane, p := range unsafe.Slice((*unsafe.Pointer)(rows), 16) {
		for c := range 16 * blocks {
			*number32(dst, c*pitch+4*lane) = *number32(p, 4*c)
		}
	}
}

func dotRowsTwin(dst, a, b unsafe.Pointer, rows, blocks, step, aStep, bStep int) {
	for r := range rows {
		var sum float32
		for c := range 16 * blocks {
			sum += *number32(a, r*aStep+4*c) * *number32(b, r*bStep+4*c)
		}
		*number32(dst, r*step) = sum
	}
}

func needBlocks(t *testing.T) *rand.Rand {
	if simd == nil || simd.block == nil {
		t.Skip("no kernels for blocks")
	}
	return rand.New(rand.NewPCG(21, 22))
}

func TestScoreBlocks(t *testing.T) {
	r := needBlocks(t)
	for vectors := 1; vectors <= blockVectors; vectors++ {
		for _, depth := range []int{1, 2, 3, 5, 8, 33, 64} {
			count, item := 1+r.IntN(3), depth+r.IntN(4)
			row, pitch := 2*count*item+r.IntN(3), 120+r.IntN(20)
			dstStep := 16 + r.IntN(3)
			dstItem := vectors*dstStep + r.IntN(3)
			blocks, offsets := make([]block, count), make([]int, vectors)
			for i := range blocks {
				blocks[i] = block{panel: 4 * r.IntN(40)}
			}
			for i := range offsets {
				offsets[i] = 4 * r.IntN(60)
			}
			items, panel := guarded(r, 2*row, normal(r)), guarded(r, depth*pitch, normal(r))
			got := guarded(r, 4*count*dstItem, untouched)
			want := got.copy()
			call := func(f func(dst, items, panel, blocks, offsets, ahead unsafe.Pointer, count, depth, pitch, vectors, dstStep, dstItem, item, row, streams int), dst unsafe.Pointer) {
				ahead := askedFor(items.p())
				f(dst, items.p(), panel.p(), unsafe.Pointer(&blocks[0]), unsafe.Pointer(&offsets[0]), unsafe.Pointer(&ahead), count, depth, 4*pitch, vectors, 4*dstStep, 4*dstItem, 4*item, 4*row, 2)
				require.Equal(t, movedOn(items.p(), count), ahead)
			}
			call(scoreTwin, want.p())
			call(simd.block.score, got.p())
			same(t, want, got, 1e-5, "vectors %d depth %d count %d", vectors, depth, count)
		}
	}
}

// drawMasks draws masks of blocks and of rows of columns.
func drawMasks(r *rand.Rand, count, vectors int) (blocks []block, masks [][2]uint32) {
	blocks, masks = make([]block, count), make([][2]uint32, vectors)
	for i := range blocks {
		blocks[i] = block{panel: 4 * r.IntN(40), masks: [2]uint32{r.Uint32(), r.Uint32()}}
	}
	for i := range 2 * vectors {
		bits := r.Uint32() & 0xffff
		if r.IntN(8) == 0 {
			bits = 0
		}
		masks[i/2][i%2] = bits | bits<<16
	}
	return blocks, masks
}

func TestSoftmaxBlocks(t *testing.T) {
	r := needBlocks(t)
	for try := range 200 {
		count, vectors, wide := 1+r.IntN(3), 1+r.IntN(9), 1+r.IntN(2)
		step := 16*wide + r.IntN(3)
		item, row := step*vectors+r.IntN(3), 2*count+r.IntN(3)
		blocks, masks := drawMasks(r, count, vectors)
		got, statistics := guarded(r, 4*count*item, logits(r)), guarded(r, 4*row, untouched)
		want, wantStatistics := got.copy(), statistics.copy()
		softmaxTwin(want.p(), unsafe.Pointer(&blocks[0]), unsafe.Pointer(&masks[0]), wantStatistics.p(), count, vectors, wide, 4*step, 4*item, 4*row)
		simd.block.softmax(got.p(), unsafe.Pointer(&blocks[0]), unsafe.Pointer(&masks[0]), statistics.p(), count, vectors, wide, 4*step, 4*item, 4*row)
		same(t, want, got, 3e-7, "softmax %d", try)
		same(t, wantStatistics, statistics, 1e-6, "statistics %d", try)
	}
}

func TestGradientBlocks(t *testing.T) {
	r := needBlocks(t)
	for try := range 200 {
		count, vectors, wide := 1+r.IntN(3), 1+r.IntN(9), 1+r.IntN(2)
		step := 16*wide + r.IntN(3)
		item, row := step*vectors+r.IntN(3), 2*count+r.IntN(3)
		blocks, masks := drawMasks(r, count, vectors)
		offsets := make([]int, vectors)
		for i := range offsets {
			offsets[i] = 4 * r.IntN(60)
		}
		scores, gradients := guarded(r, 4*count*item, normal(r)), guarded(r, 4*count*item, normal(r))
		lse, delta := guarded(r, 140, normal(r)), guarded(r, 140, normal(r))
		got, by, want, wantBy := scores.copy(), gradients.copy(), scores.copy(), gradients.copy()
		gradientItemsTwin(want.p(), wantBy.p(), unsafe.Pointer(&blocks[0]), unsafe.Pointer(&masks[0]), lse.p(), delta.p(), count, vectors, wide, 4*step, 4*item, 4*row)
		simd.block.gradientItems(got.p(), by.p(), unsafe.Pointer(&blocks[0]), unsafe.Pointer(&masks[0]), lse.p(), delta.p(), count, vectors, wide, 4*step, 4*item, 4*row)
		same(t, want, got, 1e-6, "items %d", try)
		same(t, wantBy, by, 1e-6, "items %d", try)
		got, by, want, wantBy = scores.copy(), gradients.copy(), scores.copy(), gradients.copy()
		gradientLanesTwin(want.p(), wantBy.p(), unsafe.Pointer(&blocks[0]), unsafe.Pointer(&masks[0]), lse.p(), delta.p(), unsafe.Pointer(&offsets[0]), count, vectors, wide, 4*step, 4*item)
		simd.block.gradientLanes(got.p(), by.p(), unsafe.Pointer(&blocks[0]), unsafe.Pointer(&masks[0]), lse.p(), delta.p(), unsafe.Pointer(&offsets[0]), count, vectors, wide, 4*step, 4*item)
		same(t, want, got, 1e-6, "lanes %d", try)
		same(t, wantBy, by, 1e-6, "lanes %d", try)
	}
}

func TestAccumulateBlocks(t *testing.T) {
	r := needBlocks(t)
	checkLaneKernel(t, r, simd.block.accumulate, accumulateTwin, true)
}

func TestScatterBlocks(t *testing.T) {
	r := needBlocks(t)
	checkLaneKernel(t, r, simd.block.scatter, scatterTwin, false)
}

// checkLaneKernel compares a kernel, which writes its first argument or the panel, with
// its twin.
func checkLaneKernel(t *testing.T, r *rand.Rand, kernel, twin laneKernel, first bool) {
	for _, channels := range []int{16, 32, 48, 64, 80, 112, 128} {
		for shape := range 27 {
			classes := [3]int{shape % 3, shape / 3 % 3, shape / 9}
			count, lane, column := 1+r.IntN(3), channels+r.IntN(3), 1+r.IntN(3)
			lanes := 12
			blocks, rows := make([]block, count), make([][2]int, classes[0]+classes[1]+classes[2]+1)
			for i := range blocks {
				blocks[i] = block{rows: 4 * lane * r.IntN(4), left: r.IntN(3), both: r.IntN(4), right: r.IntN(3)}
			}
			rowPitch := (lanes + 1) * lane
			weightItem := len(rows)*lanes*column + r.IntN(3)
			for i := range rows {
				rows[i] = [2]int{4 * rowPitch * i, 4 * lanes * column * i}
			}
			item := channels + r.IntN(3)
			row := 2*count*item + r.IntN(4)
			weights, panel := guarded(r, 4*count*weightItem, normal(r)), guarded(r, len(rows)*rowPitch, normal(r))
			vectors := guarded(r, 2*row, normal(r))
			wantVectors, wantPanel := vectors.copy(), panel.copy()
			for _, k := range []struct {
				f              laneKernel
				vectors, panel numbers
			}{{twin, wantVectors, wantPanel}, {kernel, vectors, panel}} {
				ahead := askedFor(panel.p())
				k.f(k.vectors.p(), weights.p(), k.panel.p(), unsafe.Pointer(&blocks[0]), unsafe.Pointer(&rows[0]), unsafe.Pointer(&ahead), count, channels,
					classes[0], classes[1], classes[2], 4*lane, 4*column, 4*weightItem, 4*item, 4*row, 2)
				require.Equal(t, movedOn(panel.p(), count), ahead)
			}
			of := [2]float64{1e-5, 0}
			if !first {
				of = [2]float64{0, 1e-5}
			}
			same(t, wantVectors, vectors, of[0], "channels %d rows %v blocks %v", channels, classes, blocks)
			same(t, wantPanel, panel, of[1], "channels %d rows %v blocks %v", channels, classes, blocks)
		}
	}
}

func TestTurnBlock(t *testing.T) {
	r := needBlocks(t)
	for blocks := 1; blocks < 6; blocks++ {
		src, pitch := guarded(r, 20*16*blocks, normal(r)), 16+r.IntN(9)
		var rows [16]unsafe.Pointer
		for i := range rows {
			rows[i] = unsafe.Pointer(&src.v[r.IntN(19*16*blocks)])
		}
		got := guarded(r, 16*blocks*pitch, untouched)
		want := got.copy()
		turnTwin(want.p(), unsafe.Pointer(&rows), blocks, 4*pitch)
		simd.block.turn(got.p(), unsafe.Pointer(&rows), blocks, 4*pitch)
		same(t, want, got, 0, "blocks %d", blocks)
	}
}

func TestDotRows(t *testing.T) {
	r := needBlocks(t)
	for blocks := 1; blocks < 6; blocks++ {
		rows, step, aStep, bStep := 1+r.IntN(4), 1+r.IntN(3), 16*blocks+r.IntN(3), r.IntN(9)
		a, b := guarded(r, rows*aStep, normal(r)), guarded(r, 16*blocks+rows*bStep, normal(r))
		got := guarded(r, rows*step, untouched)
		want := got.copy()
		dotRowsTwin(want.p(), a.p(), b.p(), rows, blocks, 4*step, 4*aStep, 4*bStep)
		simd.block.dotRows(got.p(), a.p(), b.p(), rows, blocks, 4*step, 4*aStep, 4*bStep)
		same(t, want, got, 1e-5, "blocks %d", blocks)
	}
}
