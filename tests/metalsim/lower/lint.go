// SPDX-License-Identifier: MIT

package lower

import (
	"strings"
)

// has reports whether word comes before stop, from token i on.
func (l *lowerer) has(i int, stop, word string) bool {
	for ; i < len(l.t) && !l.is(i, stop); i++ {
		if l.is(i, word) {
			return true
		}
	}
	return false
}

var notVariables = map[string]bool{"using": true, "typedef": true, "template": true, "struct": true, "class": true, "union": true, "enum": true, "namespace": true, "static_assert": true, "friend": true, "constant": true, "}": true, "{": true, "operator": true}

// programScope warns of a variable outside the constant space between decl and ;.
func (l *lowerer) programScope(decl, end int) {
	idents := 0
	for j := decl; j < end; j++ {
		switch tk := l.t[j]; {
		case tk.Kind == Space:
		case notVariables[tk.Text] || tk.Text == "(":
			return // a function, a type, or rightly placed
		case tk.Text == "=" || tk.Text == "[":
			j = end
		case tk.Kind == Ident:
			idents++
		}
	}
	if idents >= 2 {
		l.warn(decl, "program-scope variable outside the constant address space: %s", l.text(decl, end))
	}
}

// lintParam warns of a parameter's pointer that names no address space: the
// shim's compiler would take it for one into the generic space; Metal refuses.
func (l *lowerer) lintParam(decl, i int) {
	open := -1
	depth := 0
	for j := decl; j < i; j++ {
		if l.is(j, "<") {
			depth++
		} else if l.is(j, ">") {
			depth--
		}
	}
	if depth > 0 {
		return // inside a template's parameters or arguments
	}
	for j := i - 1; j >= decl; j-- {
		if l.is(j, ">") {
			d := 0
			for ; j >= decl; j-- {
				if l.is(j, ">") {
					d++
				} else if l.is(j, "<") {
					if d--; d == 0 {
						break
					}
				}
			}
			continue
		}
		if l.t[j].Kind == Space {
			continue
		}
		if l.is(j, "(") || l.is(j, ",") {
			open = j
			break
		}
		if l.t[j].Kind == Punct && !strings.Contains("<>::", l.t[j].Text) {
			return
		}
		if spaces[l.t[j].Text] {
			return
		}
	}
	n := l.sig(i + 1)
	if open < 0 || n >= len(l.t) || l.t[n].Kind != Ident || l.is(l.sig(open+1), "*") {
		return
	}
	if e := l.sig(n + 1); l.is(e, ",") || l.is(e, ")") || l.is(e, "[") {
		l.warn(i, "parameter %s: pointer or reference without an address space", l.t[n].Text)
	}
}
