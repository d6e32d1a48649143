// SPDX-License-Identifier: MIT

// simbuild builds the Metal simulator if necessary and prints its path, the value for
// NATTEN_MPS_SIMULATOR.
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
