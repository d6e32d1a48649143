// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/natten-mps/natten-mps/core"
)

// turn is the length of a library's turn in seconds.
const turn = 0.06

// speed times the libraries in turns. A turn's figure is its quickest call or, with one
// thread, the processor time of a call. The result is the median ratio of neighboring
// turns, so that other programs slow down both libraries alike.
func speed(o *options, paths ...string) error {
	var peers [2]*peer
	for i, path := range paths {
		var err error
		if peers[i], err = o.serve(path); err != nil {
			return err
		}
	}
	fmt.Printf("%-24s %-13s %-9s %7s %10s %10s %7s\n", "row", "op", "dtype", "threads", "old us", "new us", "new/old")
	logs, rows, worst := 0.0, 0, 1.0
	for number, p := range timed() {
		for _, op := range []core.Op{core.AttnForward, core.AttnBackward} {
			for _, dtype := range []core.DType{core.Float32, core.Float16} {
				if !strings.Contains(p.name, o.only) || dtype == core.Float16 && number%4 != 2 {
					continue
				}
				for threads := 1; threads <= 2; threads++ {
					if o.threads > 0 && threads != o.threads {
						continue
					}
					least, ratio, err := contest(o, &peers, number, int(op), int(dtype), threads)
					if err != nil {
						return err
					}
					fmt.Printf("%-24s %-13v %-9v %7d %10.2f %10.2f %7.3f\n", p.name, op, dtype, threads, 1e6*least[0], 1e6*least[1], ratio)
					logs, rows, worst = logs+math.Log(ratio), rows+1, max(worst, ratio)
				}
			}
		}
	}
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Printf("%d rows, geometric mean of new/old %.3f, worst %.3f; load %s", rows, math.Exp(logs/float64(max(rows, 1))), worst, load)
	return nil
}

// contest returns the seconds of each library's quickest call, and the median ratio.
func contest(o *options, peers *[2]*peer, number, op, dtype, threads int) (least [2]float64, ratio float64, err error) {
	ask := func(i, calls int) (best, used float64, err error) {
		return peers[i].ask("%d %d %d %d %d", number, op, dtype, threads, calls)
	}
	for i := range peers {
		if least[i], _, err = ask(i, 3); err != nil {
			return least, 0, err
		}
	}
	calls := min(max(int(turn/least[0]), 2), 20000)
	var ratios []float64
	for round := range o.rounds {
		var now [2]float64
		for k := range peers {
			i := (round + k) % 2
			best, used, err := ask(i, calls)
			if err != nil {
				return least, 0, err
			}
			least[i] = min(least[i], best)
			if now[i] = best; threads == 1 && used > 0 {
				now[i] = used
			}
		}
		ratios = append(ratios, now[1]/now[0])
	}
	slices.Sort(ratios)
	return least, ratios[len(ratios)/2], nil
}
