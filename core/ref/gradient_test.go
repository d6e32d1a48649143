// SPDX-License-Identifier: MIT

package ref_test

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/tests"
)

// direction maps the inputs and outputs of a forward operation to the tensors of its
// backward operation.
type direction struct {
	forward, backward core.Op
	gradients         map[core.Role]core.Role // keyed by input
	cotangents        map[core.Role]core.Role // keyed by output
}

var directions = []direction{
	{
		core.AttnForward, core.AttnBackward,
		map[core.Role]core.Role{
			core.Query: core.DQuery, core.Key: core.DKey, core.Value: core.DValue,
			core.RPB: core.DRPB, core.ExtraKey: core.DExtraKey, core.ExtraValue: core.DExtraValue,
		},
		map[core.Role]core.Role{core.Out: core.DOut, core.LSE: core.DLSE},
	},
	{
		core.QKForward, core.QKBackward,
		map[core.Role]core.Role{
			core.Query: core.DQuery, core.Key: core.DKey, core.RPB: core.DRPB,
			core.ExtraKey: core.DExtraKey,
		},
		map[core.Role]core.Role{core.Attn: core.DAttn},
	},
	{
		core.AVForward, core.AVBackward,
		map[core.Role]core.Role{core.Attn: core.DAttn, core.Value: core.DValue, core.ExtraValue: core.DExtraValue},
		map[core.Role]core.Role{core.Out: core.DOut},
	},
}

func noise(r *rand.Rand, n int) []float64 {
	values := make([]float64, n)
	for i := range values {
		values[i] = r.NormFloat64()
	}
	return values
}

func dot(a, b []float64) (sum float64) {
	for i := range a {
		if !math.IsInf(a[i], 0) { // masked, whatever its cotangent
			sum += a[i] * b[i]
		}
	}
	return sum
}

// Gradients agree with central differences of sum(outputs * cotangents) along a
// random direction of each input.
func TestGradientsAreCentralDifferences(t *testing.T) {
	for _, c := range tests.Cases() {
		if c.Batch == 0 {
			continue
		}
		for _, d := range directions {
			t.Run(fmt.Sprint(c.Name, "/", d.backward), func(t *testing.T) { checkGradients(t, &c, &d) })
		}
	}
}

func checkGradients(t *testing.T, c *tests.Case, d *direction) {
	r := rand.New(rand.NewPCG(1, uint64(d.backward)))
	p := c.Problem(d.forward, core.Float64)
	all := run(t, p, nil, c.FlatSizes()...) // for the sizes
	inputs := tensors{}
	for input := range d.gradients {
		if all[input] != nil {
			inputs[input] = noise(r, len(all[input]))
		}
	}
	forward := run(t, p, inputs, c.FlatSizes()...)
	backwards := maps.Clone(forward)
	for output, cotangent := range d.cotangents {
		backwards[cotangent] = noise(r, len(forward[output]))
	}
	loss := func(inputs tensors) (sum float64) {
		outputs := run(t, p, inputs, c.FlatSizes()...)
		for output, cotangent := range d.cotangents {
			sum += dot(outputs[output], backwards[cotangent])
		}
		return sum
	}
	back := c.Problem(d.backward, core.Float64)
	gradients := run(t, back, backwards, c.FlatSizes()...)
	for input, gradient := range d.gradients {
		if inputs[input] == nil {
			continue
		}
		along := noise(r, len(inputs[input]))
		const h = 1e-5 // third derivatives are of order 10, so the error is about 10 * h^2
		moved := func(by float64) tensors {
			there := maps.Clone(inputs)
			there[input] = make([]float64, len(along))
			for i := range along {
				there[input][i] = inputs[input][i] + by*along[i]
			}
			return there
		}
		numeric := (loss(moved(h)) - loss(moved(-h))) / (2 * h)
		require.InDelta(t, numeric, dot(gradients[gradient], along), 1e-6*math.Max(1, math.Abs(numeric)),
			"%v of %s", gradient, c.Name)
	}
}
