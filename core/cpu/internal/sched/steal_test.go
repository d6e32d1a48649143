// SPDX-License-Identifier: MIT

package sched

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRowsAreStolenInPairs(t *testing.T) {
	var s Stealable[string]
	s.Publish(4, 20, "rows", false)
	row, end, ok := s.Take(2)
	require.Equal(t, []any{4, 20, true}, []any{row, end, ok})
	from, end, of, ok := s.steal()
	require.Equal(t, []any{12, 20, "rows", true}, []any{from, end, of, ok})
	from, end, _, ok = s.steal()
	require.Equal(t, []any{0, 0, false}, []any{from, end, ok}, "six rows are left")
	for want := 6; want < 12; want += 2 {
		row, end, ok = s.Take(2)
		require.Equal(t, []any{want, 12, true}, []any{row, end, ok})
	}
	_, _, ok = s.Take(2)
	require.False(t, ok)
	s.Publish(0, 100, "", true)
	_, _, _, ok = s.steal()
	require.False(t, ok, "nobody may take rows off")
}

func TestRowsAreStolenFromWhoeverHasMost(t *testing.T) {
	var v Victims[int]
	rows := make([]Stealable[int], 3)
	for i, n := range []int{8, 30, 20} {
		rows[i].Publish(0, n, i, false)
		v.Add(&rows[i])
	}
	for _, want := range []int{1, 2, 1, 2, 0} {
		_, _, of, ok := v.Steal()
		require.True(t, ok)
		require.Equal(t, want, of)
	}
	_, _, _, ok := v.Steal()
	require.False(t, ok, "nobody has eight rows")
}
