// SPDX-License-Identifier: MIT

// Package simulator builds libmetalsim.so, the stand-in for Metal and for
// torch's MPS streams, and loads it into Go tests.
package simulator

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/natten-mps/natten-mps/tests/metalsim"
	"github.com/natten-mps/natten-mps/tests/metalsim/compile"
)

// LibraryEnv names the variable with the path of an existing simulator, for tests on an
// emulated processor, where Go's tools are those of another processor.
const LibraryEnv = "NATTEN_METALSIM_LIBRARY"

// Library is the file name of the simulator.
const Library = "libmetalsim.so"

// Build compiles the simulator and its kernel compiler into a folder of the cache,
// unless they exist, and returns the library's path.
func Build() (string, error) {
	if path := os.Getenv(LibraryEnv); path != "" {
		return path, nil
	}
	cache, err := compile.CacheDir()
	if err != nil {
		return "", err
	}
	mslc := filepath.Join(cache, fmt.Sprintf("mslc.%d", os.Getpid()))
	defer os.Remove(mslc)
	if err := goBuild(mslc); err != nil {
		return "", err
	}
	tool, err := os.ReadFile(mslc)
	if err != nil {
		return "", err
	}
	sum, err := compile.Sum(metalsim.Simulator, tool, fmt.Append(nil, compile.Target()))
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "sim-"+sum)
	so := filepath.Join(dir, Library)
	if _, err := os.Stat(so); err == nil {
		return so, nil
	}
	tmp, err := os.MkdirTemp(cache, "sim")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if err := os.Rename(mslc, filepath.Join(tmp, "mslc")); err != nil {
		return "", err
	}
	if err := link(tmp); err != nil {
		return "", err
	}
	if err := os.Rename(tmp, dir); err != nil {
		if _, e := os.Stat(so); e != nil { // otherwise another process was first
			return "", err
		}
	}
	return so, nil
}

// goBuild compiles mslc without cgo, by package path: the working folder of a
// test is somewhere in the module.
func goBuild(out string) error {
	c := exec.Command(filepath.Join(runtime.GOROOT(), "bin", "go"), "build", "-trimpath", "-buildvcs=false", "-o", out,
		"github.com/natten-mps/natten-mps/tests/metalsim/cmd/mslc")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("simulator: go build mslc: %w\n%s", err, text)
	}
	return nil
}

func link(dir string) error {
	if err := os.CopyFS(dir, metalsim.Simulator); err != nil {
		return err
	}
	sources, err := filepath.Glob(filepath.Join(dir, "sim", "*.cpp"))
	if err != nil {
		return err
	}
	args := []string{
		"-std=c++17", "-Wall", "-Wextra", "-Werror", "-O2", "-g1", "-fPIC", "-fvisibility=hidden", "-shared",
		"-Wl,-Bsymbolic", "-Wl,--hash-style=both", "-Wl,--no-undefined", "-o", filepath.Join(dir, Library),
	}
	last := ""
	for _, s := range sources {
		if strings.HasSuffix(s, "/init.cpp") {
			last = s // its constructor runs after the variables of the others are initialized
		} else {
			args = append(args, s)
		}
	}
	args = append(args, compile.Target()...)
	c := exec.Command(compile.Clangxx(), append(args, last, "-ldl", "-lpthread")...)
	if text, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("simulator: %w\n%s", err, text)
	}
	return nil
}
