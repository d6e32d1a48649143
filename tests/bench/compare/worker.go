// SPDX-License-Identifier: MIT

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"

	"github.com/natten-mps/natten-mps/core"
)

var dtypes = []core.DType{core.Float32, core.Float16, core.BFloat16, core.Float64}

// digests prints a line for every result of a library.
func digests(l engine, out io.Writer, o *options) error {
	w := bufio.NewWriter(out)
	for number, p := range compared(o.random, o.seed) {
		for op := core.AttnForward; op.Valid(); op++ {
			for _, dtype := range dtypes {
				if o.one && (number+int(op)+int(dtype))%8 != 0 {
					continue
				}
				for _, threads := range []int{1, 2} {
					x, err := newExperiment(l, p.of(op, dtype), p.sizes, uint64(number), threads, number%3 == 2)
					if err == nil {
						err = x.run()
					}
					if err != nil {
						fmt.Fprintf(w, "%d %s %v %v threads %d: %v\n", number, p.name, op, dtype, threads, err)
						continue
					}
					fmt.Fprintf(w, "%d %s %v %v threads %d: %s %s\n", number, p.name, op, dtype, threads, x.digest(), x.info)
					x.close()
				}
			}
		}
	}
	return w.Flush()
}

// serve answers requests for times, each of which gives the number of the problem, the
// operation, the element type, the threads and the calls.
func serve(l engine) error {
	list, last := timed(), ""
	var x *experiment
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var number, op, dtype, threads, calls int
		if _, err := fmt.Sscan(in.Text(), &number, &op, &dtype, &threads, &calls); err != nil {
			return err
		}
		if key := fmt.Sprint(number, op, dtype, threads); key != last {
			if x != nil {
				x.close()
			}
			var err error
			if x, err = newExperiment(l, list[number].of(core.Op(op), core.DType(dtype)), nil, uint64(number), threads, false); err != nil {
				return err
			}
			last = key
		}
		best, used, err := x.time(calls)
		if err != nil {
			return err
		}
		fmt.Println(best, used)
	}
	return in.Err()
}
