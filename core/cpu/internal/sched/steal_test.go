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
