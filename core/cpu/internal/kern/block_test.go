// SPDX-License-Identifier: MIT

package kern

import (
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern/abi"
)

func needBlocks(t *testing.T) (k *BlockKernels, r *rand.Rand) {
	if active == nil || active.Block == nil {
		t.Skip("no kernels for quads")
	}
	return active.Block, rand.New(rand.NewPCG(21, 22))
}

// streams returns two streams of rows at p.
func streams(p unsafe.Pointer) [2]abi.Stream {
	return [2]abi.Stream{{Row: core.AddressOf(p), Step: 64, Lines: 1}, {Row: core.AddressOf(p), Step: -8, Lines: 3}}
}

func movedOn(p unsafe.Pointer, quads int) [2]abi.Stream {
	s := streams(p)
	for i := range s {
		s[i].Row = s[i].Row.Add(2 * quads * s[i].Step)
	}
	return s
}

func TestScoreQuads(t *testing.T) {
	k, r := needBlocks(t)
	for try := range 4 * k.MostGroups {
		groups := 1 + try%k.MostGroups
		for _, channels := range []int{1, 2, 3, 5, 8, 33, 64} {
			count, item := 1+r.IntN(3), channels+r.IntN(4)
			row, pitch := 2*count*item+r.IntN(3), 120+r.IntN(20)
			step := k.Lanes + r.IntN(3)
			weightItem := groups*step + r.IntN(3)
			quads, offsets := make([]abi.Quad, count), make([]int, groups)
			for i := range quads {
				quads[i].Panel = 4 * r.IntN(40)
			}
			for i := range offsets {
				offsets[i] = 4 * r.IntN(60)
			}
			items, panel := guarded(r, 2*row, normal(r)), guarded(r, channels*pitch, normal(r))
			got := guarded(r, 4*count*weightItem, untouched)
			want := got.copy()
			upper, lower := r.IntN(2), r.IntN(2)
			for _, x := range []struct {
				f  func(*abi.Block)
				to numbers
			}{{ScoreQuads, want}, {k.Score, got}} {
				ahead := streams(items.p())
				x.f(&abi.Block{
					Quads: unsafe.Pointer(&quads[0]), Offsets: unsafe.Pointer(&offsets[0]), Ahead: unsafe.Pointer(&ahead), Streams: 2,
					Weights: x.to.p(), Vectors: items.p(), Panel: panel.p(), Lanes: k.Lanes, Count: count, Channels: channels, Groups: groups, Upper: upper, Lower: lower,
					Pitch: 4 * pitch, GroupStep: 4 * step, WeightItem: 4 * weightItem, Item: 4 * item, Row: 4 * row,
				})
				require.Equal(t, movedOn(items.p(), count), ahead)
			}
			for i := range 4 * count { // ignore results that are undefined
				if i%4 >= 2 && upper == 1 {
					copy(want.v[i*weightItem:][:k.Lanes], got.v[i*weightItem:])
				}
				if i%4 < 2 && lower == 1 {
					last := i*weightItem + (groups-1)*step
					copy(want.v[last:][:k.Lanes], got.v[last:])
				}
			}
			same(t, want, got, 1e-5, "groups %d channels %d count %d upper %d lower %d", groups, channels, count, upper, lower)
		}
	}
}

// weightsCall draws the argument of a kernel for weights, with random masks of quads and rows,
// and returns the number of elements that weights needs.
func weightsCall(r *rand.Rand, lanes int) (c abi.Block, size int) {
	c = abi.Block{Lanes: lanes, Count: 1 + r.IntN(3), Groups: 1 + r.IntN(9), Wide: 1 + r.IntN(MaskBits/lanes)}
	c.GroupStep = 4 * (lanes*c.Wide + r.IntN(3))
	c.WeightItem = c.GroupStep*c.Groups + 4*r.IntN(3)
	c.NumberRow = 4 * (2*c.Count + r.IntN(3))
	quads, masks, offsets := make([]abi.Quad, c.Count), make([][2]uint32, c.Groups), make([]int, c.Groups)
	for i := range quads {
		quads[i] = abi.Quad{Panel: 4 * r.IntN(40), Masks: [2]uint32{r.Uint32(), r.Uint32()}}
	}
	for i := range 2 * c.Groups {
		bits := r.Uint32() & (1<<lanes - 1)
		if r.IntN(8) == 0 {
			bits = 0
		}
		for shift := 0; shift < MaskBits; shift += lanes {
			masks[i/2][i%2] |= bits << shift
		}
	}
	for i := range offsets {
		offsets[i] = 4 * r.IntN(60)
	}
	c.Quads, c.Masks, c.Offsets = unsafe.Pointer(&quads[0]), unsafe.Pointer(&masks[0]), unsafe.Pointer(&offsets[0])
	return c, c.Count * c.WeightItem
}

func TestSoftmaxQuads(t *testing.T) {
	k, r := needBlocks(t)
	for try := range 200 {
		c, size := weightsCall(r, k.Lanes)
		got, statistics := guarded(r, size, logits(r)), guarded(r, c.NumberRow, untouched)
		want, wantStatistics := got.copy(), statistics.copy()
		twin := c
		twin.Weights, twin.LSE = want.p(), wantStatistics.p()
		c.Weights, c.LSE = got.p(), statistics.p()
		SoftmaxQuads(&twin)
		k.Softmax(&c)
		same(t, want, got, 3e-7, "softmax %d", try)
		same(t, wantStatistics, statistics, 1e-6, "statistics %d", try)
	}
}

func TestGradientsOfQuads(t *testing.T) {
	k, r := needBlocks(t)
	for try := range 200 {
		for name, of := range map[string][2]func(*abi.Block){"items": {GradientItems, k.GradientItems}, "lanes": {GradientLanes, k.GradientLanes}} {
			c, size := weightsCall(r, k.Lanes)
			weights, gradients := guarded(r, size, normal(r)), guarded(r, size, normal(r))
			lse, delta := guarded(r, 140, normal(r)), guarded(r, 140, normal(r))
			wantWeights, wantGradients := weights.copy(), gradients.copy()
			c.LSE, c.Delta = lse.p(), delta.p()
			twin := c
			twin.Weights, twin.Gradients = wantWeights.p(), wantGradients.p()
			c.Weights, c.Gradients = weights.p(), gradients.p()
			of[0](&twin)
			of[1](&c)
			same(t, wantWeights, weights, 1e-6, "%s %d", name, try)
			same(t, wantGradients, gradients, 1e-6, "%s %d", name, try)
		}
	}
}

func TestAccumulateQuads(t *testing.T) {
	k, r := needBlocks(t)
	checkMetLanes(t, r, k.Lanes, k.Accumulate, AccumulateQuads, true)
}

func TestScatterQuads(t *testing.T) {
	k, r := needBlocks(t)
	checkMetLanes(t, r, k.Lanes, k.Scatter, ScatterQuads, false)
}

// checkMetLanes compares a kernel with its twin. The kernel writes either the vectors or the
// panel.
func checkMetLanes(t *testing.T, r *rand.Rand, width int, kernel, twin func(*abi.Block), writesVectors bool) {
	for _, n := range []int{1, 2, 3, 4, 5, 7, 8} {
		for shape := range 27 {
			const lanes = 16
			channels, classes := n*width, [3]int{shape % 3, shape / 3 % 3, shape / 9}
			count, lane, column := 1+r.IntN(3), channels+r.IntN(3), 1+r.IntN(3)
			quads, rows := make([]abi.Quad, count), make([]abi.MetRow, classes[0]+classes[1]+classes[2]+1)
			for i := range quads {
				quads[i] = abi.Quad{Rows: 4 * lane * r.IntN(4), Left: r.IntN(3), Both: r.IntN(10), Right: r.IntN(3)}
			}
			rowPitch := (lanes + 1) * lane
			weightItem := len(rows)*lanes*column + r.IntN(3)
			for i := range rows {
				rows[i] = abi.MetRow{Panel: 4 * rowPitch * i, Weights: 4 * lanes * column * i}
			}
			item := channels + r.IntN(3)
			row := 2*count*item + r.IntN(4)
			weights, panel := guarded(r, 4*count*weightItem, normal(r)), guarded(r, len(rows)*rowPitch, normal(r))
			vectors := guarded(r, 2*row, normal(r))
			wantVectors, wantPanel := vectors.copy(), panel.copy()
			for _, x := range []struct {
				f              func(*abi.Block)
				vectors, panel numbers
			}{{twin, wantVectors, wantPanel}, {kernel, vectors, panel}} {
				ahead := streams(panel.p())
				x.f(&abi.Block{
					Quads: unsafe.Pointer(&quads[0]), Rows: unsafe.Pointer(&rows[0]), Ahead: unsafe.Pointer(&ahead), Streams: 2,
					Weights: weights.p(), Vectors: x.vectors.p(), Panel: x.panel.p(), Lanes: width, Count: count, Channels: channels,
					Upper: classes[0], Both: classes[1], Lower: classes[2], WeightItem: 4 * weightItem, Item: 4 * item, Row: 4 * row, Lane: 4 * lane, Column: 4 * column,
				})
				require.Equal(t, movedOn(panel.p(), count), ahead)
			}
			of := [2]float64{1e-5, 0}
			if !writesVectors {
				of = [2]float64{0, 1e-5}
			}
			same(t, wantVectors, vectors, of[0], "channels %d rows %v quads %v", channels, classes, quads)
			same(t, wantPanel, panel, of[1], "channels %d rows %v quads %v", channels, classes, quads)
		}
	}
}

func TestTransposeAndDotsOfBlocks(t *testing.T) {
	k, r := needBlocks(t)
	twin := BlockTwins(k.Lanes)
	for vectors := 1; vectors < 6; vectors++ {
		channels := k.Lanes * vectors
		src, pitch := guarded(r, 20*channels, normal(r)), k.Lanes+r.IntN(9)
		rows := make([]core.Address, k.Lanes)
		for i := range rows {
			rows[i] = src.address().Add(4 * r.IntN(19*channels))
		}
		got := guarded(r, channels*pitch, untouched)
		want := got.copy()
		twin.Transpose(want.p(), unsafe.Pointer(&rows[0]), vectors, 4*pitch)
		k.Transpose(got.p(), unsafe.Pointer(&rows[0]), vectors, 4*pitch)
		same(t, want, got, 0, "transpose, vectors %d", vectors)

		count, step, aStep, bStep := 1+r.IntN(4), 1+r.IntN(3), channels+r.IntN(3), r.IntN(9)
		a, b := guarded(r, count*aStep, normal(r)), guarded(r, channels+count*bStep, normal(r))
		got = guarded(r, count*step, untouched)
		want = got.copy()
		twin.DotRows(want.p(), a.p(), b.p(), count, vectors, 4*step, 4*aStep, 4*bStep)
		k.DotRows(got.p(), a.p(), b.p(), count, vectors, 4*step, 4*aStep, 4*bStep)
		same(t, want, got, 1e-5, "dots, vectors %d", vectors)
	}
}
