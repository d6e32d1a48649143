// SPDX-License-Identifier: MIT

package core

import "strings"

// Backend runs problems on some hardware.
type Backend interface {
	// Name is the name by which a user selects the backend.
	Name() string
	// Available describes what the backend found on this machine, or why it cannot
	// run.
	Available() (ok bool, details string)
	// Unsupported returns the reasons why a normalized problem cannot be computed.
	// Without reasons, Prepare accepts the problem.
	Unsupported(p *Problem) []string
	// Prepare makes every decision about a normalized problem.
	Prepare(p *Problem) (Runner, error)
}

// Runner is a prepared problem. Several goroutines may run it at once.
type Runner interface {
	// Run reads and writes checked buffers whose strides cover three axes. Outputs
	// are complete on return, except for GPU memory when the work runs in the stream
	// of a host such as PyTorch.
	Run(b *Buffers) error
	// Variant names the kernels chosen.
	Variant() string
	// ScratchBytes is an upper bound, in bytes, of a run's temporary memory.
	ScratchBytes() int64
}

// Auto names the first backend that supports the problem.
const Auto = "auto"

// Choose returns the backend called name or, for Auto, the first one that supports
// the problem. If none does, the error lists every reason.
func Choose(backends []Backend, name string, p *Problem) (Backend, error) {
	var reasons, names []string
	for _, b := range backends {
		names = append(names, b.Name())
		if name != Auto && name != b.Name() {
			continue
		}
		why := b.Unsupported(p)
		if len(why) == 0 {
			return b, nil
		}
		reasons = append(reasons, b.Name()+": "+strings.Join(why, "; "))
	}
	if len(reasons) == 0 {
		return nil, invalid("backend %q is unknown (want %s or %s)", name, Auto, strings.Join(names, ", "))
	}
	return nil, Errorf(Unsupported, "no backend takes this problem: %s", strings.Join(reasons, " | "))
}
