// SPDX-License-Identifier: MIT

package sched

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/natten-mps/natten-mps/core/scratch"
)

// maxWorkers is how many goroutines the pool has at most: two for every processor, for
// callers at the same time, and on machines with few processors some more.
func maxWorkers() int { return max(256, 2*runtime.GOMAXPROCS(0)) }

// spinFor is how long run spins, waiting for its workers, before it blocks.
const spinFor = 100 * time.Microsecond

// Job is work in numbered tasks, which goroutines take as they come.
type Job struct {
	tasks   int64
	next    atomic.Int64
	do      Tasks
	busy    atomic.Int32   // workers that are not done
	wait    sync.WaitGroup // for them
	engaged []*worker
	failure atomic.Pointer[any] // what the first task panicked with that did
}

// Tasks is what a job does.
//
// Work is called once on every goroutine that takes part, and takes tasks from the job
// until none is left.
type Tasks interface{ Work(j *Job) }

// Take returns the next task, or false when none is left.
func (j *Job) Take() (int64, bool) {
	n := j.next.Add(1) - 1
	return n, n < j.tasks
}

// Failed reports whether a task panicked.
func (j *Job) Failed() bool { return j.failure.Load() != nil }

// work takes tasks until none is left. A panic, which on a goroutine of the pool
// would end the process, is kept for the caller and leaves no tasks to others.
func (j *Job) work() {
	defer func() {
		if p := recover(); p != nil {
			j.failure.CompareAndSwap(nil, kept(p))
			j.next.Store(j.tasks)
		}
	}()
	j.do.Work(j)
}

// worker is a goroutine that waits for jobs between runs.
type worker struct {
	wake chan struct{} // holds one
	job  atomic.Pointer[Job]
}

var pool struct {
	sync.Mutex
	idle  []*worker
	count int
}

func (w *worker) loop() {
	scratch.Stack()
	for range w.wake {
		j := w.job.Swap(nil)
		if j == nil {
			continue // the caller had done everything before this goroutine woke
		}
		j.work()
		w.rest()
		j.done()
	}
}

func (w *worker) rest() {
	pool.Lock()
	pool.idle = append(pool.idle, w)
	pool.Unlock()
}

// idleWorker returns a waiting worker, a new one, or nil when there are enough.
func idleWorker() *worker {
	pool.Lock()
	defer pool.Unlock()
	if n := len(pool.idle); n > 0 {
		w := pool.idle[n-1]
		pool.idle = pool.idle[:n-1]
		return w
	}
	if pool.count >= maxWorkers() {
		return nil
	}
	pool.count++
	w := &worker{wake: make(chan struct{}, 1)}
	go w.loop()
	return w
}

// Run does the job's tasks on up to threads goroutines, of which the caller is
// one and which may be more than tasks, and returns when all are done. It panics if a task did. It does not wait
// for goroutines that have not woken by then, which takes long on busy cores.
func (j *Job) Run(tasks int64, threads int, do Tasks) {
	j.tasks, j.do = tasks, do
	j.next.Store(0)
	j.engage(int64(threads) - 1)
	j.work()
	for _, w := range j.engaged {
		if w.job.CompareAndSwap(j, nil) {
			j.done()
			w.rest()
		}
	}
	j.await()
	j.do = nil
	if p := j.failure.Swap(nil); p != nil {
		panic(*p)
	}
}

// kept is what becomes of a panic: errors stay what they are, unless it is the runtime that
// found them. The others are text, with the stack, which is lost on the caller's goroutine.
func kept(p any) *any {
	_, ours := p.(error)
	if _, runtimes := p.(runtime.Error); runtimes || !ours {
		p = fmt.Sprintf("%v\n%s", p, debug.Stack())
	}
	return &p
}

func (j *Job) done() {
	j.busy.Add(-1)
	j.wait.Done()
}

// await returns when all workers are done. To sleep and wake again takes longer than
// most workers do.
func (j *Job) await() {
	for start := time.Now(); j.busy.Load() > 0 && time.Since(start) < spinFor; {
	}
	j.wait.Wait()
}

// engage wakes up to n workers.
func (j *Job) engage(n int64) {
	j.engaged = j.engaged[:0]
	for range n {
		w := idleWorker()
		if w == nil {
			return
		}
		j.busy.Add(1)
		j.wait.Add(1)
		j.engaged = append(j.engaged, w)
		w.job.Store(j)
		select {
		case w.wake <- struct{}{}:
		default: // it is about to wake for a job that it came too late for
		}
	}
}
