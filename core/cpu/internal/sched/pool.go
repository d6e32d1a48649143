// SPDX-License-Identifier: MIT

package sched

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/fenv"
	"github.com/natten-mps/natten-mps/core/scratch"
)

// maxWorkers is the maximum number of goroutines in the pool: two per processor, to serve
// concurrent callers, and at least 256.
func maxWorkers() int { return max(256, 2*runtime.GOMAXPROCS(0)) }

// spinFor is how long Run spins, waiting for its workers, before it blocks.
const spinFor = 100 * time.Microsecond

// longestNap is the longest time between two questions whether to give up.
const longestNap = 20 * time.Millisecond

// Job is work in numbered tasks, which goroutines take in order.
type Job struct {
	tasks   int64
	next    atomic.Int64
	do      Tasks
	busy    atomic.Int32   // workers that have not finished
	wait    sync.WaitGroup // for those workers
	engaged []*worker
	failure atomic.Pointer[any] // value of the first panic of a task
}

// Tasks executes the tasks of a job.
//
// Work is called once on every participating goroutine, of which one is that of Run. It takes
// tasks from the job until none is left.
type Tasks interface{ Work(j *Job, caller bool) }

// Take returns the next task, or false when none is left.
func (j *Job) Take() (int64, bool) {
	n := j.next.Add(1) - 1
	return n, n < j.tasks
}

// Failed reports whether a task panicked.
func (j *Job) Failed() bool { return j.failure.Load() != nil }

// work takes tasks until none is left. On a goroutine of the pool a panic would end the
// process, so it is saved for the caller instead, and the remaining tasks are dropped.
func (j *Job) work(caller bool) {
	defer func() {
		if p := recover(); p != nil {
			j.fail(p)
		}
	}()
	j.do.Work(j, caller)
}

// fail drops the remaining tasks and makes Run panic with p, unless a task failed before.
func (j *Job) fail(p any) {
	j.failure.CompareAndSwap(nil, kept(p))
	j.next.Store(j.tasks)
}

// worker is a goroutine that waits for jobs between runs.
type worker struct {
	wake chan struct{} // capacity 1
	job  atomic.Pointer[Job]
}

var pool struct {
	sync.Mutex
	idle  []*worker
	count int
}

func (w *worker) loop() {
	scratch.Stack()
	debug.SetPanicOnFault(true)
	for range w.wake {
		fenv.Default() // other goroutines may share the thread, but none needs another one
		j := w.job.Swap(nil)
		if j == nil {
			continue // the caller finished the job before this goroutine woke
		}
		j.work(false)
		w.rest()
		j.done()
	}
}

func (w *worker) rest() {
	pool.Lock()
	pool.idle = append(pool.idle, w)
	pool.Unlock()
}

// idleWorker returns an idle worker, else a new one, else nil if the pool is at its maximum.
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

// Run executes the job's tasks on up to threads goroutines, including the caller's, and returns
// when all are done. threads may exceed tasks. Run panics if a task did. It does not wait for
// workers that have not woken by the end, which can take long on busy cores. While it waits for
// others it asks interrupted, unless that is nil, whether to give up: then the job fails.
func (j *Job) Run(tasks int64, threads int, do Tasks, interrupted func() bool) {
	j.tasks, j.do = tasks, do
	j.next.Store(0)
	j.engage(int64(threads) - 1)
	j.work(true)
	for _, w := range j.engaged {
		if w.job.CompareAndSwap(j, nil) {
			j.done()
			w.rest()
		}
	}
	if len(j.engaged) > 0 {
		j.await(interrupted)
	}
	j.do = nil
	if p := j.failure.Swap(nil); p != nil {
		panic(*p)
	}
}

// kept returns the value to panic with on the caller's goroutine. Errors are kept unchanged,
// except runtime errors. Everything else becomes text with the stack trace of the failing
// goroutine, which the caller's panic would not show.
func kept(p any) *any {
	if known := core.Known(p); known != nil {
		p = known
	}
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

// await returns when all workers are done. It spins first, because blocking and waking takes
// longer than most workers need to finish.
func (j *Job) await(interrupted func() bool) {
	start := time.Now()
	for j.busy.Load() > 0 && time.Since(start) < spinFor {
	}
	for interrupted != nil && j.busy.Load() > 0 && !j.Failed() {
		time.Sleep(min(time.Since(start)/8, longestNap)) // adds at most an eighth to the wait
		if interrupted() {
			j.fail(core.ErrInterrupted)
		}
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
		default: // an earlier wake-up is still pending, for a job that has ended meanwhile
		}
	}
}
