// SPDX-License-Identifier: MIT

package exported

import (
	"math"
	"math/rand/v2"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"
	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/fenv"
	"github.com/natten-mps/natten-mps/core/ref"
	"github.com/natten-mps/natten-mps/tests"
	"github.com/natten-mps/natten-mps/tests/conformance"
)

func backendNames(t *testing.T) []string {
	t.Helper()
	var names []string
	for {
		info := &cBackendInfo{size: uint64(unsafe.Sizeof(cBackendInfo{}))}
		e := newError()
		if library.backend(int32(len(names)), info, e) != 0 {
			require.Contains(t, text(e.message[:]), "index is")
			return names
		}
		require.NotEmpty(t, text(info.details[:]))
		names = append(names, text(info.name[:]))
	}
}

func TestOperationsMatchTheReference(t *testing.T) {
	conformance.Run(t, execute(t, "auto"))
}

func TestReferenceIsReachable(t *testing.T) {
	c := tests.Cases()[0]
	for op := core.AttnForward; op.Valid(); op++ {
		conformance.Check(t, execute(t, "reference"), c.Problem(op, core.Float32), c.FlatSizes(), int(op))
	}
}

func TestBackends(t *testing.T) {
	names := backendNames(t)
	require.Contains(t, names, "native")
	require.Equal(t, "reference", names[len(names)-1], "is the last resort")
	info := &cBackendInfo{size: uint64(unsafe.Sizeof(cBackendInfo{}))}
	require.Zero(t, library.backend(int32(len(names)-1), info, nil))
	require.EqualValues(t, 1, info.available)
}

func TestVersions(t *testing.T) {
	source, err := os.ReadFile("../../python/natten_mps/version.py")
	require.NoError(t, err)
	match := regexp.MustCompile(`__version__ = "(.*)"`).FindSubmatch(source)
	require.NotNil(t, match)
	require.Equal(t, string(match[1]), library.version())
	header, err := os.ReadFile("../../include/natten_mps.h")
	require.NoError(t, err)
	match = regexp.MustCompile(`#define NATTEN_MPS_ABI_VERSION (\d+)`).FindSubmatch(header)
	require.NotNil(t, match)
	require.Equal(t, string(match[1]), strconv.Itoa(int(library.abiVersion())))
	require.LessOrEqual(t, library.abiMinimum(), library.abiVersion())
}

func TestThreads(t *testing.T) {
	processors := library.getNumThreads()
	require.Positive(t, processors)
	e := newError()
	require.NoError(t, outcome(t, library.setNumThreads(3, e), e))
	require.EqualValues(t, 3, library.getNumThreads())
	require.ErrorContains(t, outcome(t, library.setNumThreads(-1, e), e), "threads is -1 (want >= 0)")
	require.EqualValues(t, 3, library.getNumThreads())
	require.Zero(t, library.setNumThreads(0, nil))
	require.Equal(t, processors, library.getNumThreads())
}

func TestPlanInfo(t *testing.T) {
	for _, backend := range backendNames(t) {
		c := tests.Cases()[0]
		p := c.Problem(core.AttnBackward, core.Float32)
		var plan uint64
		e := newError()
		if err := outcome(t, library.planCreate(problemStruct(&p), name(backend), &plan, e), e); err != nil {
			require.Equal(t, "metal", backend, "%v", err)
			continue
		}
		info := &cPlanInfo{size: uint64(unsafe.Sizeof(cPlanInfo{}))}
		require.NoError(t, outcome(t, library.planInfoGet(plan, info, e), e))
		require.Equal(t, backend, text(info.backend[:]))
		require.NotEmpty(t, text(info.variant[:]))
		require.GreaterOrEqual(t, info.scratchBytes, int64(0))
		require.Zero(t, library.planDestroy(plan, nil))
	}
}

func TestSupports(t *testing.T) {
	c := tests.Cases()[0]
	p := c.Problem(core.AttnForward, core.Float32)
	e := newError()
	require.NoError(t, outcome(t, library.supports(problemStruct(&p), nil, e), e))
	require.NoError(t, outcome(t, library.supports(problemStruct(&p), name("native"), e), e))
	p.Memory = core.Metal
	err := outcome(t, library.supports(problemStruct(&p), name("native"), e), e)
	require.ErrorContains(t, err, "no backend takes this problem: native: ")
	require.Equal(t, core.Unsupported, err.(*core.Error).Status)
	p.Axes[0].Kernel = 99
	err = outcome(t, library.supports(problemStruct(&p), nil, e), e)
	require.Equal(t, core.InvalidArgument, err.(*core.Error).Status)
}

func TestAttentionInOneCall(t *testing.T) {
	shape, kernel := []int64{2, 5, 6, 3, 8}, []int64{3, 4}
	elements := 2 * 5 * 6 * 3 * 8
	r := rand.New(rand.NewPCG(1, 2))
	tensors := make([][]float32, 5)
	for i := range tensors {
		tensors[i] = make([]float32, elements)
		for j := range tensors[i] {
			tensors[i][j] = float32(r.NormFloat64())
		}
	}
	at := func(i int) unsafe.Pointer { return unsafe.Pointer(&tensors[i][0]) }
	e := newError()
	require.NoError(t, outcome(t, library.attention(1, 2, &shape[0], &kernel[0], at(0), at(1), at(2), at(3), e), e))

	p := core.Problem{
		Op: core.AttnForward, DType: core.Float32, Rank: 2, Batch: 2, Heads: 3, HeadDim: 8,
		Axes: [3]core.Axis{{Length: 5, Kernel: 3}, {Length: 6, Kernel: 4}},
	}
	b := core.Buffers{Threads: 1}
	for i, role := range []core.Role{core.Query, core.Key, core.Value, core.Out} {
		b.Tensors[role] = core.Tensor{Data: core.AddressOf(at(i)), Strides: [6]int64{720, 144, 24, 8, 1}}
	}
	b.Tensors[core.Out].Data = core.AddressOf(at(4))
	require.NoError(t, conformance.Backend(ref.New())(p, &b))
	require.InDeltaSlice(t, tensors[4], tensors[3], 1e-6)

	shape[0] = 0
	require.Zero(t, library.attention(1, 2, &shape[0], &kernel[0], nil, nil, nil, nil, nil), "an empty batch needs no memory")
}

func TestWindowIsThatOfCore(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		length := 1 + r.Int64N(40)
		a := core.Axis{Length: length, Dilation: 1 + r.Int64N(min(length, 4)), Causal: r.IntN(2) == 0, MaskFirst: r.IntN(2) == 0}
		a.Kernel = 1 + r.Int64N(length/a.Dilation)
		a.Stride = 1 + r.Int64N(a.Kernel)
		a.QueryStep = 1
		query := r.Int64N(length)
		maskFirst := int32(0)
		if a.MaskFirst {
			maskFirst = 1
		}
		axis, e := axisStruct(&a), newError()
		info := cWindowInfo{size: uint64(unsafe.Sizeof(cWindowInfo{}))}
		require.NoError(t, outcome(t, library.window(&axis, maskFirst, query, &info, e), e))
		w := a.Window(query)
		require.Equal(t, cWindowInfo{info.size, w.Residue + w.Lo*a.Dilation, w.Hi - w.Lo, a.Dilation, w.Lo - w.Start}, info)
	}
}

func TestWindowOfARangeIsThatOfCore(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		length := 1 + r.Int64N(40)
		a := core.Axis{Length: length, Dilation: 1 + r.Int64N(min(length, 4)), Causal: r.IntN(2) == 0, Stride: 1}
		a.Kernel = 1 + r.Int64N(length/a.Dilation)
		a.QueryStep = 1 + r.Int64N(3)
		a.QueryFirst = r.Int64N((length-1)/a.QueryStep+1) * a.QueryStep
		a.QueryCount = r.Int64N(length - a.QueryFirst + 1)
		axis, e := axisStruct(&a), newError()
		got := cRange{queryFirst: a.QueryFirst, queryCount: a.QueryCount, keyFirst: -7, keyCount: -7}
		require.NoError(t, outcome(t, library.windowRange(&axis, &got, e), e))
		reach := a.RangeReach()
		require.Equal(t, cRange{a.QueryFirst, a.Queries(), reach.First, reach.End - reach.First}, got)
	}
}

// Runs problems with ranges through the library, on the backend that supports them.
func TestRanges(t *testing.T) {
	for seed := range uint64(200) {
		p, sizes := conformance.RandomRanges(rand.New(rand.NewPCG(11, seed)))
		conformance.Check(t, execute(t, "auto"), p, sizes, int(seed))
	}
}

// Runs one plan on 16 goroutines while other plans are created and destroyed.
func TestManyThreads(t *testing.T) {
	c := tests.Cases()[0]
	p := c.Problem(core.AttnForward, core.Float32)
	elements := int64(2 * 16 * 2 * 16)
	input := make([]float32, elements)
	for i := range input {
		input[i] = float32(math.Sin(float64(i)))
	}
	args := func(out []float32) *cArgs {
		b := core.Buffers{Threads: 2}
		for _, role := range []core.Role{core.Query, core.Key, core.Value, core.Out} {
			b.Tensors[role] = core.Tensor{Data: core.AddressOf(unsafe.Pointer(&input[0])), Strides: [6]int64{512, 32, 16, 1}}
		}
		b.Tensors[core.Out].Data = core.AddressOf(unsafe.Pointer(&out[0]))
		return argsStruct(&b)
	}
	var plan uint64
	require.Zero(t, library.planCreate(problemStruct(&p), nil, &plan, nil))
	want := make([]float32, elements)
	require.Zero(t, library.run(plan, args(want), nil))
	var wait sync.WaitGroup
	for range 16 {
		wait.Go(func() {
			got := make([]float32, elements)
			e := newError()
			for range 100 {
				clear(got)
				if err := outcome(t, library.run(plan, args(got), e), e); err != nil {
					t.Error(err)
				}
				if [1024]float32(got) != [1024]float32(want) {
					t.Error("runs at the same time differ")
					return
				}
				var own uint64
				if status := library.planCreate(problemStruct(&p), nil, &own, e); status != 0 || own == plan {
					t.Errorf("status %d, handle %#x", status, own)
				}
				if err := outcome(t, library.planDestroy(own, e), e); err != nil {
					t.Error(err)
				}
				if status := library.run(own, args(got), e); status != int32(core.BadHandle) {
					t.Errorf("a destroyed plan ran with status %d", status)
				}
			}
		})
	}
	wait.Wait()
	require.Zero(t, library.planDestroy(plan, nil))
}

func TestAnyNumberOfThreads(t *testing.T) {
	c := tests.Cases()[0]
	for _, threads := range []int{1, 2, 7, 1000, math.MaxInt32} {
		many := func(p core.Problem, b *core.Buffers) error {
			b.Threads = threads
			return execute(t, "native")(p, b)
		}
		for op := core.AttnForward; op.Valid(); op++ {
			conformance.Check(t, many, c.Problem(op, core.Float32), c.FlatSizes(), int(op))
		}
	}
}

// If a plan is destroyed during a run, the run still finishes with the correct
// result.
func TestDestroyedWhileRunning(t *testing.T) {
	for range 50 {
		plan, err := create(t, tiny(), nil)
		require.NoError(t, err)
		var wait sync.WaitGroup
		for range 4 {
			wait.Go(func() {
				args, e := tinyArgs(), newError()
				for status := int32(0); status != int32(core.BadHandle); {
					if status = library.run(plan, args, e); status != 0 && status != int32(core.BadHandle) {
						t.Errorf("status %d: %s", status, text(e.message[:]))
						return
					}
				}
			})
		}
		require.Zero(t, library.planDestroy(plan, nil))
		wait.Wait()
	}
}

// longRun returns a plan whose runs take longer on this machine than the time between two calls of
// interrupt, its arguments and its output.
func longRun(t *testing.T) (plan uint64, args *cArgs, out []float32) {
	asked := false
	interrupt := purego.NewCallback(func(uintptr) uintptr {
		asked = true
		return 0
	})
	for elements := int64(1 << 11); !asked; elements *= 2 {
		plan, args, out = fullAttention(t, elements)
		args.interrupt = interrupt
		require.Zero(t, library.run(plan, args, nil))
	}
	args.interrupt = 0
	return plan, args, out
}

// fullAttention returns a plan of so many queries that see all keys, its arguments and its output.
func fullAttention(t *testing.T, elements int64) (plan uint64, args *cArgs, out []float32) {
	p := core.Problem{Op: core.AttnForward, DType: core.Float32, Rank: 1, Batch: 1, Heads: 1, HeadDim: 1}
	p.Axes[0] = core.Axis{Length: elements, Kernel: elements}
	require.Zero(t, library.planCreate(problemStruct(&p), name("reference"), &plan, nil))
	data := [2][]float32{make([]float32, elements), make([]float32, elements)} // inputs, output
	t.Cleanup(func() {
		require.Zero(t, library.planDestroy(plan, nil))
		runtime.KeepAlive(data)
	})
	for i := range data[0] {
		data[0][i] = float32(math.Sin(float64(i)))
	}
	b := core.Buffers{Threads: 1}
	for _, role := range []core.Role{core.Query, core.Key, core.Value, core.Out} {
		b.Tensors[role] = core.Tensor{Data: core.AddressOf(unsafe.Pointer(&data[0][0])), Strides: [6]int64{elements, 1, 1, 1}}
	}
	b.Tensors[core.Out].Data = core.AddressOf(unsafe.Pointer(&data[1][0]))
	return plan, argsStruct(&b), data[1]
}

func TestInterruptedByTheHost(t *testing.T) {
	plan, args, _ := longRun(t)
	e, calls := newError(), 0
	args.context = 1234
	args.interrupt = purego.NewCallback(func(context uintptr) uintptr {
		if calls++; context != 1234 {
			t.Errorf("context is %d", context)
		}
		return 1 << 31 // as an int32 it is negative
	})
	status := int32(0)
	for status == 0 { // runs that are shorter this time
		status = library.run(plan, args, e)
	}
	require.EqualValues(t, core.Interrupted, status)
	require.EqualError(t, outcome(t, status, e), core.ErrInterrupted.Text)
	require.Equal(t, 1, calls)
	args.interrupt = 0
	require.Zero(t, library.run(plan, args, e))
}

// What interrupt does to the rounding mode changes no result.
func TestInterruptDoesNotChangeTheArithmetic(t *testing.T) {
	upward := map[string]fenv.State{"amd64": 0x5f80, "arm64": 1 << 22}[runtime.GOARCH]
	plan, args, out := longRun(t)
	require.Zero(t, library.run(plan, args, nil))
	want, called := slices.Clone(out), false
	args.interrupt = purego.NewCallback(func(uintptr) uintptr {
		called = true
		upward.Restore()
		return 0
	})
	for !called {
		require.Zero(t, library.run(plan, args, nil))
	}
	require.Equal(t, want, out)
}
