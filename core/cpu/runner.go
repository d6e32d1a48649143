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
	plans   []engine.Plan // the separate passes
	whole   engine.Plan   // one pass for all outputs, or nil
	sparse  bool          // outputs may have positions that no walk writes
	large   []large
	runs    sync.Pool
}

func newRunner(p *core.Problem) *runner {
	r := &runner{problem: p, large: largeOutputs(p)}
	r.sparse = p.Ragged || p.SkipsQueries() || p.Ranged() && (p.Writes(core.DKey) || p.Writes(core.DValue))
	if pass, ok := walk.Whole(p); ok {
		r.whole = prepare(p, pass)
	}
	if r.whole == nil || r.whole.Partial() {
		for _, pass := range walk.Passes(p) {
			r.plans = append(r.plans, prepare(p, pass))
		}
	}
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

// all returns every plan, whole first.
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

// ScratchBytes assumes one goroutine per processor. If a job has several plans the estimate is
// doubled: every worker may have grown in each plan, and a released worker may be invisible to
// other goroutines, as sync.Pool has a private slot per processor.
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

// run is one run of a problem. It executes the tasks of its current job.
type run struct {
	runner  *runner
	in      walk.Run
	threads int
	asks    func() bool // whether to end the run, or nil; only for the goroutine of Run
	stages  []stage
	job     sched.Job
	missing []sched.Piece // parts of outputs whose pages are not resident
	victims sched.Victims[walk.Rows]
	done    []atomic.Bool // [task of color 0]
	working atomic.Int32  // goroutines that have a task or stolen rows
}

// stage is a set of tasks of one kind.
type stage struct {
	work work
	plan engine.Plan // of a walking stage
	walk walk.Stage  // other stages use only Count and Number
}

// work says what the tasks of a stage do.
type work uint8

const (
	walking work = iota
	zeroing
	prefaulting
)

// Run implements core.Runner. All walks form one job. Their tasks do not wait for one another,
// except that a task of color 1 waits for its neighbors of color 0.
func (r *runner) Run(b *core.Buffers) (err error) {
	defer scratch.Recover(&err)
	u := r.runs.Get().(*run)
	defer u.release()
	u.in.Problem = r.problem
	for role := range core.NumRoles {
		u.in.Tensors[role] = walk.NewTensor(b.Tensors[role], r.problem.DTypeOf(role))
	}
	u.in.Sizes, u.threads, u.asks = b.Sizes, b.Threads, b.Interrupted
	u.prefault()
	if r.sparse {
		u.zero()
	}
	if r.whole != nil && r.whole.Serves(&u.in) {
		u.beginWhole(r.whole)
		u.finish()
		return nil
	}
	for _, plan := range r.plans {
		u.begin(plan, plan.Walk().Stage(&u.in, 0))
	}
	u.finish()
	return nil
}

func (u *run) release() {
	clear(u.in.Tensors[:])
	clear(u.missing)
	clear(u.stages)
	u.victims.Clear() // goroutines that panicked have left their rows
	u.in.Sizes, u.asks, u.stages = nil, nil, u.stages[:0]
	u.runner.runs.Put(u)
}

// add adds a stage to the job.
func (u *run) add(s stage) {
	s.walk.Number = len(u.stages)
	u.stages = append(u.stages, s)
}

// beginWhole adds the tasks of a plan for all outputs to the job.
func (u *run) beginWhole(plan engine.Plan) {
	w := plan.Walk()
	if w.Joins(u.limit()) {
		u.begin(plan, w.Joined(&u.in))
		return
	}
	for color := range w.Colors() {
		u.begin(plan, w.Stage(&u.in, color))
	}
}

// begin adds a stage of a plan's walk to the job, if a given output needs it.
func (u *run) begin(plan engine.Plan, s walk.Stage) {
	if s.Count > 0 {
		u.add(stage{plan: plan, walk: s})
	}
}

// finish executes the job and stores d_rpb.
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
		if s.walk.Waits() {
			u.forget(s.walk.Count)
		}
	}
	u.working.Store(0)
	if tasks > 0 {
		u.job.Run(tasks, int(min(int64(u.limit()), hands)), u, u.asks)
	}
	for i := range u.stages {
		if s := &u.stages[i].walk; s.Binning {
			u.in.StoreBins(s.Walk)
		}
	}
	u.stages = u.stages[:0]
}

// forget marks all tasks of color 0 as not done.
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
func (u *run) Work(j *sched.Job, caller bool) {
	h := hands.Get().(*hand)
	defer h.release()
	h.run, h.caller, h.done = u, caller, false
	if u.asks != nil {
		h.rows.Pause = h.pause
	}
	u.victims.Add(&h.rows)
	u.working.Add(1)
	took := false
	for n, ok := j.Take(); ok; n, ok = j.Take() {
		scratch.Stack()
		if u.asks != nil {
			h.pause()
		}
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
			_ = sched.Prefault(u.missing[n]) // on failure pages are mapped when written
		}
	}
	u.working.Add(-1)
	h.help(took)
	u.victims.Remove(&h.rows)
	h.done = true
}

// walk executes a task of a walk. Tasks of color 0 come first, so that all of them have begun
// when a task of color 1 waits for its neighbors.
func (u *run) walk(h *hand, s *stage, n int64) {
	if s.walk.Color == 1 {
		for at, end, step := s.walk.Walk.Neighbors(n); at < end; at += step {
			if !h.await(&u.done[at]) {
				return
			}
		}
	}
	h.worker(s).Task(n)
	if s.walk.Waits() {
		u.done[n].Store(true)
	}
}

// spinFor is how long a goroutine polls, either for a task of another goroutine before it starts
// to sleep between polls, or for rows to steal before it gives up.
const spinFor = 100 * time.Microsecond

// pause ends the goroutine's work with a panic if the host wants the run to end.
func (h *hand) pause() {
	if h.run.job.Failed() || h.caller && h.run.asks() {
		panic(core.ErrInterrupted)
	}
}

// await waits until done is set and returns true, or returns false if any task panicked.
func (h *hand) await(done *atomic.Bool) bool {
	for start := time.Now(); !done.Load(); runtime.Gosched() {
		if h.run.job.Failed() {
			return false
		}
		if h.run.asks != nil {
			h.pause()
		}
		if time.Since(start) > spinFor {
			time.Sleep(spinFor / 2)
		}
	}
	return true
}

// hands pools unused hands.
var hands = sync.Pool{New: func() any { return new(hand) }}

// hand is the state of one goroutine during a run: its worker and the stage it works on.
type hand struct {
	run    *run
	rows   sched.Stealable[walk.Rows] // rows that it has not begun
	stolen walk.Rows
	stage  *stage
	own    engine.Worker
	caller bool // the goroutine is that of Run
	done   bool // it ended without a panic
}

// worker returns the hand's worker, prepared for the stage.
func (h *hand) worker(s *stage) engine.Worker {
	if h.stage == s {
		return h.own
	}
	if own := h.own; own != nil {
		h.stage, h.own = nil, nil // if Worker panics, own is already back in its pool
		own.Release()
	}
	h.stage, h.own = s, s.plan.Worker()
	h.own.Begin(s.plan, &h.run.in, &s.walk, &h.rows)
	return h.own
}

// help computes rows that other goroutines have not begun, until none is worth stealing. Tasks
// are large, as packing requires, so the last tasks would otherwise leave goroutines idle. A
// goroutine that took no task may arrive before the others have published their rows, so it
// keeps looking for spinFor.
func (h *hand) help(took bool) {
	u := h.run
	var giveUp time.Time
	if !took { // else the clock is not read, which takes 5 % of the shortest runs
		giveUp = time.Now().Add(spinFor)
	}
	for {
		var from, end int
		var ok bool
		if from, end, h.stolen, ok = u.victims.Steal(); !ok {
			if took || u.working.Load() <= 0 || time.Now().After(giveUp) {
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

// release returns the hand and its worker to their pools. After a panic their state is unknown,
// so the hand is dropped and the worker freed.
func (h *hand) release() {
	switch {
	case h.done && h.own != nil:
		h.own.Release()
	case h.own != nil:
		h.own.Free()
	}
	if h.done {
		h.run, h.stage, h.own, h.rows.Pause = nil, nil, nil, nil
		hands.Put(h)
	}
}
