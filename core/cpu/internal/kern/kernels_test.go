// SPDX-License-Identifier: MIT

package kern

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern/abi"
)

// sentinel is the value of memory that a kernel must not change.
const sentinel = -12345.5

func TestDisabledInstructionSets(t *testing.T) {
	k, text := choose(strings.Join(Names, " ,"))
	require.Nil(t, k)
	require.Contains(t, text, "portable")
	require.NotContains(t, text, "unknown")
	k, text = choose("mmx")
	require.Equal(t, active == nil, k == nil)
	require.Contains(t, text, "mmx, which is unknown (want "+strings.Join(Names, ", ")+")")
}

func needKernels(t testing.TB) *rand.Rand {
	if active == nil {
		t.Skip("portable kernels")
	}
	t.Cleanup(func() { held = nil })
	return rand.New(rand.NewPCG(11, 12))
}

// numbers holds random numbers v between guards, at one of 8 alignments.
type numbers struct{ all, v []float32 }

func guarded(r *rand.Rand, n int, f func() float32) numbers {
	before := 16 + r.IntN(8)
	all := make([]float32, before+n+16)
	for i := range all {
		all[i] = sentinel
	}
	x := numbers{all, all[before : before+n]}
	for i := range x.v {
		x.v[i] = f()
	}
	return x
}

func normal(r *rand.Rand) func() float32 { return func() float32 { return float32(r.NormFloat64()) } }

func untouched() float32 { return sentinel }

func (x numbers) p() unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(x.v)) }

// held keeps memory alive that is reachable only through integer addresses.
var held []any

// hold returns the address of the first element and keeps the slice alive.
func hold[T any](s []T) core.Address {
	held = append(held, s)
	return core.AddressOf(unsafe.Pointer(unsafe.SliceData(s)))
}

func (x numbers) address() core.Address { return hold(x.v) }

func (x numbers) copy() numbers {
	all := append([]float32(nil), x.all...)
	before := int(uintptr(x.p())-uintptr(unsafe.Pointer(&x.all[0]))) / 4
	return numbers{all, all[before : before+len(x.v)]}
}

// same compares all numbers, including the guards.
func same(t *testing.T, want, got numbers, tolerance float64, format string, args ...any) {
	t.Helper()
	for i, w := range want.all {
		g := got.all[i]
		if w == g || w != w && g != g {
			continue
		}
		if d := math.Abs(float64(w) - float64(g)); !(d <= tolerance*max(1, math.Abs(float64(w)))) {
			require.Failf(t, "different", "%s: element %d is %v (want %v)", fmt.Sprintf(format, args...), i, g, w)
		}
	}
}

func testScore(t *testing.T, most, lanes int, kernel func(dst, vectors, panel, pairs unsafe.Pointer, count, depth, pitch, step, rows, dstStep, dstItem, vectorItem int)) {
	r := needKernels(t)
	if kernel == nil {
		t.Skip("not in this set")
	}
	for rows := 1; rows <= most; rows++ {
		for _, depth := range []int{1, 2, 3, 4, 5, 7, 8, 12, 33, 64} {
			count := 1 + r.IntN(4)
			step, dstStep := lanes+r.IntN(9), lanes+r.IntN(3)
			pitch, vectorItem, dstItem := rows*step+lanes+8, depth+r.IntN(5), rows*dstStep+r.IntN(4)
			vectors, panel := guarded(r, 2*count*vectorItem, normal(r)), guarded(r, depth*pitch, normal(r))
			got := guarded(r, 2*count*dstItem, untouched)
			want := got.copy()
			pairs := make([]abi.ScorePair, count)
			for i := range pairs {
				pairs[i] = abi.ScorePair{Dst: 2 * i * dstItem * 4, Item: 2 * i, Panel: r.IntN(8) * 4}
				for k := range 2 * rows * lanes {
					item, row, lane := k/(rows*lanes), k/lanes%rows, k%lanes
					var sum float64
					for c := range depth {
						sum += float64(vectors.v[(2*i+item)*vectorItem+c]) * float64(panel.v[pairs[i].Panel/4+c*pitch+row*step+lane])
					}
					want.v[(2*i+item)*dstItem+row*dstStep+lane] = float32(sum)
				}
			}
			kernel(got.p(), vectors.p(), panel.p(), unsafe.Pointer(&pairs[0]), count, depth, pitch*4, step*4, rows, dstStep*4, dstItem*4, vectorItem*4)
			same(t, want, got, 1e-5, "rows %d depth %d count %d", rows, depth, count)
		}
	}
}

func TestScoreRows(t *testing.T) {
	needKernels(t)
	testScore(t, MostRows, 8, active.Panel.ScoreRows)
}

func TestScoreHalves(t *testing.T) {
	needKernels(t)
	testScore(t, MostHalves, 4, active.Panel.ScoreHalves)
}

func TestScorePairs(t *testing.T) {
	r := needKernels(t)
	if active.Panel.ScorePairs == nil {
		t.Skip("not in this set")
	}
	for _, depth := range []int{1, 2, 5, 8, 12, 64} {
		const count, pitch = 8, 40
		vectorItem, dstItem := depth+3, 8+r.IntN(4)
		vectors, panel := guarded(r, 2*count*vectorItem, normal(r)), guarded(r, depth*pitch, normal(r))
		got := guarded(r, 2*count*dstItem, untouched)
		want := got.copy()
		pairs := make([]abi.ScorePair, count)
		for i := range pairs {
			pairs[i] = abi.ScorePair{Dst: 2 * i * dstItem * 4, Item: 2 * i, Panel: r.IntN(32) * 4}
		}
		active.Panel.ScoreRows(want.p(), vectors.p(), panel.p(), unsafe.Pointer(&pairs[0]), count, depth, pitch*4, 0, 1, 0, dstItem*4, vectorItem*4)
		active.Panel.ScorePairs(got.p(), vectors.p(), panel.p(), unsafe.Pointer(&pairs[0]), count, depth, pitch*4, dstItem*4, vectorItem*4)
		same(t, want, got, 1e-6, "depth %d", depth)
	}
}

func TestAccumulate(t *testing.T) {
	r := needKernels(t)
	for _, channels := range []int{8, 16, 24, 32, 40, 64, 72, 104} {
		for shape := range 27 {
			firstOnly, shared, secondOnly := shape%3*3, shape/3%3, shape/9*2
			lanes := firstOnly + shared + secondOnly
			count, slots, width := 1+r.IntN(3), 1+r.IntN(4), lanes+r.IntN(5)+8
			weightWidth, sumItem := lanes+r.IntN(3), channels+8*r.IntN(2)
			weightItem := slots*weightWidth + r.IntN(3)
			weights, panel := guarded(r, 2*count*weightItem, normal(r)), guarded(r, slots*width*channels, normal(r))
			got := guarded(r, 2*count*sumItem, normal(r))
			want := got.copy()
			pairs := make([]abi.SumPair, count)
			for i := range pairs {
				p := abi.SumPair{
					Item: 2 * i, Weights: 2 * i * weightItem * 4, Lane: r.IntN(width - lanes + 1),
					FirstOnly: firstOnly, Shared: shared, SecondOnly: secondOnly, WeightSkip: (weightWidth - lanes) * 4, LaneSkip: width - lanes,
				}
				pairs[i] = p
				for k := range slots * lanes * channels {
					slot, lane, c := k/(lanes*channels), k/channels%lanes, k%channels
					v := panel.v[(slot*width+p.Lane+lane)*channels+c]
					w := weights.v[2*i*weightItem+slot*weightWidth+lane:]
					if lane < firstOnly+shared {
						want.v[2*i*sumItem+c] += w[0] * v
					}
					if lane >= firstOnly {
						want.v[(2*i+1)*sumItem+c] += w[weightItem] * v
					}
				}
			}
			active.Panel.Accumulate(got.p(), weights.p(), panel.p(), unsafe.Pointer(&pairs[0]), count, channels, slots, sumItem*4, weightItem*4)
			same(t, want, got, 1e-5, "channels %d lanes %d %d %d", channels, firstOnly, shared, secondOnly)
		}
	}
}

func TestTransposeAndDot(t *testing.T) {
	r := needKernels(t)
	for blocks := 1; blocks < 6; blocks++ {
		pitch, step := 8+r.IntN(9), 8*blocks+r.IntN(5)
		src, got := guarded(r, 8*step, normal(r)), guarded(r, 8*blocks*pitch, untouched)
		want := got.copy()
		var sum float64
		for c := range 8 * blocks {
			for lane := range 8 {
				want.v[c*pitch+lane] = src.v[lane*step+c]
			}
			sum += float64(src.v[c]) * float64(src.v[step+c])
		}
		active.Panel.Transpose(got.p(), src.p(), blocks, pitch*4, step*4)
		same(t, want, got, 0, "transpose, blocks %d", blocks)
		dot := active.Dot(src.p(), unsafe.Pointer(&src.v[step]), blocks)
		require.InDelta(t, sum, float64(dot), 1e-5, "dot, blocks %d", blocks)
	}
	require.Zero(t, active.Dot(nil, nil, 0))
}

// logits draws inputs of a softmax, including special values.
func logits(r *rand.Rand) func() float32 {
	special := []float32{float32(math.Inf(-1)), -87.2, -87.4, -1000, 0}
	return func() float32 {
		if r.IntN(8) == 0 {
			return special[r.IntN(len(special))]
		}
		return float32(4 * r.NormFloat64())
	}
}

func TestSoftmaxRows(t *testing.T) {
	r := needKernels(t)
	for try := range 200 {
		items, slots, columns := 1+r.IntN(3), 1+r.IntN(4), 1+r.IntN(3)
		width := 8 * columns
		pitch := slots*width + r.IntN(5)
		masks := make([]uint32, items*width)
		for i := range masks {
			masks[i] = -uint32(r.IntN(2))
		}
		rows := guarded(r, items*pitch, logits(r))
		got, want := rows.copy(), rows.copy()
		tops, totals := guarded(r, items, untouched), guarded(r, items, untouched)
		wantTops, wantTotals := tops.copy(), totals.copy()
		for i := range items {
			top, total := float32(math.Inf(-1)), float32(0)
			for k, v := range rows.v[i*pitch:][:slots*width] {
				if masks[i*width+k%width] != 0 {
					top = max(top, v)
				}
			}
			wantTops.v[i] = top
			if math.IsInf(float64(top), -1) {
				top = 0
			}
			for k, v := range rows.v[i*pitch:][:slots*width] {
				e := exp32(v - top)
				if masks[i*width+k%width] == 0 {
					e = 0
				}
				want.v[i*pitch+k] = e
				total += e
			}
			wantTotals.v[i] = total
			require.Equal(t, wantTops.v[i], active.Panel.MaxRow(unsafe.Pointer(&rows.v[i*pitch]), unsafe.Pointer(&masks[i*width]), slots, columns))
		}
		alone := rows.copy()
		active.Panel.Softmax(got.p(), unsafe.Pointer(&masks[0]), tops.p(), totals.p(), items, slots, columns, pitch*4, width*4)
		same(t, want, got, 3e-7, "softmax %d", try)
		same(t, wantTops, tops, 0, "tops %d", try)
		same(t, wantTotals, totals, 1e-6, "totals %d", try)
		for i := range items {
			offset := wantTops.v[i]
			if math.IsInf(float64(offset), -1) {
				offset = 0
			}
			total := active.Panel.ExpRow(unsafe.Pointer(&alone.v[i*pitch]), unsafe.Pointer(&masks[i*width]), slots, columns, offset)
			require.InEpsilon(t, wantTotals.v[i]+1, total+1, 1e-6)
		}
		same(t, want, alone, 3e-7, "expRow %d", try)
	}
}

func TestExponentialIsAccurate(t *testing.T) {
	needKernels(t)
	masks := [8]uint32{}
	for i := range masks {
		masks[i] = ^uint32(0)
	}
	for x := float32(-87.25); x < 88; x += 0.00937 {
		row := [8]float32{x, float32(math.NaN()), 0, -88, 100, float32(math.Inf(-1)), x + 0.001, x - 0.001}
		active.Panel.ExpRow(unsafe.Pointer(&row), unsafe.Pointer(&masks), 1, 1, 0)
		require.InEpsilon(t, math.Exp(float64(x)), row[0], 2.5e-7, "e**%v", x)
		require.InEpsilon(t, math.Exp(float64(x)), exp32(x), 2.5e-7, "e**%v", x)
		require.True(t, row[1] != row[1], "NaN gives %v", row[1])
		require.Equal(t, float32(1), row[2])
		require.Zero(t, row[3])
		require.InEpsilon(t, exp32(100), row[4], 3e-7)
		require.Zero(t, row[5])
	}
}

func TestLogarithmIsAccurate(t *testing.T) {
	for x := float32(1e-30); x < 1e30; x *= 1.0137 {
		require.InDelta(t, math.Log(float64(x)), log32(x), 2.5e-7*max(1, math.Abs(math.Log(float64(x)))), "log %v", x)
	}
	require.True(t, math.IsInf(float64(log32(0)), -1))
	require.True(t, log32(float32(math.NaN())) != log32(float32(math.NaN())))
}

func TestLanesAndGradients(t *testing.T) {
	r := needKernels(t)
	for try := range 100 {
		slots, columns, skip := 1+r.IntN(4), 1+r.IntN(3), r.IntN(9)
		width := 8 * columns
		masks := make([]uint32, width)
		for i := range masks {
			masks[i] = -uint32(r.IntN(2))
		}
		row, gradient := guarded(r, slots*width, normal(r)), guarded(r, slots*width, normal(r))
		lanes := guarded(r, slots*(width+skip), normal(r))
		got, want := row.copy(), row.copy()
		byRow, wantByRow := row.copy(), row.copy()
		byLane, wantByLane := row.copy(), row.copy()
		for k, v := range row.v {
			offset := lanes.v[k/width*(width+skip)+k%width]
			want.v[k] = exp32(v - offset)
			if masks[k%width] == 0 {
				want.v[k] = 0
			}
			wantByRow.v[k] = v * (gradient.v[k] - 0.25)
			wantByLane.v[k] = v * (gradient.v[k] - offset)
		}
		active.Panel.ExpLanes(got.p(), unsafe.Pointer(&masks[0]), lanes.p(), slots, columns, skip*4)
		same(t, want, got, 3e-7, "expLanes %d", try)
		active.Panel.GradientRow(byRow.p(), gradient.p(), slots*columns, 0.25)
		same(t, wantByRow, byRow, 1e-6, "gradientRow %d", try)
		active.Panel.GradientLanes(byLane.p(), gradient.p(), lanes.p(), slots, columns, skip*4)
		same(t, wantByLane, byLane, 1e-6, "gradientLanes %d", try)
	}
}

// halves returns n 16-bit numbers v between guards.
func halves(r *rand.Rand, n int) (all, v []uint16) {
	before := 8 + r.IntN(8)
	all = make([]uint16, before+n+8)
	for i := range all {
		all[i] = 0x5a5a
	}
	return all, all[before : before+n]
}

func TestConversionsAreExact(t *testing.T) {
	r := needKernels(t)
	scalar := map[core.DType]struct {
		load  func(uint16) float32
		store func(float32) uint16
	}{
		core.Float16:  {core.Float16ToFloat32, core.Float32ToFloat16},
		core.BFloat16: {core.BFloat16ToFloat32, core.Float32ToBFloat16},
	}
	for dtype, s := range scalar {
		for first := 0; first < 1<<16; first += 64 { // every 16-bit number
			_, bits := halves(r, 64)
			for i := range bits {
				bits[i] = uint16(first + i)
			}
			loaded := guarded(r, 2*40, untouched)
			want := loaded.copy()
			factors := [2]float32{1, 2}
			for k := range 64 {
				want.v[k/32*40+k%32] = s.load(bits[k]) * factors[k/32]
			}
			active.Load[dtype](loaded.p(), unsafe.Pointer(&bits[0]), unsafe.Pointer(&factors), 2, 4, 160, 64, 4)
			same(t, want, loaded, 0, "load %v", dtype)
		}
		for range 2000 {
			numbers := guarded(r, 16, func() float32 { return math.Float32frombits(r.Uint32()) })
			all, bits := halves(r, 16)
			wantAll := append([]uint16(nil), all...)
			factor := [1]float32{1}
			active.Store[dtype](unsafe.Pointer(&bits[0]), numbers.p(), unsafe.Pointer(&factor), 1, 2, 0, 0, 0)
			for i, v := range numbers.v {
				if v == v {
					require.Equal(t, s.store(v), bits[i], "%v of %v", dtype, v)
				} else {
					require.True(t, s.load(bits[i]) != s.load(bits[i]), "%v of NaN is %#x", dtype, bits[i])
				}
				bits[i] = 0x5a5a
			}
			require.Equal(t, wantAll, all, "store %v writes outside", dtype)
		}
	}
}

func TestFloat32Rows(t *testing.T) {
	r := needKernels(t)
	for blocks := 1; blocks < 5; blocks++ {
		rows, from, to := 3, 8*blocks+r.IntN(4), 8*blocks+r.IntN(4)
		src, got := guarded(r, rows*from, normal(r)), guarded(r, rows*to, untouched)
		want, factors := got.copy(), [3]float32{1, -2, 0.5}
		for k := range rows * 8 * blocks {
			i, c := k/(8*blocks), k%(8*blocks)
			want.v[i*to+c] = src.v[i*from+c] * factors[i]
		}
		active.Store[core.Float32](got.p(), src.p(), unsafe.Pointer(&factors), rows, blocks, to*4, from*4, 4)
		same(t, want, got, 0, "blocks %d", blocks)
	}
}
