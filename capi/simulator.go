// SPDX-License-Identifier: MIT

//go:build simulator

package main

import (
	"os"

	"github.com/natten-mps/natten-mps/metalrt"
)

// A library built for tests (tests/metalsim/library.sh) loads the simulator that this
// variable names in place of Metal. Other builds ignore the variable.
func init() { metalrt.Simulate(os.Getenv("NATTEN_MPS_SIMULATOR")) }
