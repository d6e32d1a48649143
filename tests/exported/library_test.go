// SPDX-License-Identifier: MIT

// Package exported tests the built library as another program sees it: it is opened
// at run time and called by the names and struct layouts of include/natten_mps.h,
// which are repeated here independently.
package exported

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"

	"github.com/natten-mps/natten-mps/core"
)

// Structs of the header.
type (
	cError struct {
		size             uint64
		status, reserved int32
		message          [2032]byte
	}
	cAxis struct {
		length, kernel, dilation, stride, queryStep int64
		causal, reserved                            int32
	}
	cRange struct {
		queryFirst, queryCount, keyFirst, keyCount int64
	}
	cProblem struct {
		size                                     uint64
		op, dtype, rank, flags, memory, reserved int32
		batch, heads, kvHeads                    int64
		headDim, valueDim, extra                 int64
		scale                                    float64
		axes                                     [3]cAxis
		ranges                                   [3]cRange
	}
	cArgs struct {
		size                 uint64
		numThreads, reserved int32
		sizes                *int64
		tensors              [core.NumRoles]core.Tensor
		interrupt, context   uintptr
	}
	cBackendInfo struct {
		size                uint64
		available, reserved int32
		name                [16]byte
		details             [1000]byte
	}
	cPlanInfo struct {
		size         uint64
		scratchBytes int64
		backend      [16]byte
		variant      [224]byte
	}
	cWindowInfo struct {
		size                     uint64
		first, count, step, slot int64
	}
	cStreamOptions struct {
		size             uint64
		stream, reserved int32
		torchLibrary     *byte
	}
	cDispatch struct {
		size                       uint64
		bytes                      *byte
		bytesCapacity, bytesLength uint64
		count, bindingsCount       int32
		groups, threads            [3]int64
		function                   [256]byte
		bindings                   [31]struct {
			kind, index    int32
			offset, length int64
		}
	}
)

// Flags of a problem.
const (
	flagScale = 1 << iota
	flagRPB
	flagRagged
	flagMaskFirst
)

// Functions of the header, in its order.
var library struct {
	version       func() string
	abiVersion    func() uint32
	abiMinimum    func() uint32
	setNumThreads func(threads int32, e *cError) int32
	getNumThreads func() int32
	backend       func(index int32, info *cBackendInfo, e *cError) int32
	supports      func(p *cProblem, backend *byte, e *cError) int32
	planCreate    func(p *cProblem, backend *byte, plan *uint64, e *cError) int32
	planInfoGet   func(plan uint64, info *cPlanInfo, e *cError) int32
	run           func(plan uint64, args *cArgs, e *cError) int32
	planDestroy   func(plan uint64, e *cError) int32
	streamSet     func(options *cStreamOptions, e *cError) int32
	planLaunch    func(plan uint64, args *cArgs, index int32, d *cDispatch, e *cError) int32
	planSource    func(plan uint64, function, text *byte, capacity uint64, length *uint64, e *cError) int32
	attention     func(dtype, rank int32, shape, kernel *int64, q, k, v, out unsafe.Pointer, e *cError) int32
	window        func(axis *cAxis, maskFirst int32, query int64, info *cWindowInfo, e *cError) int32
	windowRange   func(axis *cAxis, r *cRange, e *cError) int32
}

// functions maps exported names to the variables above.
var functions = map[string]any{
	"natten_mps_version":         &library.version,
	"natten_mps_abi_version":     &library.abiVersion,
	"natten_mps_abi_minimum":     &library.abiMinimum,
	"natten_mps_set_num_threads": &library.setNumThreads,
	"natten_mps_get_num_threads": &library.getNumThreads,
	"natten_mps_backend":         &library.backend,
	"natten_mps_supports":        &library.supports,
	"natten_mps_plan_create":     &library.planCreate,
	"natten_mps_plan_info_get":   &library.planInfoGet,
	"natten_mps_run":             &library.run,
	"natten_mps_plan_destroy":    &library.planDestroy,
	"natten_mps_stream_set":      &library.streamSet,
	"natten_mps_plan_launch":     &library.planLaunch,
	"natten_mps_plan_source":     &library.planSource,
	"natten_mps_attention":       &library.attention,
	"natten_mps_window":          &library.window,
	"natten_mps_window_range":    &library.windowRange,
}

// libraryPath returns NATTEN_MPS_LIBRARY or the library that ./build.sh build makes.
func libraryPath() string {
	if path := os.Getenv("NATTEN_MPS_LIBRARY"); path != "" {
		return path
	}
	name := "libnatten_mps.so"
	if runtime.GOOS == "darwin" {
		name = "libnatten_mps.dylib"
	}
	return filepath.Join("..", "..", "python", "natten_mps", "lib", name)
}

func TestMain(m *testing.M) {
	path := libraryPath()
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintf(os.Stderr, "no library at %s: run ./build.sh build first\n", path)
		os.Exit(1)
	}
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for name, function := range functions {
		purego.RegisterLibFunc(function, handle, name)
	}
	os.Exit(m.Run())
}

func text(bytes []byte) string {
	before, _, _ := strings.Cut(string(bytes), "\x00")
	return before
}

func name(backend string) *byte {
	bytes := append([]byte(backend), 0)
	return &bytes[0]
}

// problemStruct converts p to the C struct.
func problemStruct(p *core.Problem) *cProblem {
	c := &cProblem{
		op: int32(p.Op), dtype: int32(p.DType), rank: int32(p.Rank), memory: int32(p.Memory),
		batch: p.Batch, heads: p.Heads, kvHeads: p.KVHeads,
		headDim: p.HeadDim, valueDim: p.ValueDim, extra: p.Extra, scale: p.Scale,
	}
	c.size = uint64(unsafe.Sizeof(*c))
	for flag, set := range map[int32]bool{
		flagScale: p.HasScale, flagRPB: p.RPB, flagRagged: p.Ragged, flagMaskFirst: p.Axes[0].MaskFirst,
	} {
		if set {
			c.flags |= flag
		}
	}
	for i, a := range p.Axes[:p.Rank] {
		c.axes[i] = axisStruct(&a)
		c.ranges[i] = cRange{a.QueryFirst, a.QueryCount, a.KeyFirst, a.KeyCount}
	}
	return c
}

func axisStruct(a *core.Axis) cAxis {
	c := cAxis{length: a.Length, kernel: a.Kernel, dilation: a.Dilation, stride: a.Stride, queryStep: a.QueryStep}
	if a.Causal {
		c.causal = 1
	}
	return c
}

func argsStruct(b *core.Buffers) *cArgs {
	c := &cArgs{numThreads: int32(b.Threads), tensors: b.Tensors}
	c.size = uint64(unsafe.Sizeof(*c))
	if len(b.Sizes) > 0 {
		c.sizes = &b.Sizes[0]
	}
	return c
}

// newError returns a struct filled with values that the library must overwrite.
func newError() *cError {
	e := &cError{size: uint64(unsafe.Sizeof(cError{})), status: -1}
	for i := range e.message {
		e.message[i] = 'x'
	}
	return e
}

// outcome returns a failure as an error of package core, or nil. It checks that
// status and struct agree.
func outcome(t testing.TB, status int32, e *cError) error {
	t.Helper()
	if e.status != status {
		t.Errorf("returned %d, but wrote status %d", status, e.status)
	}
	message := text(e.message[:])
	if (status == 0) != (message == "") {
		t.Errorf("status %d with message %q", status, message)
	}
	if status == 0 {
		return nil
	}
	return core.Errorf(core.Status(status), "%s", message)
}

// execute creates a plan on a backend, runs it and destroys it.
func execute(t testing.TB, backend string) func(core.Problem, *core.Buffers) error {
	return func(p core.Problem, b *core.Buffers) error {
		var plan uint64
		e := newError()
		if err := outcome(t, library.planCreate(problemStruct(&p), name(backend), &plan, e), e); err != nil {
			return err
		}
		args := argsStruct(b)
		err := outcome(t, library.run(plan, args, e), e)
		runtime.KeepAlive(b)
		return errors.Join(err, outcome(t, library.planDestroy(plan, e), e))
	}
}
