// SPDX-License-Identifier: MIT

package metal

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/tests"
	"github.com/natten-mps/natten-mps/tests/metalsim/bench"
	simcompile "github.com/natten-mps/natten-mps/tests/metalsim/compile"
	"github.com/natten-mps/natten-mps/tests/metalsim/lower"
)

// exportDir is the variable that names the folder to which the benchmarks of
// tests/metalsim/gpu/bench.py are written: kernels as PTX, and bench.json with their
// launches.
const exportDir = "NATTEN_GPU_BENCH"

// exported is one implementation of one operation for one benchmark row.
type exported struct {
	Row        string           `json:"row"`
	Multiplier int64            `json:"multiplier"` // of the row's batch
	Op         string           `json:"op"`
	DType      string           `json:"dtype"`
	Design     string           `json:"design"`  // "twin", "default" or a design of benchSweep
	Tensors    map[string]int64 `json:"tensors"` // bytes
	Scratch    []int64          `json:"scratch"` // bytes
	Minimum    int64            `json:"minimum"` // total bytes of all tensors
	Dispatches []exportedLaunch `json:"dispatches"`
}

type exportedLaunch struct {
	PTX      string            `json:"ptx"`
	Groups   [3]int            `json:"groups"`
	Threads  [3]int            `json:"threads"`
	Bindings []exportedBinding `json:"bindings"`
}

// exportedBinding is a tensor's name, a scratch buffer's index, or bytes.
type exportedBinding struct {
	Tensor  string `json:"tensor,omitempty"`
	Scratch *int   `json:"scratch,omitempty"`
	Bytes   string `json:"bytes,omitempty"` // base64
}

// exporter writes each PTX file once.
type exporter struct {
	t    *testing.T
	dir  string
	done map[string]bool
	list []exported
}

func (e *exporter) ptx(name, source string) string {
	file := filepath.Join(e.dir, name)
	before, _ := os.ReadFile(file + ".metal") // exists after an earlier export
	if _, err := os.Stat(file + ".ptx"); !e.done[name] && (err != nil || string(before) != source) {
		require.NoError(e.t, os.WriteFile(file+".metal", []byte(source), 0o644))
		flat, err := simcompile.Flatten(file+".metal", simcompile.Language31)
		require.NoError(e.t, err)
		unit, err := lower.Lower(flat, lower.Options{File: file + ".metal"})
		require.NoError(e.t, err)
		require.NoError(e.t, simcompile.PTX(unit, file+".ptx", false, true))
	}
	e.done[name] = true
	return name + ".ptx"
}

// exportDevice is a Device that returns pipelines but cannot run.
type exportDevice struct{ sources map[string]string }

type exportPipeline struct{}

func (exportPipeline) MaxThreads() int { return 1024 }

func (exportDevice) Info() DeviceInfo { return DeviceInfo{Name: "export"} }

func (d exportDevice) Pipeline(function string, source func() string) (Pipeline, error) {
	d.sources[function] = source()
	return exportPipeline{}, nil
}

func (exportDevice) Run(*Job) error { return fmt.Errorf("the exporter runs nothing") }

// dense gives p's tensors the strides of dense memory that starts at a multiple of 16
// bytes.
func dense(p *core.Problem) *core.Buffers {
	b := &core.Buffers{Threads: 1}
	start := new([2]uint64)
	for role := range core.NumRoles {
		if !p.Reads(role) && !p.Writes(role) || role == core.DLSE {
			continue
		}
		t := core.Tensor{Data: core.AddressOf(unsafe.Pointer(start))}
		stride := int64(1)
		shape := p.Shape(role)
		for i := len(shape) - 1; i >= 0; i-- {
			t.Strides[i] = stride
			stride *= shape[i]
		}
		b.Tensors[role] = t
	}
	return b
}

func (e *exporter) entry(p *core.Problem, row string, multiplier int64, design string) exported {
	x := exported{
		Row: row, Multiplier: multiplier, Op: p.Op.String(), DType: p.DType.String(), Design: design,
		Tensors: map[string]int64{},
	}
	for role := range core.NumRoles {
		if (p.Reads(role) || p.Writes(role)) && role != core.DLSE {
			bytes := p.ElementSize(role)
			for _, n := range p.Shape(role) {
				bytes *= n
			}
			x.Tensors[role.String()] = bytes
			x.Minimum += bytes
		}
	}
	return x
}

// ours adds the product's kernels with a given tuning.
func (e *exporter) ours(p *core.Problem, row string, multiplier int64, design string, tune *tuning) {
	device := exportDevice{map[string]string{}}
	b := &Backend{open: func() (Device, error) { return device, nil }, tune: tune}
	runner, err := b.Prepare(p)
	require.NoError(e.t, err)
	job, err := runner.(Launcher).Launches(dense(p))
	require.NoError(e.t, err)
	x := e.entry(p, row, multiplier, design)
	x.Scratch = job.Scratch
	for _, d := range job.Dispatches {
		l := exportedLaunch{
			PTX:    e.ptx(d.Function, device.sources[d.Function]),
			Groups: [3]int{d.Groups.X, d.Groups.Y, d.Groups.Z}, Threads: [3]int{d.Threads.X, 1, 1},
		}
		for i := range d.Bindings {
			b := &d.Bindings[i]
			switch {
			case b.Scratch > 0:
				index := b.Scratch - 1
				l.Bindings = append(l.Bindings, exportedBinding{Scratch: &index})
			case b.Tensor != nil:
				l.Bindings = append(l.Bindings, exportedBinding{Tensor: b.Role.String()})
			default:
				l.Bindings = append(l.Bindings, exportedBinding{Bytes: base64.StdEncoding.EncodeToString(b.Bytes)})
			}
		}
		x.Dispatches = append(x.Dispatches, l)
	}
	e.list = append(e.list, x)
}

// twin adds the naive implementation that serves as the baseline.
func (e *exporter) twin(p *core.Problem, row string, multiplier int64) {
	x := e.entry(p, row, multiplier, "twin")
	var block bytes.Buffer
	for _, n := range []int64{
		p.Axes[0].Length, p.Axes[1].Length, p.Axes[2].Length, p.Axes[0].Kernel, p.Axes[1].Kernel, p.Axes[2].Kernel,
		int64(boolInt(p.Axes[2].Causal)), p.Heads,
	} {
		require.NoError(e.t, binary.Write(&block, binary.LittleEndian, int32(n)))
	}
	require.NoError(e.t, binary.Write(&block, binary.LittleEndian, float32(p.Scale)))
	params := exportedBinding{Bytes: base64.StdEncoding.EncodeToString(block.Bytes())}
	launch := func(template string, x, y int64, tensors ...string) exportedLaunch {
		name := fmt.Sprintf("%s_%s_d%d", template, elementNames[p.DType][1], p.HeadDim)
		arguments := fmt.Sprintf("%s<%s, %d>", template, elementNames[p.DType][0], p.HeadDim)
		source := bench.Twin + fmt.Sprintf("template [[host_name(%q)]] [[kernel]] decltype(%s) %s;\n", name, arguments, arguments)
		width := min(x, 256) // with more, its registers do not fit an NVIDIA multiprocessor
		for x%width != 0 {
			width /= 2
		}
		l := exportedLaunch{
			PTX: e.ptx(name, source), Groups: [3]int{int(x / width), int(y), int(p.Batch * p.Heads)},
			Threads: [3]int{int(width), 1, 1}, Bindings: []exportedBinding{params},
		}
		for _, t := range tensors {
			b := exportedBinding{Tensor: t}
			if i, ok := map[string]int{"weights": 0, "d_weights": 1}[t]; ok {
				b = exportedBinding{Scratch: &i}
			}
			l.Bindings = append(l.Bindings, b)
		}
		return l
	}
	lanes, lines := 32*p.Axes[2].Length, p.Axes[0].Length*p.Axes[1].Length
	if p.Op == core.AttnForward {
		x.Dispatches = []exportedLaunch{launch("twin_forward", lanes, lines, "query", "key", "value", "out", "lse")}
	} else {
		weights := 4 * p.Batch * p.Outputs() * p.Heads * p.WindowSize()
		x.Scratch = []int64{weights, weights}
		tokens := lines * p.Axes[2].Length
		x.Dispatches = []exportedLaunch{
			launch("twin_backward", lanes, lines, "query", "key", "value", "out", "lse", "d_out", "d_query", "weights", "d_weights"),
			launch("twin_gather", p.HeadDim, tokens, "d_weights", "query", "d_key"),
			launch("twin_gather", p.HeadDim, tokens, "weights", "d_out", "d_value"),
		}
	}
	e.list = append(e.list, x)
}

// benchSweep lists the designs that are exported in addition to the default.
var benchSweep = []lanes{
	{channels: 8, reuse: 4, block: 2, threads: 128, aspect: 4},
	{channels: 8, reuse: 4, block: 4, threads: 128, aspect: 4},
	{channels: 8, reuse: 2, block: 4, threads: 128, aspect: 4},
}

// sweepTuning returns the name of the design l and a tuning that uses it.
func sweepTuning(l lanes) (string, *tuning) {
	t := tunings[0]
	t.matrixSlots = 1 << 30
	t.forward, t.query, t.keys = l, l, l
	return fmt.Sprintf("c%d-r%d-k%d-t%d-a%d", l.channels, l.reuse, l.block, l.threads, l.aspect), &t
}

// benchRows returns the rows of tests/cases.json, and a copy of each in the size that
// natten-mps 0.3.3 uses to compare itself with other frameworks: one sample with 4
// heads of 32 channels.
func benchRows() []tests.Case {
	rows := slices.Clone(tests.Bench())
	for _, c := range tests.Bench() {
		c.Name += "-d32"
		c.Batch, c.Heads, c.KVHeads, c.HeadDim, c.ValueDim = 1, 4, 4, 32, 32
		rows = append(rows, c)
	}
	return rows
}

func TestExportBenchmarksForAGPU(t *testing.T) {
	dir := os.Getenv(exportDir)
	if dir == "" {
		t.Skipf("%s names no folder to write to", exportDir)
	}
	require.NoError(t, os.MkdirAll(dir, 0o755))
	e := &exporter{t: t, dir: dir, done: map[string]bool{}}
	for _, c := range benchRows() {
		batch := c.Batch
		for _, multiplier := range []int64{1, 16, 64, 256, 1024} {
			c.Batch = batch * multiplier
			for _, op := range []core.Op{core.AttnForward, core.AttnBackward} {
				for _, dtype := range []core.DType{core.Float32, core.Float16} {
					problem := c.Problem(op, dtype)
					p, err := problem.Normalize()
					require.NoError(t, err)
					e.twin(p, c.Name, multiplier)
					e.ours(p, c.Name, multiplier, "default", nil)
					for _, l := range benchSweep[:len(benchSweep)*int(min(multiplier-1, 1))] {
						name, tune := sweepTuning(l)
						e.ours(p, c.Name, multiplier, name, tune)
					}
				}
			}
		}
	}
	text, err := json.Marshal(e.list)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bench.json"), text, 0o644))
}
