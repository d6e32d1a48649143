// SPDX-License-Identifier: MIT

// mslc lowers a .metal file and prints or compiles it.
//
//	mslc -emit cpu|ptx-source|ptx|list [-fc 0=true,1=0.5] [-o out] file.metal
package main

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/natten-mps/natten-mps/tests/metalsim/compile"
	"github.com/natten-mps/natten-mps/tests/metalsim/lower"
)

func main() {
	emit := flag.String("emit", "list", "")
	out := flag.String("o", "", "")
	fc := flag.String("fc", "", "")
	loose := flag.Bool("loose", false, "")
	flag.Parse()
	baked := map[int]string{}
	for _, s := range strings.Split(*fc, ",") {
		if n, v, ok := strings.Cut(s, "="); ok {
			i, _ := strconv.Atoi(n)
			baked[i] = v
		}
	}
	file := flag.Arg(0)
	flat, err := compile.Flatten(file)
	die(err)
	u, err := lower.Lower(flat, lower.Options{File: file, Baked: baked})
	die(err)
	for _, w := range u.Warnings {
		fmt.Fprintln(os.Stderr, "warning:", w)
	}
	w := func(s string) {
		if *out == "" {
			fmt.Print(s)
		} else {
			die(os.WriteFile(*out, []byte(s), 0o644))
		}
	}
	switch *emit {
	case "cpu":
		w(u.CPU())
	case "ptx-source":
		w(u.PTX())
	case "ptx":
		die(compile.PTX(u, *out, *loose))
	case "list":
		for i, k := range u.Kernels {
			fmt.Printf("%d %s\n", i, k.Host)
		}
	}
}

func die(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
