// SPDX-License-Identifier: MIT

//go:build simulator

package main

import (
	"os"

	"github.com/natten-mps/natten-mps/metalrt"
)

// A library built for tests takes what this variable names for Metal; tests/metalsim/library.sh
// builds one. Others do not look at it.
func init() { metalrt.Simulate(os.Getenv("NATTEN_MPS_SIMULATOR")) }
