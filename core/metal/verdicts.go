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

// cacheVariable names the folder that holds verdicts. The Python package uses it,
// too.
const cacheVariable = "NATTEN_MPS_CACHE"

// verdicts record which kernels compute correctly on a machine, in a file that all
// processes share: machine -> kernels -> reason of failure, empty for kernels that
// passed. Kernels that pass are recorded one by one. If a plan fails, its kernels are
// recorded together under one entry.
type verdicts struct {
	path  string // empty: verdicts are kept in this process only
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

// kernelKey identifies a kernel by name and source, so that a changed source needs a
// new verdict.
func kernelKey(function, source string) string {
	sum := sha256.Sum256([]byte(source))
	return function + "-" + hex.EncodeToString(sum[:6])
}

// identity identifies the GPU and the system.
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
	others := v.read() // verdicts that other processes have added in the meantime
	for _, all := range []map[string]map[string]string{v.known, others} {
		if all[machine] == nil {
			all[machine] = map[string]string{}
		}
		for _, kernel := range kernels {
			all[machine][kernel] = why
		}
	}
	_ = v.write(others) // a verdict that was not written is determined again
}

func (v *verdicts) load() {
	if v.known == nil {
		v.known = v.read()
	}
}

func (v *verdicts) read() map[string]map[string]string {
	all := map[string]map[string]string{}
	text, err := os.ReadFile(v.path)
	if err != nil || json.Unmarshal(text, &all) != nil || all == nil { // nil: the file says null
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
