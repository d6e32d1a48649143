// SPDX-License-Identifier: MIT

package conformance

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/tests"
)

// Interrupts ends runs of every stride-th case, with every operation, at the first, a middle and
// the last question whether to go on. The run after them must be right.
func Interrupts(t *testing.T, backend core.Backend, stride int) {
	for number, c := range tests.Cases() {
		if number%stride != 0 {
			continue
		}
		for op := core.AttnForward; op.Valid(); op++ {
			dtype := DTypes[(number+int(op))%len(DTypes)]
			Check(t, interrupted(t, backend), c.Problem(op, dtype), c.FlatSizes(), number+int(op))
		}
	}
}

// interrupted executes a problem after it has interrupted it.
func interrupted(t *testing.T, backend core.Backend) Executor {
	return func(p core.Problem, b *core.Buffers) error {
		plan, err := core.NewPlan([]core.Backend{backend}, backend.Name(), p)
		if err != nil {
			return err
		}
		// run interrupts at question number `at`, from 1 on, and returns how many were asked.
		run := func(threads, at int) (asked int, err error) {
			copied := *b // Run changes strides
			copied.Threads = threads
			copied.Interrupted = func() bool {
				asked++
				return asked == at
			}
			err = plan.Run(&copied)
			return asked, err
		}
		questions, err := run(1, 0)
		if err != nil {
			return err
		}
		require.True(t, p.Batch == 0 || questions > 0)
		for at := 1; at <= questions; at += max(questions/2, 1) {
			asked, err := run(1, at)
			require.ErrorIs(t, err, core.ErrInterrupted, fmt.Sprint(at, " of ", questions))
			require.Equal(t, at, asked, "nothing is asked after the answer")
			if _, err := run(3, at); err != nil { // other threads may have done everything
				require.ErrorIs(t, err, core.ErrInterrupted)
			}
		}
		return plan.Run(b)
	}
}
