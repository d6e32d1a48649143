// SPDX-License-Identifier: MIT

package sched

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
)

// brittle counts tasks and panics at one of them.
type brittle struct {
	at   int64
	done atomic.Int64
}

func (b *brittle) Work(j *Job, _ bool) {
	for {
		n, ok := j.Take()
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
	var j Job
	for at := range int64(40) {
		b := &brittle{at: at}
		func() {
			defer func() { require.Contains(t, recover(), "broken\n") }()
			j.Run(40, 4, b, nil)
		}()
		require.Less(t, b.done.Load(), int64(40))
		whole := &brittle{at: -1}
		j.Run(100, 4, whole, nil)
		require.EqualValues(t, 100, whole.done.Load(), "the job can be used again")
	}
}

// failing panics with an error.
type failing struct{ err error }

func (f failing) Work(j *Job, _ bool) { panic(f.err) }

// Errors reach the caller unchanged; runtime errors are defects and get a stack trace.
func TestErrorsOfTasksStayErrors(t *testing.T) {
	var j Job
	err := errors.New("no memory")
	require.PanicsWithValue(t, err, func() { j.Run(40, 4, failing{err}, nil) })
	var nothing []int
	broken := failing{func() (err error) {
		defer func() { err = recover().(error) }()
		return errors.New(fmt.Sprint(nothing[len(nothing)]))
	}()}
	defer func() { require.Contains(t, recover(), "index out of range [0] with length 0\ngoroutine") }()
	j.Run(40, 4, broken, nil)
}

// The caller does not wait for a worker that does not wake, and that worker takes a later job.
func TestJobsDoNotWaitForSleepers(t *testing.T) {
	pool.Lock()
	others := pool.idle
	sleeper := &worker{wake: make(chan struct{}, 1)}
	pool.idle = []*worker{sleeper}
	pool.Unlock()
	var j Job
	for range 3 {
		whole := &brittle{at: -1}
		j.Run(100, 2, whole, nil)
		require.EqualValues(t, 100, whole.done.Load())
		require.Equal(t, []*worker{sleeper}, pool.idle)
		require.Nil(t, sleeper.job.Load())
	}
	go sleeper.loop()
	both := &meeting{arrived: make(chan int, 2)}
	j.Run(2, 2, both, nil) // ends only if two goroutines take part
	pool.Lock()
	pool.idle = append(pool.idle, others...)
	pool.Unlock()
}

// meeting has two tasks, each of which ends only when both have begun.
type meeting struct{ arrived chan int }

func (m *meeting) Work(j *Job, _ bool) {
	for n, ok := j.Take(); ok; n, ok = j.Take() {
		m.arrived <- int(n)
		for len(m.arrived) < 2 {
			runtime.Gosched()
		}
	}
}

// lazy is done when the job has failed or, on a worker, after ten seconds.
type lazy struct{ woken atomic.Bool }

func (l *lazy) Work(j *Job, caller bool) {
	l.woken.CompareAndSwap(false, !caller)
	for start := time.Now(); !caller && !j.Failed() && time.Since(start) < 10*time.Second; runtime.Gosched() {
	}
}

func TestInterruptedWhileWaiting(t *testing.T) {
	var j Job
	asked := 0
	interrupted := func() bool {
		asked++
		return asked == 3
	}
	l := &lazy{}
	for !l.woken.Load() { // a worker that does not wake in time is not waited for
		func() {
			defer func() {
				if p := recover(); l.woken.Load() {
					require.Equal(t, core.ErrInterrupted, p)
				}
			}()
			j.Run(2, 2, l, interrupted)
		}()
	}
	require.Equal(t, 3, asked)
	j.Run(100, 2, &brittle{at: -1}, interrupted)
}
