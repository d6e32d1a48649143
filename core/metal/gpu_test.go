// SPDX-License-Identifier: MIT

package metal

import (
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/ref"
	"github.com/natten-mps/natten-mps/metalrt"
	"github.com/natten-mps/natten-mps/tests"
	"github.com/natten-mps/natten-mps/tests/conformance"
	metalsim "github.com/natten-mps/natten-mps/tests/metalsim/simulator"
)

// openSimulator makes metalrt load the simulated Metal.
var openSimulator = sync.OnceValues(func() (*metalsim.Simulator, error) {
	s, err := metalsim.Load()
	if err != nil {
		return nil, err
	}
	metalrt.Simulate(s.Path)
	return s, nil
})

// mode returns the simulator's mode for all tests: METALSIM_MODE, or checked by
// default.
func mode() string {
	if m := os.Getenv("METALSIM_MODE"); m != "" {
		return m
	}
	return "checked"
}

// simulated returns the GPU of the simulator. After the test there must be no
// findings and no objects except those that a GPU keeps.
func simulated(t testing.TB) (*GPU, *metalsim.Simulator) {
	t.Helper()
	if runtime.GOOS == "darwin" {
		t.Skip("steers the simulator")
	}
	s, err := openSimulator()
	require.NoError(t, err)
	g, err := System()
	require.NoError(t, err)
	s.Clear()
	t.Cleanup(func() {
		g.UseOwnQueue()
		for name, value := range map[string]string{
			"mode": mode(), "order": "ascending", "schedule": "lazy", "dispatch_type": "serial", "fail": "", "hide": "", "torch": "2.15",
			"max_threads": "1024", "max_threads_for": "", "gpus": "1", "torch_gpu": "0", "wrap_devices": "0", "width": "32", "miscompile": "", "miscompile_for": "",
			"family": "9",
		} {
			require.NoError(t, s.Set(name, value))
		}
		require.Empty(t, s.Findings())
	})
	return g, s
}

var streams = map[string]metalrt.Route{
	"own queue": 0, "command block": metalrt.CommandBlock, "dispatch queue": metalrt.DispatchQueue,
}

func use(t testing.TB, g *GPU, s *metalsim.Simulator, route metalrt.Route) {
	t.Helper()
	if route == 0 {
		g.UseOwnQueue()
		return
	}
	require.NoError(t, g.UseTorch(s.Path, route))
}

// inMetalMemory runs plans whose tensors are registered as MTLBuffers, and then waits
// for torch's stream.
func inMetalMemory(s *metalsim.Simulator) func(core.Problem, *core.Buffers) error {
	return func(p core.Problem, b *core.Buffers) error {
		p.Memory = core.Metal
		plan, err := core.NewPlan([]core.Backend{OnSystem()}, "metal", p)
		if err != nil {
			return err
		}
		moved := *b
		for role := range core.NumRoles {
			register(s, plan.Problem, &moved, role)
		}
		err = plan.Run(&moved)
		s.Call("metalsim_stream_synchronize", s.Call("metalsim_stream_current"))
		runtime.KeepAlive(b)
		return err
	}
}

// register replaces a tensor's address by a buffer handle and an offset.
func register(s *metalsim.Simulator, p *core.Problem, b *core.Buffers, role core.Role) {
	t := &b.Tensors[role]
	if t.Data == 0 {
		return
	}
	spread := *t
	if role != core.ExtraKey && role != core.ExtraValue && role != core.DExtraKey && role != core.DExtraValue {
		spread.Strides = [6]int64{t.Strides[0]}
		copy(spread.Strides[4-p.Rank:], t.Strides[1:])
	}
	low, high := tensorChecks(p)[role].span(&spread)
	begin := uintptr(t.Data) + uintptr(t.Offset) + uintptr(low)
	handle := s.Call("metalsim_register", begin, uintptr(high-low))
	t.Data, t.Offset = core.Address(handle), -low
}

func TestStreamsAgreeWithReference(t *testing.T) {
	for name, route := range streams {
		t.Run(name, func(t *testing.T) {
			g, s := simulated(t)
			use(t, g, s, route)
			for i := 0; i < len(tests.Cases()); i += 20 {
				c := tests.Cases()[i]
				for _, op := range []core.Op{core.AttnForward, core.AttnBackward, core.QKBackward} {
					conformance.Check(t, inMetalMemory(s), c.Problem(op, core.Float32), c.FlatSizes(), i)
				}
			}
		})
	}
}

// Host memory is used in place, or copied if Metal refuses to wrap it.
func TestHostMemory(t *testing.T) {
	for _, fail := range []string{"", "wrap"} {
		t.Run(fail, func(t *testing.T) {
			g, s := simulated(t)
			use(t, g, s, metalrt.CommandBlock) // host memory does not use torch's stream
			require.NoError(t, s.Set("fail", fail))
			wrapped := s.Stat("wrapped")
			for i := 0; i < len(tests.Cases()); i += 25 {
				c := tests.Cases()[i]
				conformance.Check(t, conformance.Backend(OnSystem()), c.Problem(core.AttnBackward, core.Float32), c.FlatSizes(), i)
			}
			require.Equal(t, fail == "", s.Stat("wrapped") > wrapped)
		})
	}
}

// line is a 1-D problem whose query torch overwrites between runs.
type line struct {
	s          *metalsim.Simulator
	plan       *core.Plan
	memory     [4][]float32 // query, key, value, out
	handles    [4]uintptr
	want       *core.Plan
	lineLength int64
}

func newLine(t testing.TB, s *metalsim.Simulator) *line {
	t.Helper()
	p := core.Problem{
		Op: core.AttnForward, DType: core.Float32, Memory: core.Metal, Rank: 1, Batch: 1, Heads: 1, HeadDim: 8,
		Axes: [3]core.Axis{{Length: 16, Kernel: 5}},
	}
	l := &line{s: s, lineLength: 16 * 8}
	var err error
	l.plan, err = core.NewPlan([]core.Backend{OnSystem()}, "metal", p)
	require.NoError(t, err)
	p.Memory = core.Host
	l.want, err = core.NewPlan([]core.Backend{ref.New()}, "reference", p)
	require.NoError(t, err)
	for i := range l.memory {
		l.memory[i] = make([]float32, l.lineLength)
		for j := range l.memory[i] {
			l.memory[i][j] = float32((j*7+i*3)%11) / 11
		}
		l.handles[i] = s.Call("metalsim_register", uintptr(unsafe.Pointer(&l.memory[i][0])), uintptr(4*l.lineLength))
	}
	return l
}

var lineRoles = [4]core.Role{core.Query, core.Key, core.Value, core.Out}

func (l *line) buffers(data func(i int) core.Address) *core.Buffers {
	b := &core.Buffers{Threads: 1}
	for i, role := range lineRoles {
		b.Tensors[role] = core.Tensor{Data: data(i), Strides: [6]int64{l.lineLength, 8, 8, 1}}
	}
	return b
}

func (l *line) run() error {
	return l.plan.Run(l.buffers(func(i int) core.Address { return core.Address(l.handles[i]) }))
}

// torchCopies encodes a copy on torch's stream, as a torch operation would.
func (l *line) torchCopies(to, from int) {
	stream := l.s.Call("metalsim_stream_current")
	l.s.Call("metalsim_stream_copy", stream, l.handles[to], 0, l.handles[from], 0, uintptr(4*l.lineLength))
}

// sandwich runs query -> out -> query -> out ... with a copy by torch after each run.
// It returns the largest difference from the same sequence on the CPU.
func (l *line) sandwich(t testing.TB, rounds int) float64 {
	t.Helper()
	want := [4][]float32{}
	for i := range want {
		want[i] = append([]float32(nil), l.memory[i]...)
	}
	for range rounds {
		require.NoError(t, l.run())
		l.torchCopies(0, 3)
		require.NoError(t, l.want.Run(l.buffers(func(i int) core.Address { return core.AddressOf(unsafe.Pointer(&want[i][0])) })))
		copy(want[0], want[3])
	}
	l.s.Call("metalsim_stream_synchronize", l.s.Call("metalsim_stream_current"))
	worst := 0.0
	for j, w := range want[3] {
		worst = max(worst, float64(max(w-l.memory[3][j], l.memory[3][j]-w)))
	}
	return worst
}

// Torch's work and ours alternate on the same memory. Our own queue, which is correct
// only after waiting, shows that the test can fail.
func TestOrderWithTorch(t *testing.T) {
	for name, route := range streams {
		t.Run(name, func(t *testing.T) {
			g, s := simulated(t)
			use(t, g, s, route)
			difference := newLine(t, s).sandwich(t, 10)
			if route == 0 {
				require.Greater(t, difference, 1e-3, "without torch's stream the order must be wrong")
			} else {
				require.Less(t, difference, 1e-5)
			}
		})
	}
}

func TestOtherStreamOfTorch(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	g, s := simulated(t)
	s.Call("metalsim_stream_use", 3)
	defer s.Call("metalsim_stream_use", 0)
	use(t, g, s, metalrt.CommandBlock)
	require.Less(t, newLine(t, s).sandwich(t, 3), 1e-5)
	s.Call("metalsim_stream_use", 0)
	use(t, g, s, metalrt.DispatchQueue)
	s.Call("metalsim_stream_use", 3)
	require.ErrorContains(t, newLine(t, s).run(), "the current torch.mps stream is not the default one")
}

// In a concurrent encoder, dispatches may overlap, although those of one run depend
// on each other.
func TestConcurrentEncoder(t *testing.T) {
	g, s := simulated(t)
	require.NoError(t, s.Set("dispatch_type", "concurrent"))
	use(t, g, s, metalrt.CommandBlock)
	c := tests.Cases()[0]
	conformance.Check(t, inMetalMemory(s), c.Problem(core.AttnBackward, core.Float32), c.FlatSizes(), 0)
	require.Less(t, newLine(t, s).sandwich(t, 3), 1e-5)
}

func TestFailures(t *testing.T) {
	for _, c := range []struct {
		fail   string
		status core.Status
		want   string
	}{
		{"encoder", core.DeviceError, "computeCommandEncoder"},
		{"command_buffer", core.DeviceError, "commandBuffer"},
		{"gpu", core.DeviceError, "MTLCommandBufferErrorDomain"},
		{"gpu_timeout", core.DeviceError, "MTLCommandBufferErrorDomain"},
		{"gpu_memory", core.OutOfMemory, "MTLCommandBufferErrorDomain 8"},
		{"gpu_internal", core.DeviceError, "MTLCommandBufferErrorDomain 1"},
		{"gpu_revoked", core.DeviceError, "MTLCommandBufferErrorDomain 4"},
		{"gpu_permission", core.DeviceError, "MTLCommandBufferErrorDomain 7"},
		{"gpu_removed", core.DeviceError, "MTLCommandBufferErrorDomain 11"},
	} {
		t.Run(c.fail, func(t *testing.T) {
			_, s := simulated(t)
			l := newLine(t, s)
			require.NoError(t, s.Set("fail", c.fail))
			err := l.run()
			require.ErrorContains(t, err, c.want)
			var known *core.Error
			require.ErrorAs(t, err, &known)
			require.Equal(t, c.status, known.Status)
			require.NoError(t, s.Set("fail", ""))
			require.NoError(t, l.run())
		})
	}
}

func TestWrongHandles(t *testing.T) {
	g, s := simulated(t)
	for name, route := range streams {
		use(t, g, s, route)
		l := newLine(t, s)
		for _, c := range []struct {
			handle uintptr
			want   string
		}{
			{uintptr(unsafe.Pointer(&l.memory[0][0])), "is no Objective-C object"},
			{l.handles[0] + 8, "is no Objective-C object"},
			{g.unit.Load().device.ID, "is no MTLBuffer"},
			{s.Call("metalsim_register", uintptr(unsafe.Pointer(&l.memory[0][0])), 64), "has 64 bytes (want at least 512)"},
		} {
			l.handles[0] = c.handle
			require.ErrorContains(t, l.run(), c.want, name)
		}
	}
}

func TestCompileErrors(t *testing.T) {
	g, s := simulated(t)
	_, err := g.Pipeline("broken", func() string { return "#include <metal_stdlib>\nkernel void broken() { undeclared(); }" })
	require.ErrorContains(t, err, "undeclared")
	for fail, want := range map[string]string{
		"library": "newLibraryWithSource", "function": "newFunctionWithName", "pipeline": "newComputePipelineState",
		"library,silent":  "newLibraryWithSource: no object was returned, and no reason given",
		"pipeline,silent": "newComputePipelineStateWithFunction: no object was returned, and no reason given",
	} {
		require.NoError(t, s.Set("fail", fail))
		name := "empty_" + strings.ReplaceAll(fail, ",", "_")
		_, err = g.Pipeline(name, func() string { return emptyKernel(name) })
		require.ErrorContains(t, err, want)
	}
}

func TestSharedMemoryWithoutContents(t *testing.T) {
	g, s := simulated(t)
	require.NoError(t, s.Set("fail", "wrap,contents"))
	values := make([]float32, 64)
	_, err := g.unit.Load().device.NewHostBuffer(uintptr(unsafe.Pointer(&values[0])), 0, 256)
	require.ErrorContains(t, err, "the CPU cannot reach shared memory of the GPU")
}

func TestTorchWithoutSymbols(t *testing.T) {
	g, s := simulated(t)
	require.NoError(t, s.Set("torch", "2.9"))
	require.ErrorContains(t, g.UseTorch(s.Path, metalrt.CommandBlock), "has no aoti_torch_mps_create_shader_library")
	require.Equal(t, "own queue", g.Stream())
	require.NoError(t, g.UseTorch(s.Path, metalrt.DispatchQueue))
	require.NoError(t, s.Set("hide", "streams"))
	require.ErrorContains(t, g.UseTorch(s.Path, metalrt.DispatchQueue), "_ZN2at3mps9MPSStream14commandEncoderEv")
	require.Equal(t, "torch's stream by dispatch queue", g.Stream())
}

func TestNoMemoryForScratch(t *testing.T) {
	for name, route := range streams {
		g, s := simulated(t)
		use(t, g, s, route)
		u := g.unit.Load()
		u.spaces.free, u.spaces.streams = nil, nil // otherwise they are large enough the second time
		job := emptyJob(t, g, s)
		job.Scratch = []int64{1 << 24}
		require.NoError(t, s.Set("fail", "buffer"))
		var known *core.Error
		require.ErrorAs(t, g.Run(job), &known, name)
		require.Equal(t, core.OutOfMemory, known.Status)
		require.ErrorContains(t, known, "no memory for 16777216 bytes")
		require.NoError(t, s.Set("fail", ""))
		require.NoError(t, g.Run(job))
		s.Call("metalsim_stream_synchronize", 0)
	}
}
