// SPDX-License-Identifier: MIT

package core

// Plan is a problem for which every decision has been made. Several goroutines may
// run it at once.
type Plan struct {
	Problem *Problem // normalized
	Backend string
	checks  []roleCheck
	runner  Runner
}

// NewPlan prepares a problem on the backend called name. Auto selects the first
// backend that supports it.
func NewPlan(backends []Backend, name string, problem Problem) (*Plan, error) {
	p, err := problem.Normalize()
	if err != nil {
		return nil, err
	}
	backend, err := Choose(backends, name, p)
	if err != nil {
		return nil, err
	}
	runner, err := backend.Prepare(p)
	if err != nil {
		return nil, err
	}
	return &Plan{Problem: p, Backend: backend.Name(), checks: p.roleChecks(), runner: runner}, nil
}

// Run computes the plan. The strides in b follow natten_mps_args and the problem's
// rank. Run rewrites them, so b cannot be passed again unchanged.
func (p *Plan) Run(b *Buffers) error {
	if err := p.Accept(b); err != nil {
		return err
	}
	return p.runner.Run(b)
}

// Accept checks and rewrites b as Run does before it computes.
func (p *Plan) Accept(b *Buffers) error { return p.Problem.accept(p.checks, b) }

// Runner returns what the backend prepared.
func (p *Plan) Runner() Runner { return p.runner }

// Variant names the kernels chosen.
func (p *Plan) Variant() string { return p.runner.Variant() }

// ScratchBytes is an upper bound, in bytes, of a run's temporary memory.
func (p *Plan) ScratchBytes() int64 { return p.runner.ScratchBytes() }
