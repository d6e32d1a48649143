// SPDX-License-Identifier: MIT

package cpu

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// twins are the block kernels in Go, element by element.
var twins = blockKernels{score: scoreTwin, softmax: softmaxTwin, accumulate: accumulateTwin, turn: turnTwin}

func number32(p unsafe.Pointer, bytes int) *float32 { return (*float32)(unsafe.Add(p, bytes)) }

func scoreTwin(dst, items, panel, blocks, offsets unsafe.Pointer, count, depth, pitch, vectors, dstStep, dstItem, item, row int) {
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

func softmaxTwin(scores, blocks, masks, statistics unsafe.Pointer, count, vectors, wide, item, row int) {
	for i, b := range unsafe.Slice((*block)(blocks), count) {
		for q := range 4 {
			rows := unsafe.Slice((*uint32)(masks), 2*vectors)[q/2*vectors:]
			x := unsafe.Slice(number32(scores, (4*i+q)*item), 16*wide*vectors)
			met := func(k int) bool { return b.masks[q%2]>>(k%(16*wide))&(rows[k/(16*wide)]>>(k%16))&1 != 0 }
			top, total := float32(math.Inf(-1)), float32(0)
			for k, v := range x {
				if met(k) && v > top {
					top = v
				}
			}
			place := (2*i + q%2) * 4
			*number32(statistics, q/2*row+place) = top
			if math.IsInf(float64(top), -1) {
				top = 0
			}
			for k, v := range x {
				x[k] = 0
				if met(k) {
					x[k] = exp32(v - top)
					total += x[k]
				}
			}
			*number32(statistics, (2+q/2)*row+place) = total
			*number32(statistics, (4+q/2)*row+place) = 1 / total
		}
	}
}

func accumulateTwin(sums, weights, panel, blocks, rows unsafe.Pointer, count, channels, upper, both, lower, lane, column, weightItem, item, row int) {
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
					w := *number32(weights, (4*i+q)*weightItem+r[1]+l*column)
					for c := range channels {
						*number32(sums, (2*i+q%2)*item+q/2*row+4*c) += w * *number32(panel, b.rows+r[0]+l*lane+4*c)
					}
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
			call := func(f func(dst, items, panel, blocks, offsets unsafe.Pointer, count, depth, pitch, vectors, dstStep, dstItem, item, row int), dst unsafe.Pointer) {
				f(dst, items.p(), panel.p(), unsafe.Pointer(&blocks[0]), unsafe.Pointer(&offsets[0]), count, depth, 4*pitch, vectors, 4*dstStep, 4*dstItem, 4*item, 4*row)
			}
			call(scoreTwin, want.p())
			call(simd.block.score, got.p())
			same(t, want, got, 1e-5, "vectors %d depth %d count %d", vectors, depth, count)
		}
	}
}

func TestSoftmaxBlocks(t *testing.T) {
	r := needBlocks(t)
	for try := range 200 {
		count, vectors, wide := 1+r.IntN(3), 1+r.IntN(9), 1+r.IntN(2)
		item, row := 16*wide*vectors+r.IntN(3), 2*count+r.IntN(3)
		blocks, masks := make([]block, count), make([]uint32, 2*vectors)
		for i := range blocks {
			blocks[i].masks = [2]uint32{r.Uint32(), r.Uint32()}
		}
		for i := range masks {
			masks[i] = r.Uint32() & 0xffff
			if r.IntN(8) == 0 {
				masks[i] = 0
			}
			masks[i] |= masks[i] << 16
		}
		got, statistics := guarded(r, 4*count*item, logits(r)), guarded(r, 6*row, untouched)
		want, wantStatistics := got.copy(), statistics.copy()
		softmaxTwin(want.p(), unsafe.Pointer(&blocks[0]), unsafe.Pointer(&masks[0]), wantStatistics.p(), count, vectors, wide, 4*item, 4*row)
		simd.block.softmax(got.p(), unsafe.Pointer(&blocks[0]), unsafe.Pointer(&masks[0]), statistics.p(), count, vectors, wide, 4*item, 4*row)
		same(t, want, got, 3e-7, "softmax %d", try)
		same(t, wantStatistics, statistics, 1e-6, "statistics %d", try)
	}
}

func TestAccumulateBlocks(t *testing.T) {
	r := needBlocks(t)
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
			got := guarded(r, 2*row, normal(r))
			want := got.copy()
			for _, k := range []struct {
				f    func(sums, weights, panel, blocks, rows unsafe.Pointer, count, channels, upper, both, lower, lane, column, weightItem, item, row int)
				sums numbers
			}{{accumulateTwin, want}, {simd.block.accumulate, got}} {
				k.f(k.sums.p(), weights.p(), panel.p(), unsafe.Pointer(&blocks[0]), unsafe.Pointer(&rows[0]), count, channels,
					classes[0], classes[1], classes[2], 4*lane, 4*column, 4*weightItem, 4*item, 4*row)
			}
			same(t, want, got, 1e-5, "channels %d rows %v blocks %v", channels, classes, blocks)
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
