// SPDX-License-Identifier: MIT

package compile

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/natten-mps/natten-mps/tests/metalsim"
)

// CacheEnv names the variable with the folder for compiled kernels. Without it, a
// folder in the user's cache is used.
const CacheEnv = "METALSIM_CACHE"

func tool(names ...string) string {
	for _, n := range names {
		if p, err := exec.LookPath(n); err == nil {
			return p
		}
	}
	return names[0]
}

var (
	clang    = sync.OnceValue(func() string { return tool("clang-19", "clang") })
	prepared = sync.OnceValues(prepare)
)

// ArchEnv names the variable with the processor, as a GOARCH, for which kernels and the
// simulator are compiled. Without it, that of this program is used.
const ArchEnv = "NATTEN_METALSIM_ARCH"

// arch is that processor.
var arch = sync.OnceValue(func() string { return cmp.Or(os.Getenv(ArchEnv), runtime.GOARCH) })

// processors has clang's name for each processor and the instructions that kernels use.
var processors = map[string]struct{ target, march string }{
	"amd64": {"x86_64-linux-gnu", "x86-64-v3"},
	"arm64": {"aarch64-linux-gnu", "armv8.2-a+fp16"},
}

// Target returns clang's flags for the processor.
func Target() []string {
	return []string{"--target=" + processors[arch()].target, "-fuse-ld=lld", "-Wno-unused-command-line-argument"}
}

// Clangxx is the C++ compiler.
var Clangxx = sync.OnceValue(func() string { return tool("clang++-19", "clang++") })

func command(name string, args ...string) ([]byte, error) {
	c := exec.Command(name, args...)
	var out, errb bytes.Buffer
	c.Stdout, c.Stderr = &out, &errb
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", filepath.Base(name), err, errb.String())
	}
	return out.Bytes(), nil
}

// CacheDir returns the folder for compiled kernels.
func CacheDir() (string, error) {
	if d := os.Getenv(CacheEnv); d != "" {
		return d, os.MkdirAll(d, 0o755)
	}
	base, err := os.UserCacheDir()
	if err != nil {
		base = os.TempDir()
	}
	d := filepath.Join(base, "natten-metalsim")
	return d, os.MkdirAll(d, 0o755)
}

// toolkit is the embedded headers and the executor, which are written once per content.
type toolkit struct {
	cache, include, empty string
	sum, rules            string   // of the shim, of this package and lower
	runtime               []string // the executor's object files
}

func prepare() (t toolkit, err error) {
	if t.cache, err = CacheDir(); err != nil {
		return t, err
	}
	if t.sum, err = Sum(metalsim.Files, []byte(arch())); err != nil {
		return t, err
	}
	if t.rules, err = Sum(metalsim.Rules); err != nil {
		return t, err
	}
	dir := filepath.Join(t.cache, "kit-"+t.sum)
	t.include, t.empty = filepath.Join(dir, "include"), filepath.Join(dir, "include", "empty")
	sources, err := fs.Glob(metalsim.Files, "rt/*.cpp")
	if err != nil {
		return t, err
	}
	for _, source := range sources {
		t.runtime = append(t.runtime, filepath.Join(dir, source+".o"))
	}
	if _, err := os.Stat(dir); err == nil {
		return t, nil
	}
	tmp, err := os.MkdirTemp(t.cache, "kit")
	if err != nil {
		return t, err
	}
	defer os.RemoveAll(tmp)
	if err := os.CopyFS(tmp, metalsim.Files); err != nil {
		return t, err
	}
	for _, source := range sources {
		source = filepath.Join(tmp, source)
		if _, err := command(Clangxx(), append(Target(), "-std=c++17", "-O2", "-g1", "-fPIC", "-c", source, "-o", source+".o")...); err != nil {
			return t, err
		}
	}
	if err := os.Rename(tmp, dir); err != nil {
		if _, e := os.Stat(dir); e != nil { // otherwise another process was first
			return t, err
		}
	}
	return t, nil
}

// Sum returns a hash of the content of files and of further strings.
func Sum(files fs.FS, more ...[]byte) (string, error) {
	h := sha256.New()
	for _, b := range more {
		h.Write(b)
	}
	err := fs.WalkDir(files, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(files, p)
		fmt.Fprintln(h, p, len(b))
		h.Write(b)
		return err
	})
	return hex.EncodeToString(h.Sum(nil))[:16], err
}
