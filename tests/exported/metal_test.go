// SPDX-License-Identifier: MIT

package exported

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
)

// Tests what the functions for Metal report without a GPU. Their behavior with a GPU
// is tested on the simulator.

func streamOptions(stream int32) *cStreamOptions {
	return &cStreamOptions{size: uint64(unsafe.Sizeof(cStreamOptions{})), stream: stream}
}

func TestBadStreams(t *testing.T) {
	for want, options := range map[string]*cStreamOptions{
		"natten_mps_stream_options is NULL":      nil,
		"size of natten_mps_stream_options is 0": {},
		"stream is 0 (want 1 to 3)":              streamOptions(0),
		"stream is 4 (want 1 to 3)":              streamOptions(4),
		"torch_library is to be given with":      streamOptions(2),
	} {
		e := newError()
		err := outcome(t, library.streamSet(options, e), e)
		require.ErrorContains(t, err, want)
		require.Equal(t, core.InvalidArgument, err.(*core.Error).Status)
	}
}

func TestStreamsNeedAGPU(t *testing.T) {
	p, e := tiny(), newError()
	if p.memory = int32(core.Metal); library.supports(p, name("metal"), e) == 0 {
		t.Skip("there is one")
	}
	err := outcome(t, library.streamSet(streamOptions(1), e), e)
	require.Equal(t, core.Unsupported, err.(*core.Error).Status)
	_, err = create(t, p, nil)
	require.Equal(t, core.Unsupported, err.(*core.Error).Status)
	for _, backend := range backendNames(t) {
		require.ErrorContains(t, err, backend+": ", "every backend says why not")
	}
}

func TestOnlyMetalPlansLaunch(t *testing.T) {
	plan, err := create(t, tiny(), name("native"))
	require.NoError(t, err)
	dispatch := &cDispatch{size: uint64(unsafe.Sizeof(cDispatch{}))}
	length := uint64(0)
	for handle, want := range map[uint64]string{
		plan:     "the plan's backend is native, which launches no kernels (want metal)",
		plan + 1: "was never made or is destroyed",
	} {
		e := newError()
		require.ErrorContains(t, outcome(t, library.planLaunch(handle, tinyArgs(), 0, dispatch, e), e), want)
		require.ErrorContains(t, outcome(t, library.planSource(handle, name("f"), nil, 0, &length, e), e), want)
	}
	require.Zero(t, library.planDestroy(plan, nil))
}
