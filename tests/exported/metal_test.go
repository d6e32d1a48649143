// SPDX-License-Identifier: MIT

package exported

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
)

func setStream(t *testing.T, o cStreamOptions) error {
	t.Helper()
	e := newError()
	return outcome(t, library.streamSet(&o, e), e)
}

func TestBadStreams(t *testing.T) {
	const size = uint64(unsafe.Sizeof(cStreamOptions{}))
	for _, c := range []struct {
		options cStreamOptions
		want    string
	}{
		{cStreamOptions{stream: 1}, "size of natten_mps_stream_options is 0"},
		{cStreamOptions{size: size}, "stream is 0 (want 1 to 3)"},
		{cStreamOptions{size: size, stream: 4}, "stream is 4 (want 1 to 3)"},
		{cStreamOptions{size: size, stream: 1, reserved: 1}, "reserved is 1 (want 0)"},
		{cStreamOptions{size: size, stream: 2}, "torch_library is to be given with torch's streams"},
		{cStreamOptions{size: size, stream: 1, torchLibrary: name("x")}, "torch_library is to be given with torch's streams"},
	} {
		err := setStream(t, c.options)
		require.ErrorContains(t, err, c.want)
		require.Equal(t, core.InvalidArgument, err.(*core.Error).Status)
	}
}

// Launches are described for plans of the GPU only.
func TestLaunchOfAnotherBackend(t *testing.T) {
	plan, err := create(t, tiny(), name("reference"))
	require.NoError(t, err)
	e := newError()
	defer func() { require.Zero(t, library.planDestroy(plan, e)) }()
	d := cDispatch{size: uint64(unsafe.Sizeof(cDispatch{}))}
	require.ErrorContains(t, outcome(t, library.planLaunch(plan, tinyArgs(), 0, &d, e), e),
		"the plan's backend is reference, which launches no kernels (want metal)")
	var length uint64
	require.ErrorContains(t, outcome(t, library.planSource(plan, name("f"), nil, 0, &length, e), e),
		"the plan's backend is reference")
	require.ErrorContains(t, outcome(t, library.planLaunch(plan+1, tinyArgs(), 0, &d, e), e), "was never made")
}
