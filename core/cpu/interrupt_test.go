// SPDX-License-Identifier: MIT

package cpu

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
)

// goroutine returns the line with the number of the calling goroutine.
func goroutine() string {
	text := make([]byte, 64)
	line, _, _ := bytes.Cut(text[:runtime.Stack(text, false)], []byte(" ["))
	return string(line)
}

// The goroutine of Run asks whether to go on, no other one does, and not only between tasks.
func TestInterruptsAreAskedForByTheCaller(t *testing.T) {
	for name, p := range map[string]core.Problem{
		"blocks":    plain(core.AttnForward, []int64{1, 160, 160}, []int64{1, 7, 7}, 1, 32),
		"gradients": plain(core.AttnBackward, []int64{1, 160, 160}, []int64{1, 7, 7}, 1, 32),
		"flash":     plain(core.AttnForward, []int64{1, 1, 3000}, []int64{1, 1, 3000}, 1, 32),
		"strips":    plain(core.AttnForward, []int64{1, 1, 160_000}, []int64{1, 1, 7}, 1, 32),
		"panels":    plain(core.AVBackward, []int64{1, 160, 160}, []int64{1, 7, 7}, 1, 24),
	} {
		t.Run(name, func(t *testing.T) {
			caller, others, asked := goroutine(), atomic.Int64{}, atomic.Int64{}
			tr := &trial{p: p, inputs: map[core.Role]*array{}, skip: map[core.Role]bool{}}
			normal, err := p.Normalize()
			require.NoError(t, err)
			r := rand.New(rand.NewPCG(1, 2))
			for _, role := range inputsOf[p.Op] {
				if used(normal, role) {
					tr.inputs[role] = newArray(r, normal, role, false, true)
				}
			}
			tr.interrupted = func() bool {
				if asked.Add(1); goroutine() != caller {
					others.Add(1)
				}
				return false
			}
			for tr.threads = 1; tr.threads < 4; tr.threads++ {
				tr.run(t, New(), r, false)
				require.Zero(t, others.Load())
				if tr.threads == 1 {
					var tasks int64
					for _, plan := range newRunner(normal).plans {
						tasks += plan.Walk().Tasks
					}
					require.Greater(t, asked.Load(), 2*tasks)
				}
			}
		})
	}
}
