// SPDX-License-Identifier: MIT

// mslc compiles a .metal file for this machine's CPU or an NVIDIA GPU, or prints the
// source to which it is lowered.
//
//	mslc -emit so [-mode checked|fast|fastmath|fuzz|coverage] [-arch amd64|arm64] [-std 3.1] [-math safe|relaxed|fast] file.metal
//	mslc -emit ptx -o out.ptx file.metal
//	mslc -emit cpu|ptx-source|list file.metal
//	mslc -emit symbols -so library.so MESSAGE
//
// so prints a description of the library for the simulator, one fact per line:
// "so PATH", "kernel INDEX MAXTHREADS NAME", "arg INDEX KIND NAME TYPE", "warning TEXT".
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/natten-mps/natten-mps/tests/metalsim/compile"
	"github.com/natten-mps/natten-mps/tests/metalsim/lower"
)

type options struct {
	emit, out, so, mode string
	std, math           string
	constants           map[int]string
	loose               bool
}

func main() {
	var o options
	o.constants = map[int]string{}
	flag.StringVar(&o.emit, "emit", "list", "so, ptx, cpu, ptx-source, list or symbols")
	flag.StringVar(&o.out, "o", "", "file to write; standard output without it")
	flag.StringVar(&o.so, "so", "", "the library that symbols are looked up in")
	flag.StringVar(&o.mode, "mode", "checked", "how so compiles")
	flag.Func("arch", "processor, as Go calls it", func(s string) error { return os.Setenv(compile.ArchEnv, s) })
	flag.StringVar(&o.std, "std", "3.1", "version of the language")
	flag.StringVar(&o.math, "math", "safe", "safe, relaxed or fast")
	flag.BoolVar(&o.loose, "loose", false, "thread pointers accept any address space")
	flag.Func("fc", "function constants, as 0=true,1=0.5f", func(s string) error {
		for _, c := range strings.Split(s, ",") {
			n, v, _ := strings.Cut(c, "=")
			i, err := strconv.Atoi(n)
			if err != nil {
				return err
			}
			o.constants[i] = v
		}
		return nil
	})
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(o, flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(o options, arg string) error {
	switch o.emit {
	case "symbols":
		return write(o.out, compile.Symbolize(o.so, arg))
	case "so":
		return library(o, arg)
	}
	version, err := compile.ParseLanguage(o.std)
	if err != nil {
		return err
	}
	flat, err := compile.Flatten(arg, version)
	if err != nil {
		return err
	}
	u, err := lower.Lower(flat, lower.Options{File: arg, Baked: o.constants})
	if err != nil {
		return err
	}
	for _, w := range u.Warnings {
		fmt.Fprintln(os.Stderr, "warning:", w)
	}
	switch o.emit {
	case "cpu":
		return write(o.out, u.CPU())
	case "ptx-source":
		return write(o.out, u.PTX(false))
	case "ptx":
		return compile.PTX(u, o.out, o.loose, false)
	case "list":
		var b strings.Builder
		for i, k := range u.Kernels {
			fmt.Fprintln(&b, i, k.Host)
		}
		return write(o.out, b.String())
	}
	return fmt.Errorf("mslc: -emit %s (want so, ptx, cpu, ptx-source, list or symbols)", o.emit)
}

// library compiles a source that a host passed to newLibraryWithSource:. It has no file
// name, so messages call it program_source, as Metal's do.
func library(o options, file string) error {
	mode, err := compile.ParseMode(o.mode)
	if err != nil {
		return err
	}
	version, err := compile.ParseLanguage(o.std)
	if err != nil {
		return err
	}
	math, err := compile.ParseMath(o.math)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	a, err := compile.Source("program_source", string(text), compile.Options{Mode: mode, Loose: o.loose, Baked: o.constants, Language: version, Math: math})
	if err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintln(&b, "so", a.SO)
	for i, k := range a.Unit.Kernels {
		fmt.Fprintln(&b, "kernel", i, k.MaxTotal, k.Host)
		for _, p := range k.Args {
			fmt.Fprintln(&b, "arg", p.Index, p.Kind, p.Name, p.Type)
		}
	}
	for _, w := range a.Unit.Warnings {
		fmt.Fprintln(&b, "warning", w)
	}
	return write(o.out, b.String())
}

func write(file, text string) error {
	if file == "" {
		_, err := io.WriteString(os.Stdout, text)
		return err
	}
	return os.WriteFile(file, []byte(text), 0o644)
}
