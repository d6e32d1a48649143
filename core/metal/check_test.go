// SPDX-License-Identifier: MIT

package metal

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/ref"
	"github.com/natten-mps/natten-mps/tests"
	"github.com/natten-mps/natten-mps/tests/conformance"
)

// checked returns a backend with its own GPU whose kernels are checked.
func checked(t *testing.T, folder string, settings map[string]string) (*simulator, *Backend) {
	t.Helper()
	t.Setenv(cacheVariable, folder)
	sim := newSimulator(t, settings)
	tune := withoutMatrix(tunings[0])
	b := sim.backend().Against(ref.New())
	b.tune = &tune
	return sim, b
}

// Each miscompilation makes a kernel of the tuned design wrong or impossible. The
// plainer one must replace it, and if that is wrong as well, the plan must be
// refused.
func TestWrongKernelsAreReplaced(t *testing.T) {
	const wrongFactor = "#define NA_LOG2E 1.44=>#define NA_LOG2E 1.5"
	for name, c := range map[string]struct {
		miscompile, only, why string
		plainToo              bool
	}{
		"wrong":            {wrongFactor, "_r22_", "computes wrongly: out differs from the reference by", false},
		"wrong everywhere": {wrongFactor, "", "computes wrongly: out differs from the reference by", true},
		"uncompilable":     {"p.scale * NA_LOG2E=>undeclared", "_r22_", "the GPU refuses attn_fwd_f32_", false},
	} {
		t.Run(name, func(t *testing.T) {
			_, b := checked(t, t.TempDir(), map[string]string{"miscompile": c.miscompile, "miscompile_for": c.only})
			p, sizes := small(core.AttnForward, core.Float32, 2, 16, false)
			plan, err := core.NewPlan([]core.Backend{b}, "metal", p)
			if c.plainToo {
				var known *core.Error
				require.ErrorAs(t, err, &known)
				require.Equal(t, core.Unsupported, known.Status)
				require.ErrorContains(t, err, c.why)
				return
			}
			require.NoError(t, err)
			require.NotContains(t, plan.Variant(), "_r22_")
			_, details := b.Available()
			require.Contains(t, details, c.why)
			conformance.Check(t, conformance.Backend(b), p, sizes, 0)
		})
	}
}

// gaps is the variant of conformance.Check with unaligned rows.
const gaps = 2

// Kernels for a layout that first occurs in a later run are compiled and replaced in
// that run.
func TestRefusedKernelOfALaterLayout(t *testing.T) {
	for name, only := range map[string]string{"tuned": "attn_fwd_f32_d16_e16_g4_r22", "both": "attn_fwd_f32_d16_e16"} {
		t.Run(name, func(t *testing.T) {
			_, b := checked(t, t.TempDir(), map[string]string{
				"miscompile": "p.scale * NA_LOG2E=>undeclared", "miscompile_for": only,
			})
			p, sizes := small(core.AttnForward, core.Float32, 2, 16, false)
			plan, err := core.NewPlan([]core.Backend{b}, "metal", p)
			require.NoError(t, err)
			require.Contains(t, plan.Variant(), "_r22_")
			_, details := b.Available()
			require.NotContains(t, details, "plainer")
			conformance.Check(t, func(_ core.Problem, buffers *core.Buffers) error {
				err = plan.Run(buffers)
				return err
			}, p, sizes, gaps)
			_, details = b.Available()
			if name == "tuned" {
				require.NoError(t, err)
				require.Contains(t, details, "plainer kernels where the tuned ones were refused: the GPU refuses "+only)
				return
			}
			var known *core.Error
			require.ErrorAs(t, err, &known)
			require.Equal(t, core.Unsupported, known.Status)
			require.ErrorContains(t, err, "undeclared")
		})
	}
}

// runsOf returns the number of dispatches during plan creation.
func runsOf(t *testing.T, sim *simulator, b *Backend, p core.Problem) int {
	t.Helper()
	before := 0
	for _, n := range sim.runs {
		before += n
	}
	_, err := core.NewPlan([]core.Backend{b}, "metal", p)
	require.NoError(t, err)
	for _, n := range sim.runs {
		before -= n
	}
	return -before
}

// A kernel is checked once per machine, across all plans and processes. Another
// system, a changed source or an unreadable file leads to a new check.
func TestVerdictsAreKept(t *testing.T) {
	folder := t.TempDir()
	p, _ := small(core.AttnBackward, core.Float32, 1, 16, false)
	sim, b := checked(t, folder, nil)
	require.NotZero(t, runsOf(t, sim, b, p))
	require.Zero(t, runsOf(t, sim, b, p))
	for _, step := range []struct {
		name   string
		asks   bool
		change func(*simulator, *Backend)
	}{
		{"another process", false, func(*simulator, *Backend) {}},
		{"off", false, func(_ *simulator, b *Backend) { b.check.mode = "off" }},
		{"another GPU", true, func(s *simulator, _ *Backend) { s.renamed = "Apple M5" }},
		{"unreadable", true, func(_ *simulator, b *Backend) {
			require.NoError(t, os.WriteFile(b.check.verdicts.path, []byte("{"), 0o600))
		}},
	} {
		sim, b = checked(t, folder, nil)
		step.change(sim, b)
		require.Equal(t, step.asks, runsOf(t, sim, b, p) > 0, step.name)
	}
	var kept map[string]map[string]string
	text, err := os.ReadFile(filepath.Join(folder, "kernels.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &kept))
	require.Len(t, kept, 1)
	for machine, kernels := range kept {
		require.Contains(t, machine, "Apple M4 Max (simulated), Apple9, linux ")
		for kernel, why := range kernels {
			require.Empty(t, why)
			require.Regexp(t, `^[a-z0-9_]+-[0-9a-f]{12}$`, kernel)
		}
	}
}

// A file of JSON that is not ours leads to a new check, too.
func TestFilesThatAreNotVerdicts(t *testing.T) {
	for _, text := range []string{"null", `{"m": null}`, "[]", "5", `{"m": {"a": 1}}`, ""} {
		v := &verdicts{path: filepath.Join(t.TempDir(), "kernels.json")}
		require.NoError(t, os.WriteFile(v.path, []byte(text), 0o600))
		_, known := v.find("m", []string{"a"})
		require.False(t, known, text)
		v.keep("m", []string{"a"}, "")
		_, known = (&verdicts{path: v.path}).find("m", []string{"a"})
		require.True(t, known, text)
	}
}

// A failed plan is remembered, and does not mark kernels that other plans use as
// failed.
func TestFailuresAreKept(t *testing.T) {
	v := &verdicts{path: filepath.Join(t.TempDir(), "new", "kernels.json")}
	v.keep("m", []string{"a", "b"}, "a b computes wrongly")
	v.keep("m", []string{"b"}, "")
	again := &verdicts{path: v.path}
	why, known := again.find("m", []string{"a", "b"})
	require.True(t, known)
	require.Equal(t, "a b computes wrongly", why)
	_, known = again.find("m", []string{"b"})
	require.True(t, known)
	_, known = again.find("m", []string{"a"})
	require.False(t, known)
	_, known = again.find("other", []string{"b"})
	require.False(t, known)
}

func TestUnknownModeOfChecks(t *testing.T) {
	t.Setenv(VerifyVariable, "maybe")
	_, b := checked(t, t.TempDir(), nil)
	p, _ := small(core.AttnForward, core.Float32, 1, 16, false)
	_, err := core.NewPlan([]core.Backend{b}, "metal", p)
	require.EqualError(t, err, `NATTEN_MPS_VERIFY is "maybe" (want off, first or always)`)
}

// The trial problems run exactly the kernels of the large one, are valid, and have
// the features that these kernels permit.
func TestTrialsRunTheSameKernels(t *testing.T) {
	b := New(nil)
	for _, c := range tests.Cases() {
		for op := core.AttnForward; op.Valid(); op++ {
			given := c.Problem(op, core.Float16)
			p, err := given.Normalize()
			require.NoError(t, err)
			for _, tune := range []*tuning{&tunings[0], &plainest} {
				for _, l := range []layout{{vec: 8}, {vec: 1, wide: true}} {
					r := b.newRunner(p, nil, tune)
					for _, trial := range r.trials(l) {
						require.NotNil(t, trial, c.Name)
						require.Equal(t, r.names(l), b.newRunner(trial, nil, tune).names(l), c.Name)
						require.LessOrEqual(t, trial.Outputs(), int64(1500), c.Name)
					}
				}
			}
		}
	}
	p, _ := small(core.AttnForward, core.Float32, 2, 16, false)
	p.Batch, p.Ragged, p.Extra, p.KVHeads = 64, false, 0, 2
	n, err := p.Normalize()
	require.NoError(t, err)
	trials := b.newRunner(n, nil, &tunings[0]).trials(layout{vec: 8})
	plain, rich := trials[0], trials[1]
	require.Equal(t, [3]int64{1, 1, 0}, [3]int64{plain.Batch, plain.Heads, plain.Extra})
	require.Equal(t, [3]int64{2, 2, 3}, [3]int64{rich.Batch, rich.Heads, rich.Extra})
	require.True(t, rich.Ragged && rich.Axes[2].Causal && rich.Axes[1].Dilation == 2 && rich.Axes[1].Stride == 2)
}
