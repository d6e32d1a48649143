// SPDX-License-Identifier: MIT

// Command compare compares two builds of the library:
//
//	compare bits OLD NEW     every operation, element type and instruction set over tests/cases.json and
//	                         random problems, on one and two threads: the same bits, kernels and scratch memory?
//	compare speed OLD NEW    the rows of ./build.sh bench cpu and calls of 16 tokens, the libraries interleaved;
//	                         on one thread the ratios are of processor time, so that other work matters less
//
// With -emulator, for another architecture, OLD and NEW are copies of this program, built with CGO_ENABLED=0
// from the sources to compare, so that each contains its engine.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"strings"
)

type options struct {
	random   int
	seed     uint64
	one      bool
	emulator string
	off      string
	rounds   int
	only     string
	threads  int
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("compare: ")
	var o options
	flag.IntVar(&o.random, "random", 2000, "bits: number of random problems")
	flag.Uint64Var(&o.seed, "seed", 17, "bits: seed of the random problems")
	flag.BoolVar(&o.one, "eighth", false, "bits: one of eight combinations of operation and element type a problem, for emulators")
	flag.StringVar(&o.emulator, "emulator", "", "command that runs OLD and NEW, which are programs")
	flag.StringVar(&o.off, "disable", "", "instruction sets to leave out, by comma: NATTEN_DISABLE_ISA of both")
	flag.IntVar(&o.rounds, "rounds", 15, "speed: turns of each library")
	flag.StringVar(&o.only, "only", "", "speed: rows whose name has this text")
	flag.IntVar(&o.threads, "threads", 0, "speed: rows of this number of threads only")
	flag.Parse()
	if err := run(&o, flag.Args()); err != nil {
		log.Fatal(err)
	}
}

func run(o *options, arguments []string) error {
	if len(arguments) == 2 && (arguments[0] == "digests" || arguments[0] == "serve") {
		l, err := open(arguments[1])
		if err != nil {
			return err
		}
		if arguments[0] == "serve" {
			return serve(l)
		}
		return digests(l, os.Stdout, o)
	}
	if len(arguments) != 3 || arguments[0] != "bits" && arguments[0] != "speed" {
		return fmt.Errorf("arguments are %q (want bits or speed, and two libraries)", arguments)
	}
	if arguments[0] == "bits" {
		return bits(o, arguments[1], arguments[2])
	}
	return speed(o, arguments[1], arguments[2])
}

// command is the command of a worker for a library.
func (o *options) command(verb, library string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	words := []string{self}
	if o.emulator != "" {
		words = append(strings.Fields(o.emulator), library)
	}
	words = append(words, fmt.Sprint("-random=", o.random), fmt.Sprint("-seed=", o.seed), fmt.Sprint("-eighth=", o.one), verb, library)
	c := exec.Command(words[0], words[1:]...)
	c.Stderr = os.Stderr
	c.Env = append(os.Environ(), "NATTEN_DISABLE_ISA="+o.off)
	return c, nil
}

// bits compares the lines that two workers print.
func bits(o *options, paths ...string) error {
	var lines [2]*bufio.Scanner
	var workers [2]*exec.Cmd
	for i, path := range paths {
		c, err := o.command("digests", path)
		if err != nil {
			return err
		}
		out, err := c.StdoutPipe()
		if err != nil {
			return err
		}
		if err := c.Start(); err != nil {
			return err
		}
		workers[i], lines[i] = c, bufio.NewScanner(out)
	}
	count, different, variants := 0, 0, map[string]int{}
	for lines[0].Scan() {
		if !lines[1].Scan() {
			return fmt.Errorf("the second library ends after %d results", count)
		}
		a, b := lines[0].Text(), lines[1].Text()
		count++
		_, variant, _ := strings.Cut(a, ": ")
		variants[kind(variant)]++
		if a == b {
			continue
		}
		if different++; different <= 20 {
			fmt.Printf("- %s\n+ %s\n", a, b)
		}
	}
	for i, w := range workers {
		if lines[1].Scan() {
			return fmt.Errorf("the first library ends after %d results", count)
		}
		if err := w.Wait(); err != nil {
			return fmt.Errorf("%s: %w", paths[i], err)
		}
	}
	for name, n := range variants {
		fmt.Printf("%7d %s\n", n, name)
	}
	fmt.Printf("%d results, %d different\n", count, different)
	if different > 0 || count == 0 {
		return fmt.Errorf("the libraries differ in %d of %d results", different, count)
	}
	return nil
}

// kind is a variant without its numbers.
func kind(line string) string {
	_, text, _ := strings.Cut(line, " ")
	_, text, _ = strings.Cut(text, " ")
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r >= '0' && r <= '9' }), "N")
}

// peer is a worker that measures times on request.
type peer struct {
	in  io.Writer
	out *bufio.Scanner
}

func (o *options) serve(path string) (*peer, error) {
	c, err := o.command("serve", path)
	if err != nil {
		return nil, err
	}
	in, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &peer{in, bufio.NewScanner(out)}, c.Start()
}

func (p *peer) ask(format string, arguments ...any) (best, used float64, err error) {
	fmt.Fprintf(p.in, format+"\n", arguments...)
	if !p.out.Scan() {
		return 0, 0, fmt.Errorf("a worker ended: %w", io.ErrUnexpectedEOF)
	}
	_, err = fmt.Sscan(p.out.Text(), &best, &used)
	return best, used, err
}
