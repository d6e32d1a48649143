// SPDX-License-Identifier: MIT

// simbuild builds the Metal simulator, if need be, and prints its path, which is
// what NATTEN_MPS_SIMULATOR wants.
package main

import (
	"fmt"
	"os"

	"github.com/natten-mps/natten-mps/tests/metalsim/simulator"
)

func main() {
	path, err := simulator.Build()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(path)
}
