// SPDX-License-Identifier: MIT

package main

// scoreClass says whether only one row of items meets the first or the last group.
type scoreClass struct{ upper, lower bool }

// scoreClasses lists all classes, the most restrictive first.
var scoreClasses = []scoreClass{{true, true}, {true, false}, {false, true}, {}}

// meets reports whether an item meets group k of n.
func (c scoreClass) meets(item, k, n int) bool {
	return !(c.upper && item >= 2 && k == 0) && !(c.lower && item < 2 && k == n-1)
}
