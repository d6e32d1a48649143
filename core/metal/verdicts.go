// SPDX-License-Identifier: MIT

package metal

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/natten-mps/natten-mps/metalrt"
)

// cacheVariable names the folder of verdicts, the Python package's as well.
const cacheVariable = "NATTEN_MPS_CACHE"

// verdicts remember which kernels compute rightly on a machine, in a file that all
// processes share: machine -> kernels -> why not, empty if they do. Kernels that
// pass do so one by one; those of a plan that fails are named together.
type verdicts struct {
	path  string // empty: nothing is kept beyond the process
	mu    sync.Mutex
	known map[string]map[string]string // nil: not read yet
}

func newVerdicts() *verdicts {
	folder := os.Getenv(cacheVariable)
	if folder == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return &verdicts{}
		}
		folder = filepath.Join(cache, "natten_mps")
	}
	return &verdicts{path: filepath.Join(folder, "kernels.json")}
}

// kernelKey names a kernel and its text, so that a verdict ends with a change of it.
func kernelKey(function, source string) string {
	sum := sha256.Sum256([]byte(source))
	return function + "-" + hex.EncodeToString(sum[:6])
}

// identity names the GPU and its system.
func (d DeviceInfo) identity() string {
	return fmt.Sprintf("%s, Apple%d, %s", d.Name, d.Generation, metalrt.System())
}

func (v *verdicts) find(machine string, kernels []string) (why string, known bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.load()
	of := v.known[machine]
	if why, known = of[strings.Join(kernels, " ")]; known {
		return why, true
	}
	for _, kernel := range kernels {
		if why, known = of[kernel]; !known || why != "" {
			return "", false
		}
	}
	return "", true
}

func (v *verdicts) keep(machine string, kernels []string, why string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.load()
	if why != "" {
		kernels = []string{strings.Join(kernels, " ")}
	}
	others := v.read() // what other processes have found out meanwhile
	for _, all := range []map[string]map[string]string{v.known, others} {
		if all[machine] == nil {
			all[machine] = map[string]string{}
		}
		for _, kernel := range kernels {
			all[machine][kernel] = why
		}
	}
	_ = v.write(others) // a verdict that is not kept is found out again
}

func (v *verdicts) load() {
	if v.known == nil {
		v.known = v.read()
	}
}

func (v *verdicts) read() map[string]map[string]string {
	all := map[string]map[string]string{}
	text, err := os.ReadFile(v.path)
	if err != nil || json.Unmarshal(text, &all) != nil {
		return map[string]map[string]string{}
	}
	return all
}

func (v *verdicts) write(all map[string]map[string]string) error {
	if v.path == "" {
		return nil
	}
	text, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(v.path), 0o755); err != nil {
		return err
	}
	partial := fmt.Sprintf("%s.%d", v.path, os.Getpid())
	if err := os.WriteFile(partial, text, 0o644); err != nil {
		return err
	}
	return os.Rename(partial, v.path)
}
