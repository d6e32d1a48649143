// SPDX-License-Identifier: MIT

package cpu

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// brittle counts tasks and panics at one of them.
type brittle struct {
	at   int64
	done atomic.Int64
}

func (b *brittle) runTasks(j *job) {
	for {
		n, ok := j.take()
		if !ok {
			return
		}
		if n == b.at {
			panic("broken")
		}
		b.done.Add(1)
	}
}

func TestPanicsOfTasksReachTheCaller(t *testing.T) {
	var j job
	for at := range int64(40) {
		b := &brittle{at: at}
		func() {
			defer func() { require.Contains(t, recover(), "broken\n") }()
			j.run(40, 4, b)
		}()
		require.Less(t, b.done.Load(), int64(40))
		whole := &brittle{at: -1}
		j.run(100, 4, whole)
		require.EqualValues(t, 100, whole.done.Load(), "the job can be used again")
	}
}
