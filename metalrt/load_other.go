// SPDX-License-Identifier: MIT

//go:build !darwin

package metalrt

import (
	"os"
	"runtime"
	"slices"
	"strings"
)

// libraries lists what Load opens: the simulator, if Simulate was called.
func libraries() (paths, optional []string, why string) {
	if simulator == "" {
		return nil, nil, "Metal exists on macOS only, and this is " + runtime.GOOS
	}
	return []string{simulator}, nil, ""
}

// System returns the operating system, the simulator's path and its settings.
func System() string {
	settings := slices.DeleteFunc(os.Environ(), func(s string) bool { return !strings.HasPrefix(s, "METALSIM_") })
	slices.Sort(settings)
	return runtime.GOOS + " " + simulator + " " + strings.Join(settings, " ")
}
