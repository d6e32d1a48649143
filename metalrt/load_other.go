// SPDX-License-Identifier: MIT

//go:build !darwin

package metalrt

import (
	"os"
	"runtime"
)

// libraries lists what Load opens: the simulator, if one is named.
func libraries() (paths, optional []string, why string) {
	path := os.Getenv("NATTEN_MPS_SIMULATOR")
	if path == "" {
		return nil, nil, "Metal exists on macOS only, and this is " + runtime.GOOS
	}
	return []string{path}, nil, ""
}
