// SPDX-License-Identifier: MIT

package cpu

import (
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/scratch"
	"github.com/natten-mps/natten-mps/tests"
	"github.com/natten-mps/natten-mps/tests/conformance"
)

// emptyPools waits until the pools have dropped all workers and their memory is released.
func emptyPools(t testing.TB) {
	for range 1000 {
		if runtime.GC(); scratch.Held() == 0 {
			return
		}
		runtime.Gosched()
	}
	require.Zero(t, scratch.Held(), "bytes are held by nobody")
}

// measured runs plans on the maximum number of threads. It compares the memory that a run leaves
// in the pools with ScratchBytes.
func measured(t *testing.T) conformance.Executor {
	return func(p core.Problem, b *core.Buffers) error {
		plan, err := core.NewPlan([]core.Backend{New()}, core.Auto, p)
		if err != nil {
			return err
		}
		b.Threads = runtime.GOMAXPROCS(0)
		emptyPools(t)
		err = plan.Run(b)
		held := scratch.Held()
		require.LessOrEqual(t, held, plan.ScratchBytes(), "%v %v %s", p.Op, p.DType, plan.Variant())
		runtime.KeepAlive(plan)
		return err
	}
}

func checkScratchBytes(t *testing.T) {
	for number, c := range tests.Cases() {
		for _, op := range []core.Op{core.AttnBackward, ops[number%len(ops)]} {
			dtype := conformance.DTypes[(number+int(op))%len(conformance.DTypes)]
			conformance.Check(t, measured(t), c.Problem(op, dtype), c.FlatSizes(), number)
		}
	}
	for seed := range uint64(fewer(50)) {
		r := rand.New(rand.NewPCG(19, seed))
		for _, draw := range []func(*rand.Rand) (core.Problem, []int64){conformance.Random, conformance.RandomRanges} {
			p, sizes := draw(r)
			conformance.Check(t, measured(t), p, sizes, int(seed))
		}
	}
}

func TestScratchBytesBoundWhatRunsHold(t *testing.T) { checkScratchBytes(t) }

func TestFlashScratchBytes(t *testing.T) {
	flashEverywhere(t)
	checkScratchBytes(t)
}
