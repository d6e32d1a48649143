// SPDX-License-Identifier: MIT

package metal

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/shaders"
	"github.com/natten-mps/natten-mps/tests/conformance"
)

// The variant table lists every template by element type, alignment, offset type,
// reuse, number of axes and bias. It does not distinguish head dimensions, lanes and
// blocks.

// alignments lists the values of layout.vec for each element type, each with a head
// dimension that leads to it. The first is the best.
var alignments = map[core.DType][]struct{ vec, dim int64 }{
	core.Float32:  {{4, 8}, {1, 5}},
	core.Float16:  {{8, 8}, {4, 12}, {1, 5}},
	core.BFloat16: {{8, 8}, {4, 12}, {1, 5}},
}

var unimportant = regexp.MustCompile(`_[degk]\d+`)

func kindOf(function string) string { return unimportant.ReplaceAllString(function, "") }

// kinds lists the variant table of an element type.
func kinds(dtype core.DType) []string {
	var all []string
	for name, t := range templates {
		for n, a := range alignments[dtype] {
			matrix := strings.HasSuffix(name, "_mat")
			if matrix && a.dim%8 != 0 {
				continue
			}
			for _, wide := range []bool{false, true} {
				if wide && n > 0 {
					continue
				}
				v := variant{function: name, dtype: dtype, layout: layout{wide: wide, vec: int(a.vec)}}
				all = append(all, v.kinds(t)...)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// kinds lists v with every reuse, box and bias.
func (v variant) kinds(t template) []string {
	if len(t.parameters) == 0 {
		v.layout.vec = 1
	}
	v.layout.wide = v.layout.wide && v.function != "reduce"
	var all []string
	for v.rank = 1; v.rank <= 3; v.rank++ {
		for _, v.design = range v.designs() {
			for _, v.rpb = range []bool{false, true} {
				all = append(all, kindOf(v.instance().Name))
			}
		}
	}
	return all
}

// designs lists the designs that exist for v's number of axes.
func (v *variant) designs() []design {
	reuse := [][2]int{{1, 1}, {1, 2}}
	square := v.function == "attn_fwd" || v.function == "attn_bwd_q"
	switch {
	case strings.HasSuffix(v.function, "_mat"):
		return []design{{box: boxes[v.rank]}}
	case square && v.rank == 1:
		reuse = append(reuse, [2]int{1, 4})
	case square:
		reuse[1] = [2]int{2, 2}
	case v.function == "attn_bwd_kv" && v.rank > 1:
		reuse[1] = [2]int{2, 1}
	}
	list := make([]design, len(reuse))
	for i := range reuse {
		list[i].reuse = reuse[i]
	}
	return list
}

// small returns a problem with padding, masked slots, additional tokens and grouped
// heads. Its windows are shorter than its axes.
func small(op core.Op, dtype core.DType, rank int, dim int64, rpb bool) (core.Problem, []int64) {
	p := core.Problem{
		Op: op, DType: dtype, Rank: rank, Batch: 2, Heads: 2, KVHeads: 1, HeadDim: dim, ValueDim: dim,
		Extra: 2, RPB: rpb && op.UsesQK(), Ragged: true,
	}
	lengths := [...][]int64{1: {13}, 2: {5, 7}, 3: {3, 4, 5}}[rank]
	var sizes []int64
	for i, n := range lengths {
		p.Axes[i] = core.Axis{Length: n, Kernel: 3, Dilation: 1, Causal: i == 0 && rpb}
	}
	p.Axes[rank-1].Dilation = min(1+int64(rank)%2, 2)
	if rank == 3 {
		p.Axes[2].Kernel = 2
	}
	sizes = append(sizes, lengths...)
	for _, n := range lengths {
		sizes = append(sizes, max(n-1, 3))
	}
	if rank == 3 {
		sizes[5] = 4
	}
	return p, sizes
}

// sweep runs all variants of an element type on one device.
func sweep(t *testing.T, s *simulator, dtype core.DType) {
	for n, a := range alignments[dtype] {
		for _, wide := range []bool{false, true} {
			if wide && n > 0 {
				continue
			}
			for which := range sweeps {
				tune := &sweeps[which]
				for rank := 1; rank <= 3; rank++ {
					for _, rpb := range []bool{false, true} {
						if which == onlyLines && rank > 1 {
							continue
						}
						b := s.backend()
						b.tune, b.wide = tune, wide
						for op := core.AttnForward; op.Valid(); op++ {
							if op > core.AttnBackward && which > 1 {
								continue // split operations have two designs
							}
							p, sizes := small(op, dtype, rank, a.dim, rpb)
							conformance.Check(t, conformance.Backend(b), p, sizes, 0)
							if op == core.AttnBackward && rank == 1 && !rpb {
								p.Extra, p.KVHeads = 0, p.Heads // attn_bwd_strip
								conformance.Check(t, conformance.Backend(b), p, sizes, 0)
							}
						}
					}
				}
			}
		}
	}
}

// sweeps are tunings that together lead to every design: without reuse, with reuse,
// the matrix design, and lane groups of 8 lanes where four queries on a line share
// loads.
var sweeps = []tuning{withoutReuse(), withoutMatrix(tunings[0]), everywhereMatrix, withManyLanes()}

// onlyLines is the index of the tuning that affects only problems with one axis.
const onlyLines = 3

func withManyLanes() tuning {
	t := withoutMatrix(tunings[0])
	t.forward.channels, t.query.channels, t.keys.channels = 1, 1, 1
	return t
}

func withoutReuse() tuning {
	t := withoutMatrix(tunings[0])
	t.forward.reuse, t.query.reuse, t.keys.reuse, t.split.reuse = 1, 1, 1, 1
	return t
}

func withoutMatrix(t tuning) tuning {
	t.matrixSlots, t.fill = 1<<30, 4
	return t
}

// Every variant of the table agrees with the reference and causes no finding of the
// checker, with threads in ascending and in shuffled order, and no variant is left
// out.
func TestEveryVariantRuns(t *testing.T) {
	for n, dtype := range dtypes {
		t.Run(dtype.String(), func(t *testing.T) {
			if n > 0 && testing.Short() {
				t.Skip("float16 and bfloat16 run without -short")
			}
			everyVariantRuns(t, dtype)
		})
	}
}

func everyVariantRuns(t *testing.T, dtype core.DType) {
	runs := map[string]int{}
	for _, order := range []string{"ascending", "shuffled"} {
		s := newSimulator(t, map[string]string{"order": order, "seed": "7"})
		sweep(t, s, dtype)
		for function, count := range s.runs {
			runs[kindOf(function)] += count
		}
	}
	table := kinds(dtype)
	for _, kind := range table {
		t.Logf("%-50s %4d runs", kind, runs[kind])
		if runs[kind] == 0 {
			t.Errorf("variant %s was never executed", kind)
		}
		delete(runs, kind)
	}
	require.Empty(t, slices.Collect(maps.Keys(runs)), "variants that the table lacks")
	t.Logf("%v: %d variants", dtype, len(table))
}

var (
	threadgroupArray = regexp.MustCompile(`\bthreadgroup\s+\w+\s+\w+\s*\[`)
	bufferIndex      = regexp.MustCompile(`\[\[buffer\((\d+)\)\]\]`)
	kernelStart      = regexp.MustCompile(`\[\[kernel, max_total_threads_per_threadgroup\((NA_THREADS|\d+)\)\]\] void (\w+)\(`)
)

// The sources respect Metal's documented limits and those of
// torch.mps.compile_shader.
func TestSourcesKeepTheLimits(t *testing.T) {
	for name, template := range templates {
		source, err := shaders.Source(template.family)
		require.NoError(t, err)
		for _, refused := range []string{"function_constant", "atomic", "#include \"", "[[threadgroup("} {
			require.False(t, strings.Contains(source, refused), "%s: %s", name, refused)
		}
		require.Equal(t, name == "attn_bwd_strip", threadgroupArray.MatchString(source), "%s: threadgroup memory", name)
		kernels := kernelStart.FindAllStringSubmatch(source, -1)
		require.Len(t, kernels, 1, "%s: one kernel, with a limit of threads", name)
		require.Equal(t, name, kernels[0][2])
		require.Equal(t, strings.Count(source, "[[kernel"), len(kernels))
		for i, m := range bufferIndex.FindAllStringSubmatch(source, -1) {
			require.Equal(t, fmt.Sprint(i), m[1], "%s: buffers are numbered in order", name)
			require.LessOrEqual(t, i, maxTensors+1, name)
		}
	}
}

// launchesOf counts the launches of a problem with all tensors given.
func launchesOf(t *testing.T, c core.Problem) int {
	p, err := c.Normalize()
	require.NoError(t, err)
	list, _ := steps(p, tuningFor(0))
	return len(list)
}

func TestOneLaunchForwardAndAtMostTwoBackward(t *testing.T) {
	p := core.Problem{Op: core.AttnForward, DType: core.Float32, Rank: 2, Batch: 1, Heads: 1, HeadDim: 64}
	p.Axes[0] = core.Axis{Length: 32, Kernel: 7}
	p.Axes[1] = p.Axes[0]
	require.Equal(t, 1, launchesOf(t, p))
	p.Op = core.AttnBackward
	require.Equal(t, 2, launchesOf(t, p))
	p.Rank = 1
	require.Equal(t, 1, launchesOf(t, p))
	p.Rank = 2
	for _, op := range []core.Op{core.QKForward, core.AVForward} {
		p.Op = op
		require.Equal(t, 1, launchesOf(t, p))
		p.Op++
		require.Equal(t, 2, launchesOf(t, p))
	}
}

// If a pipeline supports fewer threads than planned, its threadgroups are smaller.
func TestFewerThreadsThanPlanned(t *testing.T) {
	s := newSimulator(t, map[string]string{"max_threads": "96"}) // 64 is the next power of two
	for _, op := range []core.Op{core.AttnForward, core.AttnBackward} {
		p, sizes := small(op, core.Float32, 2, 8, true)
		conformance.Check(t, conformance.Backend(s.backend()), p, sizes, 0)
	}
	s = newSimulator(t, map[string]string{"max_threads": "16"})
	p, _ := small(core.AttnForward, core.Float32, 2, 8, true)
	_, err := core.NewPlan([]core.Backend{s.backend()}, "metal", p)
	require.ErrorContains(t, err, "takes 16 threads per threadgroup (want at least 32)")
}

func TestProblemsThatMetalDeclines(t *testing.T) {
	s := newSimulator(t, nil)
	p := core.Problem{Op: core.AttnForward, DType: core.Float64, Rank: 1, Batch: 1 << 31, Heads: 1, HeadDim: 8}
	p.Axes[0] = core.Axis{Length: 8, Kernel: 3}
	_, err := core.NewPlan([]core.Backend{s.backend()}, "metal", p)
	require.ErrorContains(t, err, "dtype is float64 (Metal has float32, float16 and bfloat16)")
	require.ErrorContains(t, err, "batch * heads is 2147483648 (want at most 1073741823)")
}
