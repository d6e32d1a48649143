// SPDX-License-Identifier: MIT

package exported

import (
	"math"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
)

// tiny returns a valid problem: length 3, kernel 3, one head of 2 channels.
func tiny() *cProblem {
	p := core.Problem{
		Op: core.AttnForward, DType: core.Float32, Rank: 1, Batch: 1, Heads: 1, HeadDim: 2,
		Axes: [3]core.Axis{{Length: 3, Kernel: 3}},
	}
	return problemStruct(&p)
}

// tinyMemory also has room for tensors that tiny does not have.
var tinyMemory [64]float32

// tinyArgs returns arguments for tiny.
func tinyArgs() *cArgs {
	b := core.Buffers{Threads: 1}
	for _, role := range []core.Role{core.Query, core.Key, core.Value, core.Out} {
		b.Tensors[role] = core.Tensor{Data: core.AddressOf(unsafe.Pointer(&tinyMemory[6*int(role%4)])), Strides: [6]int64{6, 2, 2, 1}}
	}
	b.Tensors[core.Out].Data = core.AddressOf(unsafe.Pointer(&tinyMemory[32]))
	return argsStruct(&b)
}

func create(t *testing.T, p *cProblem, backend *byte) (uint64, error) {
	t.Helper()
	plan, e := uint64(77), newError()
	err := outcome(t, library.planCreate(p, backend, &plan, e), e)
	require.Equal(t, err != nil, plan == 0, "a plan that was not made has handle 0")
	return plan, err
}

func TestBadProblems(t *testing.T) {
	const size = unsafe.Sizeof(cProblem{})
	for _, c := range []struct {
		change func(p *cProblem)
		want   string
	}{
		{func(p *cProblem) { p.size = 0 }, "size of natten_mps_problem is 0 (want sizeof(natten_mps_problem) = 328)"},
		{func(p *cProblem) { p.size = 135 }, "size of natten_mps_problem is 135"},
		{func(p *cProblem) { p.size = 1 << 40 }, "size of natten_mps_problem is 1099511627776"},
		{func(p *cProblem) { p.size = math.MaxUint64 }, "size of natten_mps_problem is 18446744073709551615"},
		{func(p *cProblem) { p.flags = 64 }, "flags is 0x40 (want a sum of some of 0xf)"},
		{func(p *cProblem) { p.reserved = 1 }, "reserved is 1 (want 0)"},
		{func(p *cProblem) { p.axes[0].reserved = 1 }, "reserved of an axis is 1 (want 0)"},
		{func(p *cProblem) { p.axes[0].causal = 2 }, "causal is 2 (want 0 or 1)"},
		{func(p *cProblem) { p.op = 0 }, "op 0 is unknown"},
		{func(p *cProblem) { p.dtype = -1 }, "dtype -1 is unknown"},
		{func(p *cProblem) { p.rank = 4 }, "rank is 4 (want 1, 2 or 3)"},
		{func(p *cProblem) { p.rank = math.MinInt32 }, "rank is -2147483648"},
		{func(p *cProblem) { p.rank = 2 }, "length is 0 on axis 1"},
		{func(p *cProblem) { p.flags, p.scale = flagScale, math.NaN() }, "scale is NaN (want a finite number)"},
		{func(p *cProblem) { p.batch = math.MaxInt64 }, "does not fit 63-bit sizes"},
		{func(p *cProblem) { p.axes[0].length = 1 << 60 }, "does not fit 63-bit sizes"},
		{func(p *cProblem) { p.axes[0].kernel = 4 }, "kernel 4 * dilation 1 exceeds length 3 on axis 0"},
	} {
		p := tiny()
		require.EqualValues(t, size, p.size)
		c.change(p)
		_, err := create(t, p, nil)
		require.ErrorContains(t, err, c.want)
		require.Equal(t, core.InvalidArgument, err.(*core.Error).Status)
	}
}

func TestBadBackendNames(t *testing.T) {
	_, err := create(t, tiny(), name("nativ"))
	require.ErrorContains(t, err, `backend "nativ" is unknown (want auto or `)
	long := make([]byte, 300)
	for i := range long {
		long[i] = 'a'
	}
	_, err = create(t, tiny(), &long[0])
	require.ErrorContains(t, err, "backend is a text of 16 or more characters")
}

func TestBadArgs(t *testing.T) {
	plan, err := create(t, tiny(), nil)
	require.NoError(t, err)
	run := func(args *cArgs) error {
		e := newError()
		return outcome(t, library.run(plan, args, e), e)
	}
	require.NoError(t, run(tinyArgs()))
	for _, c := range []struct {
		change func(a *cArgs)
		want   string
	}{
		{func(a *cArgs) { a.size = 0 }, "size of natten_mps_args is 0 (want sizeof(natten_mps_args) = 1192)"},
		{func(a *cArgs) { a.size = 1 << 32 }, "size of natten_mps_args is 4294967296"},
		{func(a *cArgs) { a.numThreads = -1 }, "num_threads is -1 (want >= 0)"},
		{func(a *cArgs) { a.reserved = 5 }, "reserved is 5 (want 0)"},
		{func(a *cArgs) { a.tensors[core.Value].Data = 0 }, "value is NULL (attn_forward needs it)"},
		{func(a *cArgs) { a.tensors[core.Value].Offset = 1 }, "value is not aligned"},
		{func(a *cArgs) { a.tensors[core.Value].Strides[3] = 5 }, "value has stride 5 in its last dimension"},
		{func(a *cArgs) { a.tensors[core.Out].Strides[1] = 0 }, "out is written and has stride 0"},
		{func(a *cArgs) { a.tensors[core.Out] = a.tensors[core.Key] }, "out begins at the address of key (want outputs that overlap no other tensor)"},
		{func(a *cArgs) {
			a.tensors[core.Out] = a.tensors[core.Key]
			a.tensors[core.Out].Data -= 8
			a.tensors[core.Out].Offset = 8
		}, "out begins at the address of key"},
		{func(a *cArgs) { a.tensors[core.LSE] = a.tensors[core.Out] }, "out begins at the address of lse"},
	} {
		args := tinyArgs()
		c.change(args)
		require.ErrorContains(t, run(args), c.want)
	}
	require.ErrorContains(t, run(nil), "natten_mps_args is NULL")
	require.Zero(t, library.planDestroy(plan, nil))
}

func TestRaggedNeedsSizes(t *testing.T) {
	p := tiny()
	p.flags = flagRagged
	plan, err := create(t, p, nil)
	require.NoError(t, err)
	e := newError()
	args := tinyArgs()
	require.ErrorContains(t, outcome(t, library.run(plan, args, e), e), "sizes has 0 entries (want batch * rank = 1)")
	size := int64(4)
	args.sizes = &size
	require.ErrorContains(t, outcome(t, library.run(plan, args, e), e), "size 4 of sample 0 on axis 0")
	size = 3
	require.NoError(t, outcome(t, library.run(plan, args, e), e))
	require.Zero(t, library.planDestroy(plan, nil))
}

func TestStaleHandles(t *testing.T) {
	plan, err := create(t, tiny(), nil)
	require.NoError(t, err)
	require.Zero(t, library.planDestroy(plan, nil))
	next, err := create(t, tiny(), nil)
	require.NoError(t, err)
	require.NotEqual(t, plan, next, "handles are not given out twice")
	info := &cPlanInfo{size: uint64(unsafe.Sizeof(cPlanInfo{}))}
	for _, handle := range []uint64{0, 1, plan, next + 1, next ^ 1<<63, math.MaxUint64} {
		e := newError()
		for _, status := range []int32{
			library.run(handle, tinyArgs(), e), library.planInfoGet(handle, info, e), library.planDestroy(handle, e),
		} {
			err := outcome(t, status, e)
			require.ErrorContains(t, err, "was never made or is destroyed")
			require.Equal(t, core.BadHandle, err.(*core.Error).Status)
		}
	}
	require.Zero(t, library.planDestroy(next, nil))
}

// Passes NULL for every pointer of every function, with and without an error struct.
func TestNullPointers(t *testing.T) {
	plan, err := create(t, tiny(), nil)
	require.NoError(t, err)
	shape, kernel, axis := []int64{1, 3, 1, 2}, []int64{3}, cAxis{length: 3, kernel: 3}
	handle := uint64(0)
	memory := make([]float32, 6)
	data := unsafe.Pointer(&memory[0])
	for want, call := range map[string]func(e *cError) int32{
		"natten_mps_backend_info is NULL": func(e *cError) int32 { return library.backend(0, nil, e) },
		"natten_mps_problem is NULL":      func(e *cError) int32 { return library.planCreate(nil, nil, &handle, e) },
		"plan is NULL":                    func(e *cError) int32 { return library.planCreate(tiny(), nil, nil, e) },
		"natten_mps_plan_info is NULL":    func(e *cError) int32 { return library.planInfoGet(plan, nil, e) },
		"natten_mps_args is NULL":         func(e *cError) int32 { return library.run(plan, nil, e) },
		"shape or kernel is NULL":         func(e *cError) int32 { return library.attention(1, 1, nil, &kernel[0], data, data, data, data, e) },
		"out is NULL":                     func(e *cError) int32 { return library.attention(1, 1, &shape[0], &kernel[0], data, data, data, nil, e) },
		"axis is NULL":                    func(e *cError) int32 { return library.window(nil, 0, 0, &cWindowInfo{size: 40}, e) },
		"range is NULL":                   func(e *cError) int32 { return library.windowRange(&axis, nil, e) },
		"natten_mps_window_info is NULL":  func(e *cError) int32 { return library.window(&axis, 0, 0, nil, e) },
	} {
		e := newError()
		require.ErrorContains(t, outcome(t, call(e), e), want)
		require.EqualValues(t, core.InvalidArgument, call(nil), want)
	}
	e := newError()
	require.ErrorContains(t, outcome(t, library.supports(nil, nil, e), e), "natten_mps_problem is NULL")
	require.ErrorContains(t, outcome(t, library.attention(1, 1, &shape[0], nil, data, data, data, data, e), e), "shape or kernel")
	require.ErrorContains(t, outcome(t, library.windowRange(nil, &cRange{}, e), e), "axis is NULL")
	require.Zero(t, library.planDestroy(plan, nil))
}

// The axis of tiny has length 3.
func TestBadRanges(t *testing.T) {
	for _, c := range []struct {
		r         cRange
		queryStep int64
		want      string
	}{
		{cRange{queryFirst: -1}, 1, "query_first is -1 on axis 0 (want 0 to length - 1, 2)"},
		{cRange{queryFirst: 3}, 1, "query_first is 3 on axis 0 (want 0 to length - 1, 2)"},
		{cRange{queryCount: -1}, 1, "query_count is -1 on axis 0 (want >= 0)"},
		{cRange{queryFirst: 1, queryCount: math.MaxInt64}, 1, "query_first 1 + query_count 9223372036854775807 exceeds length 3 on axis 0"},
		{cRange{queryFirst: 1}, 2, "query_first is 1 on axis 0 (want a multiple of query_step, 2)"},
		{cRange{keyFirst: math.MinInt64}, 1, "key_first is -9223372036854775808 on axis 0 (want 0 to length - 1, 2)"},
		{cRange{keyFirst: 2, keyCount: 2}, 1, "key_first 2 + key_count 2 exceeds length 3 on axis 0 (want key_first + key_count <= length)"},
		{cRange{keyFirst: 1}, 1, "query 0 on axis 0 sees key 0, which is not held: keys 1 to 2 are (want key_first <= 0 and key_first + key_count >= 3)"},
		{cRange{keyCount: 1}, 1, "query 2 on axis 0 sees key 2, which is not held: keys 0 to 0 are (want key_first <= 0 and key_first + key_count >= 3)"},
	} {
		p := tiny()
		p.ranges[0], p.axes[0].queryStep = c.r, c.queryStep
		_, err := create(t, p, nil)
		require.ErrorContains(t, err, c.want)
		e := newError()
		require.ErrorContains(t, outcome(t, library.supports(p, nil, e), e), c.want)
		if c.r.keyFirst == 0 && c.r.keyCount == 0 {
			require.ErrorContains(t, outcome(t, library.windowRange(&p.axes[0], &c.r, e), e), c.want)
		}
	}
}

func TestBadWindows(t *testing.T) {
	info := &cWindowInfo{size: uint64(unsafe.Sizeof(cWindowInfo{}))}
	for _, c := range []struct {
		axis      cAxis
		maskFirst int32
		query     int64
		want      string
	}{
		{cAxis{length: 3, kernel: 3}, 0, 3, "query is 3 (want 0 to 2)"},
		{cAxis{length: 3, kernel: 3}, 0, -1, "query is -1 (want 0 to 2)"},
		{cAxis{length: 3, kernel: 3}, 2, 0, "mask_first is 2 (want 0 or 1)"},
		{cAxis{length: 3, kernel: 4}, 0, 0, "kernel 4 * dilation 1 exceeds length 3"},
		{cAxis{length: math.MaxInt64, kernel: 1, dilation: math.MaxInt64}, 0, 0, "length is 9223372036854775807"},
	} {
		e := newError()
		require.ErrorContains(t, outcome(t, library.window(&c.axis, c.maskFirst, c.query, info, e), e), c.want)
	}
}

// Programs may be older or newer than the library.
func TestStructsOfOtherVersions(t *testing.T) {
	plan, err := create(t, tiny(), nil)
	require.NoError(t, err)
	short := tiny()
	for short.size = 0; short.size < uint64(unsafe.Sizeof(*short)); short.size += 4 {
		if short.size == uint64(unsafe.Offsetof(short.ranges)) { // the size in ABI version 1
			older, err := create(t, short, nil)
			require.NoError(t, err)
			require.Zero(t, library.planDestroy(older, nil))
			continue
		}
		_, err := create(t, short, nil)
		require.ErrorContains(t, err, "size of natten_mps_problem is ", "no version had this size")
	}
	args := tinyArgs()
	for _, size := range []uint64{16, uint64(unsafe.Offsetof(args.tensors)), uint64(unsafe.Sizeof(*args)) - 8} {
		args.size = size
		require.EqualValues(t, core.InvalidArgument, library.run(plan, args, nil))
	}
	backend := &cBackendInfo{}
	for _, size := range []uint64{24, uint64(unsafe.Offsetof(backend.details)) + 10, uint64(unsafe.Sizeof(*backend)) - 8} {
		backend.size = size
		require.EqualValues(t, core.InvalidArgument, library.backend(0, backend, nil))
		require.Empty(t, text(backend.details[:]), "nothing is written, and so nothing without its NUL")
	}

	var long struct {
		cProblem
		future uint64
	}
	long.cProblem = *tiny()
	long.size = uint64(unsafe.Sizeof(long))
	other, err := create(t, &long.cProblem, nil)
	require.NoError(t, err, "what is beyond is 0")
	require.Zero(t, library.planDestroy(other, nil))
	long.future = 1
	_, err = create(t, &long.cProblem, nil)
	require.ErrorContains(t, err, "natten_mps_problem has 336 bytes and byte 328 is not 0 (this library is older and knows 328)")

	info := &cPlanInfo{}
	info.size = uint64(unsafe.Offsetof(info.variant))
	info.variant[0] = 'x'
	require.EqualValues(t, core.InvalidArgument, library.planInfoGet(plan, info, nil))
	require.Empty(t, text(info.backend[:]))
	require.EqualValues(t, 'x', info.variant[0], "nothing is written beyond the struct")
	require.Zero(t, library.planDestroy(plan, nil))
}

func TestErrorStructsOfAnySize(t *testing.T) {
	e := newError()
	e.size = 16 + 8
	require.EqualValues(t, core.BadHandle, library.planDestroy(0, e))
	require.Equal(t, "plan 0x", text(e.message[:]), "cut, and ended with a NUL")
	require.EqualValues(t, 'x', e.message[8])
	for _, size := range []uint64{0, 16, math.MaxUint64} {
		e := newError()
		e.size = size
		require.EqualValues(t, core.InvalidArgument, library.planDestroy(0, e), "an unusable error struct is an error")
		require.EqualValues(t, -1, e.status, "and is not written")
	}
}
