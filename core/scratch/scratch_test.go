// SPDX-License-Identifier: MIT

package scratch

import (
	"errors"
	"math"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
)

func TestGrow(t *testing.T) {
	m, before := New(), Held()
	var small, large []float32
	Grow(m, &small, 100)
	Grow(m, &large, 100_000)
	require.Len(t, small, 100)
	require.Len(t, large, 100_000)
	require.EqualValues(t, Bytes[float32](100, 100_000), Held()-before)
	large[99_999] = 3
	Grow(m, &large, 10)
	require.Len(t, large, 10)
	Grow(m, &large, 100_000)
	require.EqualValues(t, 3, large[99_999], "the same memory")
	Grow(m, &small, 150)
	require.Len(t, small, 150)
	Grow(m, &small, 200_000)
	Grow(m, &large, 300_000)
	require.EqualValues(t, Bytes[float32](200_000, 300_000), Held()-before, "what they had is given back")
	large[299_999] = 1
	m.Free()
	require.Equal(t, before, Held())
}

// Unreachable memory returns to the system.
func TestForgottenMemory(t *testing.T) {
	before := Held()
	func() {
		var s []float64
		Grow(New(), &s, 1<<20)
		require.Greater(t, Held(), before)
	}()
	for range 1000 {
		if runtime.GC(); Held() == before {
			return
		}
		runtime.Gosched()
	}
	t.Errorf("%d bytes are held by nobody", Held()-before)
}

func growTo(n int) (err error) {
	defer Recover(&err)
	var s []float64
	Grow(New(), &s, n)
	return nil
}

func TestRefusedMemory(t *testing.T) {
	before := Held()
	sizes := []int{math.MaxInt/8 - 1000, math.MaxInt / 8, math.MaxInt/8 + 1, math.MaxInt}
	if !onHeap {
		sizes = append(sizes, math.MaxInt/8-pageBytes, math.MaxInt/16)
	}
	for _, n := range sizes {
		err := growTo(n)
		var known *core.Error
		require.ErrorAs(t, err, &known)
		require.Equal(t, core.OutOfMemory, known.Status)
		require.ErrorContains(t, err, "the system refuses temporary memory (want")
	}
	require.NoError(t, growTo(1<<20))
	for range 1000 {
		if runtime.GC(); Held() == before {
			return
		}
	}
	t.Error("memory is lost")
}

// Recover handles only the panics of Grow.
func TestOtherPanicsGoOn(t *testing.T) {
	var err error
	require.PanicsWithError(t, "another", func() {
		defer Recover(&err)
		panic(errors.New("another"))
	})
	require.NoError(t, err)
}
