// SPDX-License-Identifier: MIT

// shadercov reports the line coverage of the project's shaders.
//
//	shadercov [-min 95] DIR
//
// DIR holds the files of tests that ran with METALSIM_MODE=coverage and
// METALSIM_CACHE=DIR. A line counts if any kernel was compiled from it, and is covered
// if any of them executed it. Below the minimum, the exit status is 1.
package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/natten-mps/natten-mps/shaders"
)

func main() {
	least := flag.Float64("min", 95, "percent of the lines of each file that must be covered")
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	low, err := report(flag.Arg(0), *least)
	if err == nil && low > 0 {
		err = fmt.Errorf("shadercov: %d files below %g %%", low, *least)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// place is a line of a shader file.
type place struct {
	file string
	line int
}

func report(dir string, least float64) (low int, err error) {
	profile := filepath.Join(dir, "all.profdata")
	raw, err := filepath.Glob(filepath.Join(dir, "*.profraw"))
	if err != nil || len(raw) == 0 {
		return 0, fmt.Errorf("shadercov: no *.profraw in %s", dir)
	}
	if _, err := run("llvm-profdata-19", append([]string{"merge", "-sparse", "-o", profile}, raw...)...); err != nil {
		return 0, err
	}
	hits, err := allHits(dir, profile)
	if err != nil {
		return 0, err
	}
	files := map[string][]int{} // the lines that count, by file
	for p := range hits {
		files[p.file] = append(files[p.file], p.line)
	}
	for _, f := range slices.Sorted(maps.Keys(files)) {
		var missed []string
		slices.Sort(files[f])
		for _, line := range files[f] {
			if hits[place{f, line}] == 0 {
				missed = append(missed, strconv.Itoa(line))
			}
		}
		n := len(files[f])
		percent := 100 * float64(n-len(missed)) / float64(n)
		fmt.Printf("%-24s %5d lines  %6.1f %%", f, n, percent)
		if len(missed) > 0 {
			fmt.Printf("  not run: %s", strings.Join(missed, " "))
		}
		fmt.Println()
		if percent < least {
			low++
		}
	}
	return low, nil
}

// allHits counts how often each line ran, over all libraries.
func allHits(dir, profile string) (map[place]int, error) {
	families, err := flattened()
	if err != nil {
		return nil, err
	}
	objects, err := filepath.Glob(filepath.Join(dir, "*.so"))
	if err != nil {
		return nil, err
	}
	hits := map[place]int{}
	for _, so := range objects {
		origin, err := origins(so+".clcpp", families)
		if err != nil {
			return nil, err
		}
		lcov, err := run("llvm-cov-19", "export", "-format=lcov", "-instr-profile="+profile, so)
		if err != nil {
			return nil, err
		}
		addHits(hits, origin, lcov)
	}
	return hits, nil
}

func addHits(hits map[place]int, origin map[int]place, lcov []byte) {
	for s := bufio.NewScanner(bytes.NewReader(lcov)); s.Scan(); {
		at, count, ok := strings.Cut(strings.TrimPrefix(s.Text(), "DA:"), ",")
		if !ok || !strings.HasPrefix(s.Text(), "DA:") {
			continue
		}
		line, _ := strconv.Atoi(at)
		n, _ := strconv.Atoi(count)
		if p, ok := origin[line]; ok {
			hits[p] += n
		}
	}
}

func run(name string, args ...string) ([]byte, error) {
	c := exec.Command(name, args...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", name, err, stderr.String())
	}
	return out, nil
}

// located is a line of a flattened source and its origin.
type located struct {
	text string
	place
}

// flattened returns the lines of each kernel family's text in the order of
// shaders.Source, and checks that they equal its result.
func flattened() (map[string][]located, error) {
	out := map[string][]located{}
	names, err := fs.Glob(shaders.Files(), "*.metal")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		family := strings.TrimSuffix(name, ".metal")
		want, err := shaders.Source(family)
		if err != nil {
			return nil, err
		}
		lines, err := locate(name, map[string]bool{})
		if err != nil {
			return nil, err
		}
		var got strings.Builder
		for _, l := range lines {
			got.WriteString(l.text + "\n")
		}
		if got.String() != want {
			return nil, fmt.Errorf("shadercov: %s is put together in another way than here", name)
		}
		out[family] = lines
	}
	return out, nil
}

func locate(name string, done map[string]bool) (lines []located, err error) {
	if done[name] {
		return nil, nil
	}
	done[name] = true
	text, err := fs.ReadFile(shaders.Files(), name)
	if err != nil {
		return nil, err
	}
	for i, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		if include, ok := strings.CutPrefix(line, `#include "`); ok {
			more, err := locate(strings.TrimRight(include, `"`), done)
			if err != nil {
				return nil, err
			}
			lines = append(lines, more...)
		} else if !strings.HasPrefix(line, "#pragma once") {
			lines = append(lines, located{line, place{name, i + 1}})
		}
	}
	return lines, nil
}

// origins maps the lines of a lowered source, which llvm-cov counts, to lines of the
// shader files. The line markers lead to the flattened text; the family is the one with
// the most equal lines, since lowering changes only few.
func origins(file string, families map[string][]located) (map[int]place, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	lines := strings.Split(string(b), "\n")
	at := flattenedLines(lines)
	best, most := "", 0
	for family, flat := range families {
		same := 0
		for i, n := range at {
			if n >= 1 && n <= len(flat) && lines[i-1] == flat[n-1].text && lines[i-1] != "" {
				same++
			}
		}
		if same > most {
			best, most = family, same
		}
	}
	out := map[int]place{}
	for i, n := range at {
		if flat := families[best]; n >= 1 && n <= len(flat) {
			out[i] = flat[n-1].place
		}
	}
	return out, nil
}

// flattenedLines maps each line of a lowered source to the line of the text that was
// compiled.
func flattenedLines(lines []string) map[int]int {
	out := map[int]int{}
	file, line := "", 0
	for i, text := range lines {
		if rest, ok := strings.CutPrefix(text, "# "); ok {
			n, name, _ := strings.Cut(rest, " ")
			line, _ = strconv.Atoi(n)
			file = strings.Trim(strings.Fields(name)[0], `"`)
			continue
		}
		if !strings.HasPrefix(file, "<") && !strings.Contains(file, "/") {
			out[i+1] = line
		}
		line++
	}
	return out
}
