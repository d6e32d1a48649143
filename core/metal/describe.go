// SPDX-License-Identifier: MIT

package metal

import (
	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/shaders"
)

// Describer is a Runner that tells its work to a host that launches it itself.
type Describer interface {
	// Describe calls visit with the job that Run would give to the device. The job is
	// the runner's again when visit returns.
	Describe(b *core.Buffers, visit func(*Job) error) error
	// Source is the MSL text with a function that such a job names.
	Source(function string) (string, error)
}

// Describe implements Describer.
func (r *runner) Describe(b *core.Buffers, visit func(*Job) error) error {
	if r.problem.Batch == 0 {
		return visit(&Job{Memory: r.problem.Memory})
	}
	j := r.jobs.Get().(*runJob)
	defer r.jobs.Put(j)
	if err := r.fill(j, b); err != nil {
		return err
	}
	return visit(&j.job)
}

// Source implements Describer.
func (r *runner) Source(function string) (string, error) {
	for i := range r.steps {
		for _, l := range []layout{{}, {vec: true}, {wide: true}, {wide: true, vec: true}} {
			v := r.steps[i].at(l)
			if instance := v.instance(); instance.Name == function {
				return shaders.Source(v.family, instance)
			}
		}
	}
	return "", core.Errorf(core.InvalidArgument,
		"function %q is none of this plan's (want a name from natten_mps_plan_launch)", function)
}
