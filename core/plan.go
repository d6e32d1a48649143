// SPDX-License-Identifier: MIT

package core

// Plan is a problem with all decisions made. It may run on several goroutines at
// once.
type Plan struct {
	Problem *Problem // normalized
	Backend string
	checks  []roleCheck
	runner  Runner
}

// NewPlan prepares a problem on the backend of that name (Auto: the first that
// takes it).
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

// Run computes. Strides of b are those of natten_mps_args, for the problem's
// rank; Run rewrites them, so b is not to be reused as it is.
func (p *Plan) Run(b *Buffers) error {
	if err := p.Accept(b); err != nil {
		return err
	}
	return p.runner.Run(b)
}

// Accept does to b what Run does before it computes.
func (p *Plan) Accept(b *Buffers) error { return p.Problem.accept(p.checks, b) }

// Runner is what the backend prepared.
func (p *Plan) Runner() Runner { return p.runner }

// Variant names the kernels chosen.
func (p *Plan) Variant() string { return p.runner.Variant() }

// ScratchBytes is an upper bound, in bytes, of a run's temporary memory.
func (p *Plan) ScratchBytes() int64 { return p.runner.ScratchBytes() }
