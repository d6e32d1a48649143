// SPDX-License-Identifier: MIT

package metal

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/tests/conformance"
)

// Runs NATTEN_TEST_RANDOM random problems on the checked simulator. NATTEN_TEST_SEED
// is the seed. This is not a fuzz target because a fuzz worker must answer within ten
// seconds, and the first compilation of a kernel can take longer.
func TestRandomProblems(t *testing.T) {
	count, first := setting(t, "NATTEN_TEST_RANDOM", 12), setting(t, "NATTEN_TEST_SEED", 1)
	plain := newSimulator(t, nil).backend()
	for seed := range uint64(count) {
		b, order := plain, "ascending"
		if seed%5 == 0 {
			order = "shuffled"
			b = newSimulator(t, map[string]string{"order": order, "seed": strconv.FormatUint(seed, 10)}).backend()
			b.wide = seed%10 == 0
		}
		p, sizes := conformance.Random(rand.New(rand.NewPCG(uint64(first), seed)))
		if seed%2 == 1 {
			p, sizes = conformance.RandomRanges(rand.New(rand.NewPCG(uint64(first), seed)))
		}
		if p.DType == core.Float64 {
			p.DType = core.Float32
		}
		t.Run(fmt.Sprintf("seed %d %d %s", first, seed, order), func(t *testing.T) {
			conformance.Check(t, conformance.Backend(b), p, sizes, int(seed))
		})
	}
}

func setting(t *testing.T, name string, otherwise int) int {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, name)
	return n
}
