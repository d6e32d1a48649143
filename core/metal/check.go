// SPDX-License-Identifier: MIT

package metal

import (
	"fmt"
	"os"
	"strings"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/shaders"
)

// VerifyVariable selects when kernels are checked: "off", "first" (at first use, the
// default) or "always". Here "always" means the same as "first"; the Python package
// compares every call itself.
const VerifyVariable = "NATTEN_MPS_VERIFY"

// checker compares kernels with the reference on small problems before their first
// result is returned. It does so once per machine.
type checker struct {
	mode      string
	reference core.Backend
	verdicts  *verdicts
}

// Against makes the backend compare each kernel with a reference before its first
// use, unless VerifyVariable is "off".
func (b *Backend) Against(reference core.Backend) *Backend {
	b.check = &checker{
		mode: strings.TrimSpace(os.Getenv(VerifyVariable)), reference: reference, verdicts: newVerdicts(),
	}
	return b
}

func (c *checker) wrongMode() error {
	if c == nil {
		return nil
	}
	switch c.mode {
	case "", "off", "first", "always":
		return nil
	}
	return core.Errorf(core.InvalidArgument, "%s is %q (want off, first or always)", VerifyVariable, c.mode)
}

// kernels checks the kernels of a plan in one layout. It returns nil if they are
// correct, core.Unsupported if they compute wrong results, and another error if the
// check itself failed.
func (c *checker) kernels(r *runner, l layout, steps []*preparedStep) error {
	if c == nil || c.mode == "off" {
		return nil
	}
	names := make([]string, len(steps))
	for i, x := range steps {
		source, err := shaders.Source(x.family, x.instance)
		if err != nil {
			return core.Errorf(core.Internal, "%v", err)
		}
		names[i] = kernelKey(x.function, source)
	}
	machine := r.device.Info().identity()
	if why, known := c.verdicts.find(machine, names); known {
		return wrong(why)
	}
	why, err := c.compare(r, l)
	if err != nil {
		return err
	}
	c.verdicts.keep(machine, names, why)
	return wrong(why)
}

func wrong(why string) error {
	if why == "" {
		return nil
	}
	return core.Errorf(core.Unsupported, "%s", why)
}

// compare returns a description of the first wrong result of a plan's kernels, or "".
func (c *checker) compare(r *runner, l layout) (string, error) {
	for _, p := range r.trials(l) {
		e := newExperiment(p, l)
		trial := r.backend.newRunner(p, r.device, r.tune)
		trial.layout = &l
		steps, err := trial.compile(l)
		if err != nil {
			return "", err
		}
		trial.ready[l] = &kernels{steps: steps}
		if err := e.run(c.reference, trial); err != nil {
			return "", err
		}
		if why := e.difference(); why != "" {
			return fmt.Sprintf("%s computes wrongly: %s", trial.names(l), why), nil
		}
	}
	return "", nil
}

// names lists the functions of the kernels for a layout.
func (r *runner) names(l layout) string {
	names := make([]string, len(r.steps))
	for i := range r.steps {
		v := r.steps[i].at(l)
		names[i] = v.instance().Name
	}
	return strings.Join(names, " ")
}
