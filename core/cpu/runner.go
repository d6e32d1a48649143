// SPDX-License-Identifier: MIT

package cpu

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/engine"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/core/cpu/internal/sched"
	"github.com/natten-mps/natten-mps/core/cpu/internal/walk"
	"github.com/natten-mps/natten-mps/core/scratch"
)

// serialWork is the number of multiply-adds up to which a second goroutine costs
// more than it saves.
const serialWork = 1 << 17

// runner is a prepared problem.
type runner struct {
	problem *core.Problem
	plans   []engine.Plan // of single outputs
	whole   engine.Plan   // of all outputs at once, or nil
	sparse  bool          // some positions of outputs may belong to no item
	large   []large
	runs    sync.Pool
}

func newRunner(p *core.Problem) *runner {
	r := &runner{problem: p, sparse: p.Ragged, large: largeOutputs(p)}
	if pass, ok := walk.Whole(p); ok {
		r.whole = prepare(p, pass)
	}
	if r.whole == nil || r.whole.Partial() {
		for _, pass := range walk.Passes(p) {
			r.plans = append(r.plans, prepare(p, pass))
		}
	}
	for a := range p.Axes {
		r.sparse = r.sparse || p.Axes[a].QueryStep > 1
	}
	r.sparse = r.sparse || p.Ranged() && (p.Writes(core.DKey) || p.Writes(core.DValue))
	r.runs.New = func() any {
		scratch.Room()
		return &run{runner: r}
	}
	return r
}

// prepare returns the plan of the first engine that takes the pass, or nil.
func prepare(p *core.Problem, pass walk.Pass) engine.Plan {
	for _, e := range engines {
		if plan, why := e.Prepare(p, pass, kern.Active()); why == "" {
			return plan
		}
	}
	return nil
}

// all are all plans.
func (r *runner) all() []engine.Plan {
	if r.whole == nil {
		return r.plans
	}
	return append([]engine.Plan{r.whole}, r.plans...)
}

// Variant implements core.Runner.
func (r *runner) Variant() string {
	name := "portable"
	if k := kern.Active(); k != nil && r.problem.DType != core.Float64 {
		name = k.Name
	}
	return name + r.all()[0].Variant()
}

// ScratchBytes counts on one goroutine per processor. Where a job has several plans, a
// goroutine may give a worker back that no other one finds (sync.Pool has one place for
// every processor that others do not see), and workers may have grown in each plan.
func (r *runner) ScratchBytes() int64 {
	processors, together := runtime.GOMAXPROCS(0), 0
	for _, plan := range r.plans {
		together += plan.Scratch()
	}
	together *= processors
	if len(r.plans) > 1 {
		together *= 2
	}
	for _, plan := range r.plans {
		together += plan.Walk().BinBytes()
	}
	if r.whole == nil {
		return int64(together)
	}
	return int64(max(together, r.whole.Scratch()*processors+r.whole.Walk().BinBytes()))
}

// run is one run of a problem. It is the tasks of the job in hand.
type run struct {
	runner  *runner
	in      walk.Run
	threads int
	stages  []stage
	job     sched.Job
	missing []sched.Piece // of outputs, without pages yet
	victims sched.Victims[walk.Rows]
	done    []atomic.Bool // tasks of color 0
	working atomic.Int32  // goroutines that have a task, or rows
}

// stage is the tasks of a job that are alike.
type stage struct {
	work work
	plan engine.Plan // of walking
	walk walk.Stage
}

// work is what the tasks of a stage do.
type work uint8

const (
	walking work = iota
	zeroing
	prefaulting
)

// Run implements core.Runner. All walks are one job, whose tasks write different tensors
// and do not wait for one another; but a task of color 1 waits for its neighbors of color 0.
func (r *runner) Run(b *core.Buffers) (err error) {
	defer scratch.Recover(&err)
	u := r.runs.Get().(*run)
	defer u.release()
	u.in.Problem = r.problem
	for role := range core.NumRoles {
		u.in.Tensors[role] = walk.NewTensor(b.Tensors[role], r.problem.DTypeOf(role))
	}
	u.in.Sizes, u.threads = b.Sizes, b.Threads
	u.prefault()
	if r.sparse {
		u.zero()
	}
	if r.whole != nil && r.whole.Serves(&u.in) {
		for color := range r.whole.Walk().Colors() {
			u.begin(r.whole, color)
		}
		u.finish()
		return nil
	}
	for _, plan := range r.plans {
		u.begin(plan, 0)
	}
	u.finish()
	return nil
}

func (u *run) release() {
	clear(u.in.Tensors[:])
	clear(u.missing)
	clear(u.stages)
	u.victims.Clear() // of goroutines that panicked
	u.in.Sizes, u.stages = nil, u.stages[:0]
	u.runner.runs.Put(u)
}

// add adds a stage to the job.
func (u *run) add(s stage) {
	s.walk.Number = len(u.stages)
	u.stages = append(u.stages, s)
}

// begin adds the tasks of a plan to the job, unless no given output needs them.
func (u *run) begin(plan engine.Plan, color int) {
	if s := plan.Walk().Stage(&u.in, color); s.Count > 0 {
		u.add(stage{plan: plan, walk: s})
	}
}

// finish does the job.
func (u *run) finish() {
	var tasks, hands int64
	for i := range u.stages {
		s := &u.stages[i]
		tasks += s.walk.Count
		if s.work != walking {
			hands += s.walk.Count
			continue
		}
		hands += s.walk.Walk.Hands(s.walk.Count)
		if s.waits() {
			u.forget(s.walk.Count)
		}
	}
	u.working.Store(0)
	if tasks > 0 {
		u.job.Run(tasks, int(min(int64(u.limit()), hands)), u)
	}
	for i := range u.stages {
		if s := &u.stages[i].walk; s.Binning {
			u.in.StoreBins(s.Walk)
		}
	}
	u.stages = u.stages[:0]
}

// forget makes so many tasks of color 0 not done.
func (u *run) forget(tasks int64) {
	if int64(len(u.done)) < tasks {
		u.done = make([]atomic.Bool, tasks)
	}
	for i := range u.done {
		u.done[i].Store(false)
	}
}

// limit is the number of goroutines worth using.
func (u *run) limit() int {
	if walk.MultiplyAdds(u.in.Problem) < serialWork {
		return 1
	}
	return u.threads
}

// Work implements sched.Tasks.
func (u *run) Work(j *sched.Job) {
	h := hands.Get().(*hand)
	defer h.release()
	h.run, h.done = u, false
	u.victims.Add(&h.rows)
	u.working.Add(1)
	took := false
	for n, ok := j.Take(); ok; n, ok = j.Take() {
		scratch.Stack()
		took = true
		s := &u.stages[0]
		for i := 1; n >= s.walk.Count; i++ {
			n -= s.walk.Count
			s = &u.stages[i]
		}
		switch s.work {
		case walking:
			u.walk(h, s, n)
		case zeroing:
			u.zeroSample(int(n))
		case prefaulting:
			_ = sched.Prefault(u.missing[n]) // otherwise pages come when they are written
		}
	}
	u.working.Add(-1)
	h.help(took)
	u.victims.Remove(&h.rows)
	h.done = true
}

// waits reports whether tasks of color 1 wait for those of the stage.
func (s *stage) waits() bool { return s.walk.Walk.Colored && s.walk.Color == 0 }

// walk does a task of a walk. Tasks of color 0 come first, so that all have begun when one of
// color 1 waits for its neighbors among them.
func (u *run) walk(h *hand, s *stage, n int64) {
	if s.walk.Color == 1 {
		for at, end, step := s.walk.Walk.Neighbors(n); at < end; at += step {
			if !u.await(&u.done[at]) {
				return
			}
		}
	}
	h.worker(s).Task(n)
	if s.waits() {
		u.done[n].Store(true)
	}
}

// spinFor is how long a goroutine looks for what others do before it sleeps in between, or leaves.
const spinFor = 100 * time.Microsecond

// await returns true when a task is done, or false when one panicked.
func (u *run) await(done *atomic.Bool) bool {
	for start := time.Now(); !done.Load(); runtime.Gosched() {
		if u.job.Failed() {
			return false
		}
		if time.Since(start) > spinFor {
			time.Sleep(spinFor / 2)
		}
	}
	return true
}

// hands are those that no goroutine has.
var hands = sync.Pool{New: func() any { return new(hand) }}

// hand is what a goroutine has in hand: a worker in a stage.
type hand struct {
	run    *run
	rows   sched.Stealable[walk.Rows] // that it has not begun
	stolen walk.Rows
	stage  *stage
	own    engine.Worker
	done   bool // no task panicked
}

// worker returns a worker that is in the stage.
func (h *hand) worker(s *stage) engine.Worker {
	if h.stage == s {
		return h.own
	}
	if h.own != nil {
		h.own.Release()
	}
	h.stage, h.own = s, s.plan.Worker()
	h.own.Begin(s.plan, &h.run.in, &s.walk, &h.rows)
	return h.own
}

// help computes rows that other goroutines have not begun until none are left that are
// worth it. Tasks are as large as packing wants them, so the last of them would otherwise
// leave goroutines idle. One that took no task may be before the others, which have not yet
// said what rows they have.
func (h *hand) help(took bool) {
	u, start := h.run, time.Now()
	for {
		var from, end int
		var ok bool
		if from, end, h.stolen, ok = u.victims.Steal(); !ok {
			if took || u.working.Load() <= 0 || time.Since(start) > spinFor {
				return
			}
			runtime.Gosched()
			continue
		}
		took = true
		u.working.Add(1)
		h.worker(&u.stages[h.stolen.Stage]).Rows(&h.stolen, from, end)
		u.working.Add(-1)
	}
}

// release gives the hand and its worker back to their pools, or if a task panicked to
// nobody: then who knows what state they are in.
func (h *hand) release() {
	switch {
	case h.done && h.own != nil:
		h.own.Release()
	case h.own != nil:
		h.own.Free()
	}
	if h.done {
		h.run, h.stage, h.own = nil, nil, nil
		hands.Put(h)
	}
}
