// SPDX-License-Identifier: MIT

package metalrt

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"
	"github.com/stretchr/testify/require"
)

// Faults that testdata/mock.c can simulate.
const (
	noLibrary = 1 << iota
	warning
	noFunction
	noPipeline
	noMemory
	noCopyDeclined
	gpuFault
	gpuOutOfMemory
	oldSystem
	concurrent
	silentEncoder
	noEncoder
	otherStream
	blockFails
	blockIsLost
	noDevice
	noDevices
)

var mock struct {
	folder string
	path   string
	faults *int32
	alive  *int32
	log    *[1 << 16]byte
}

func TestMain(m *testing.M) {
	code, err := runWithMock(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runWithMock(m *testing.M) (int, error) {
	if runtime.GOOS == "darwin" {
		fmt.Println("skipped: the mock stands for Metal where there is none")
		return 0, nil
	}
	folder, err := os.MkdirTemp("", "metalrt")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(folder)
	mock.folder = folder
	if mock.path, err = buildMock("mock.so"); err != nil {
		return 1, err
	}
	Simulate(mock.path)
	handle, err := purego.Dlopen(mock.path, purego.RTLD_NOW)
	if err != nil {
		return 1, err
	}
	address := func(name string) unsafe.Pointer {
		a, lookup := purego.Dlsym(handle, name)
		if lookup != nil {
			err = lookup
		}
		return pointer(a)
	}
	mock.faults = (*int32)(address("mock_faults"))
	mock.alive = (*int32)(address("mock_alive"))
	mock.log = (*[1 << 16]byte)(address("mock_log"))
	if err != nil {
		return 1, err
	}
	return m.Run(), Load()
}

func buildMock(name string, flags ...string) (string, error) {
	path := filepath.Join(mock.folder, name)
	args := append([]string{"-shared", "-fPIC", "-O1", "-w", "-o", path, filepath.Join("testdata", "mock.c")}, flags...)
	if out, err := exec.Command(compiler(), args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", compiler(), err, out)
	}
	return path, nil
}

// compiler returns the C compiler for this program's processor, which may be
// emulated.
func compiler() string {
	const cross = "aarch64-linux-gnu-gcc"
	if _, err := exec.LookPath(cross); err == nil && runtime.GOARCH == "arm64" {
		return cross
	}
	return "cc"
}

// withFaults makes the mock fail in the given ways during a test, and requires that
// the test leaves no object alive.
func withFaults(t *testing.T, faults int32) {
	t.Helper()
	require.NoError(t, Load())
	before := *mock.alive
	*mock.faults = faults
	clear(mock.log[:])
	t.Cleanup(func() {
		*mock.faults = 0
		require.Equal(t, before, *mock.alive, "objects left without a release")
	})
}

func trace() string { return string(mock.log[:bytes.IndexByte(mock.log[:], 0)]) }
