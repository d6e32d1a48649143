// SPDX-License-Identifier: MIT

// Package ref computes every operation directly from its definition, in float64
// and without regard to speed. The fast backends are tested against it, and it is
// the fallback for problems that none of them supports.
package ref

import (
	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/scratch"
)

type backend struct{}

// New returns the backend "reference".
func New() core.Backend { return backend{} }

func (backend) Name() string { return "reference" }

func (backend) Available() (bool, string) { return true, "float64, one thread, any processor" }

func (backend) Unsupported(p *core.Problem) []string {
	if p.Memory != core.Host {
		return []string{"memory is a GPU's (want host memory)"}
	}
	return nil
}

func (backend) Prepare(p *core.Problem) (core.Runner, error) { return &runner{p}, nil }

type runner struct{ problem *core.Problem }

func (r *runner) Variant() string { return "float64" }

// ScratchBytes counts the float64 arrays in which gradients are accumulated, and the weights
// of a row.
func (r *runner) ScratchBytes() int64 {
	bytes := int64(scratch.Bytes[float64](int(r.problem.Slots())))
	for _, role := range gradients[r.problem.Op] {
		elements := int64(1)
		for _, n := range r.problem.Shape(role) {
			elements *= n
		}
		bytes += int64(scratch.Bytes[float64](int(elements)))
	}
	return bytes
}

// operations maps each operation to the method that computes one row.
var operations = map[core.Op]func(*run, *row){
	core.AttnForward:  (*run).attnForward,
	core.AttnBackward: (*run).attnBackward,
	core.QKForward:    (*run).qkForward,
	core.QKBackward:   (*run).qkBackward,
	core.AVForward:    (*run).avForward,
	core.AVBackward:   (*run).avBackward,
}

// gradients lists the outputs of each operation that are accumulated over several rows.
var gradients = map[core.Op][]core.Role{
	core.AttnBackward: {core.DQuery, core.DKey, core.DValue, core.DRPB, core.DExtraKey, core.DExtraValue},
	core.QKBackward:   {core.DQuery, core.DKey, core.DRPB, core.DExtraKey},
	core.AVBackward:   {core.DValue, core.DExtraValue},
}

func (r *runner) Run(b *core.Buffers) (err error) {
	defer scratch.Recover(&err)
	p := r.problem
	run := &run{problem: p, memory: scratch.New()}
	defer run.memory.Free()
	for role := range core.NumRoles {
		run.tensors[role] = newTensor(p, b, role)
	}
	for _, role := range gradients[p.Op] {
		if b.Given(role) {
			run.sums[role] = newSum(run.memory, p.Shape(role))
		}
	}
	compute := operations[p.Op]
	for sample := range p.Batch {
		axes := p.SampleAxes(b.Sizes, sample)
		eachPosition(p.Axes[0].Outputs(), p.Axes[1].Outputs(), p.Axes[2].Outputs(), func(out [3]int64) {
			for head := range p.Heads {
				if b.Interrupted != nil && b.Interrupted() {
					panic(core.ErrInterrupted) // for Recover
				}
				compute(run, newRow(p, &axes, sample, head, out))
			}
		})
	}
	for role, sum := range run.sums {
		if sum != nil {
			sum.store(&run.tensors[role])
		}
	}
	return nil
}
