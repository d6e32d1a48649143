// SPDX-License-Identifier: MIT

package metal

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/metalrt"
)

// opened opens the GPU again with the given settings of the simulator.
func opened(t *testing.T, settings map[string]string) (*GPU, error) {
	t.Helper()
	_, s := simulated(t)
	for name, value := range settings {
		require.NoError(t, s.Set(name, value))
	}
	g, err := openSystem()
	if err == nil {
		t.Cleanup(func() {
			g.unit.Load().queue.Release()
			g.unit.Load().device.Release()
		})
	}
	return g, err
}

func TestEitherWayToTheGPU(t *testing.T) {
	for _, fail := range []string{"", "device", "devices"} {
		g, err := opened(t, map[string]string{"fail": fail})
		require.NoError(t, err, fail)
		require.Equal(t, DeviceInfo{Name: "Apple M4 Max (simulated)", Generation: 9}, g.Info())
	}
	_, err := opened(t, map[string]string{"fail": "device,devices"})
	require.ErrorContains(t, err, "neither finds a GPU")
}

func TestOtherVendorsAreLeftAlone(t *testing.T) {
	g, err := opened(t, map[string]string{"gpus": "3"})
	require.NoError(t, err)
	require.Equal(t, "Apple M4 Max (simulated)", g.Info().Name)
	_, err = opened(t, map[string]string{"family": "6"})
	require.ErrorContains(t, err, "the GPU Apple M4 Max (simulated) is not of Apple's families")
}

func TestWidthOfSimdgroups(t *testing.T) {
	g, err := opened(t, map[string]string{"width": "64"})
	require.NoError(t, err)
	_, err = g.Pipeline("empty_wide", func() string { return emptyKernel("empty_wide") })
	require.EqualError(t, err, "simdgroups of Apple M4 Max (simulated) have 64 threads (want 32)")
	var known *core.Error
	require.ErrorAs(t, err, &known)
	require.Equal(t, core.Unsupported, known.Status)
}

func TestGPUWithoutAQueue(t *testing.T) {
	g, err := opened(t, map[string]string{"fail": "queue"})
	require.ErrorContains(t, err, "newCommandQueue: no object was returned, and no reason given")
	require.Nil(t, g.unit.Load())
}

// If Metal lists no device, the GPU is the one of torch's encoder.
func TestTorchsGPUWhereMetalShowsNone(t *testing.T) {
	g, err := opened(t, map[string]string{"fail": "device,devices"})
	require.ErrorContains(t, err, "neither finds a GPU")
	require.Nil(t, g.unit.Load())
	s, err := openSimulator()
	require.NoError(t, err)
	require.NoError(t, g.UseTorch(s.Path, metalrt.CommandBlock))
	require.Equal(t, "Apple M4 Max (simulated)", g.Info().Name)
	require.NoError(t, g.Run(emptyJob(t, g, s)))
	s.Call("metalsim_stream_synchronize", 0)
	g.unit.Load().queue.Release()
	g.unit.Load().device.Release()
}

// Metal's debug layer represents one GPU by several objects.
func TestTorchOnTheSameGPU(t *testing.T) {
	g, err := opened(t, map[string]string{"wrap_devices": "1"})
	require.NoError(t, err)
	before := g.unit.Load()
	s, err := openSimulator()
	require.NoError(t, err)
	require.NoError(t, g.UseTorch(s.Path, metalrt.CommandBlock))
	require.Same(t, before, g.unit.Load())
}

// If torch uses another Apple GPU, the backend switches to it.
func TestTorchOnAnotherGPU(t *testing.T) {
	g, err := opened(t, map[string]string{"gpus": "2", "torch_gpu": "1"})
	require.NoError(t, err)
	s, err := openSimulator()
	require.NoError(t, err)
	require.ErrorContains(t, g.UseTorch(s.Path, metalrt.CommandBlock),
		"torch's GPU: the GPU AMD Radeon Pro 5500M (simulated) is not of Apple's families")

	g, err = opened(t, map[string]string{"gpus": "2", "torch_gpu": "0"})
	require.NoError(t, err)
	before := g.unit.Load()
	job := emptyJob(t, g, s)
	require.NoError(t, s.Set("gpus", "3")) // torch uses the last one
	require.NoError(t, g.UseTorch(s.Path, metalrt.CommandBlock))
	require.NotSame(t, before, g.unit.Load())
	require.ErrorContains(t, g.Run(job), "has a pipeline of another device")
	require.NoError(t, g.Run(emptyJob(t, g, s)))
	s.Call("metalsim_stream_synchronize", 0)
	before.queue.Release()
	before.device.Release()
}
