// SPDX-License-Identifier: MIT

package lower

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// attrs parses the [[...]] groups that start at i and returns what follows them.
func (l *lowerer) attrs(i int) (map[string]string, int, error) {
	m := map[string]string{}
	for {
		i = l.sig(i)
		if !(l.is(i, "[") && l.is(i+1, "[")) {
			return m, i, nil
		}
		end, err := l.match(i)
		if err != nil {
			return nil, 0, err
		}
		for j := l.sig(i + 2); j < end-1; {
			name := l.t[j].Text
			k := l.sig(j + 1)
			val := ""
			if l.is(k, "(") {
				e, err := l.match(k)
				if err != nil {
					return nil, 0, err
				}
				for x := k + 1; x < e; x++ { // adjacent string literals are concatenated
					if l.t[x].Kind == Str && name != "host_name" {
						return nil, 0, l.fail(x, "error: [[%s(%s)]]: want a number", name, l.t[x].Text)
					} else if l.t[x].Kind == Str {
						s, _ := strconv.Unquote(l.t[x].Text)
						val += s
					} else if l.t[x].Kind != Space {
						val += l.t[x].Text
					}
				}
				k = l.sig(e + 1)
			}
			if _, twice := m[name]; twice {
				return nil, 0, l.fail(j, "error: [[%s]] is given twice", name)
			}
			m[name] = val
			if l.is(k, ",") {
				k = l.sig(k + 1)
			}
			if k <= j {
				return nil, 0, l.fail(j, "attribute not understood")
			}
			j = k
		}
		i = end + 1
	}
}

var spaces = map[string]bool{"device": true, "constant": true, "threadgroup": true, "thread": true}

// params parses a parameter list between ( at i and ) at j.
func (l *lowerer) params(i, j int) ([]Arg, error) {
	var args []Arg
	start := i + 1
	for k := i + 1; k <= j; k++ {
		if k < j && l.t[k].Kind == Punct && strings.Contains("([{", l.t[k].Text) {
			e, err := l.match(k)
			if err != nil {
				return nil, err
			}
			k = e
			continue
		}
		if k < j && l.is(k, "<") {
			e, err := l.match(k)
			if err != nil {
				return nil, err
			}
			k = e
			continue
		}
		if k < j && !l.is(k, ",") {
			continue
		}
		a, b := l.sig(start), k
		start = k + 1
		if a >= b {
			continue
		}
		// the declarator's name: the last identifier before [[ or [ or the end
		name := -1
		at := b
		for x := a; x < b; x++ {
			if l.is(x, "[") {
				at = x
				break
			}
			if l.is(x, "<") {
				if e, err := l.match(x); err == nil {
					x = e
					continue
				}
			}
			if l.t[x].Kind == Ident {
				name = x
			}
		}
		if name < 0 {
			return nil, l.fail(a, "parameter not understood: %s", l.text(a, b))
		}
		m, _, err := l.attrs(at)
		if err != nil {
			return nil, err
		}
		g := Arg{Name: l.t[name].Text, Type: l.text(a, name), Index: -1}
		for n, v := range m {
			if g.Kind != "" && n != "function_constant" {
				return nil, l.fail(a, "error: %s has more than one attribute that says what it is", g.Name)
			}
			switch {
			case n == "buffer" || n == "threadgroup":
				idx, err := strconv.Atoi(v)
				if err != nil {
					return nil, l.fail(a, "[[%s(%s)]]: not a number", n, v)
				}
				if idx < 0 {
					return nil, l.fail(a, "error: [[%s(%s)]]: want an index from 0 to 30", n, v)
				}
				g.Kind, g.Index = n, idx
			case n == "function_constant":
				g.Optional = v
			case builtin(n) >= 0:
				g.Kind = n
			}
		}
		if g.Kind == "" && len(m) == 0 && strings.ContainsAny(g.Type, "*&") {
			g.Kind = "buffer" // indices are assigned below
			if strings.Contains(g.Type, "threadgroup") {
				g.Kind = "threadgroup"
			}
		}
		if g.Kind == "" {
			return nil, l.fail(a, "kernel parameter %s has no attribute this shim knows: %v", g.Name, m)
		}
		args = append(args, g)
	}
	used := map[string]bool{}
	for _, a := range args {
		used[fmt.Sprint(a.Kind, a.Index)] = true
	}
	for i := range args {
		if a := &args[i]; a.Index < 0 && (a.Kind == "buffer" || a.Kind == "threadgroup") {
			for a.Index = 0; used[fmt.Sprint(a.Kind, a.Index)]; a.Index++ {
			}
			used[fmt.Sprint(a.Kind, a.Index)] = true
		}
	}
	return args, nil
}

// Limits of the Metal feature tables that a Mac's compiler enforces.
func (l *lowerer) check(i int, k Kernel) error {
	seen := map[string]string{}
	for _, a := range k.Args {
		switch a.Kind {
		case "buffer", "threadgroup":
			if a.Index > 30 {
				return l.fail(i, "%s: [[%s(%d)]]: the last index is 30", a.Name, a.Kind, a.Index)
			}
			key := fmt.Sprint(a.Kind, a.Index)
			if o, ok := seen[key]; ok && a.Optional == "" {
				return l.fail(i, "%s and %s share [[%s(%d)]]", o, a.Name, a.Kind, a.Index)
			}
			seen[key] = a.Name
			if !strings.ContainsAny(a.Type, "*&") {
				return l.fail(i, "%s: a [[%s]] argument is a pointer or a reference", a.Name, a.Kind)
			}
			words := strings.Fields(a.Type)
			if !slices.ContainsFunc(words, func(w string) bool { return spaces[w] }) {
				return l.fail(i, "%s: pointer without an address space", a.Name)
			}
			if slices.Contains(words, "threadgroup") != (a.Kind == "threadgroup") {
				return l.fail(i, "error: [[%s]] does not go with %s of %s", a.Kind, a.Name, a.Type)
			}
		default:
			scalar := strings.Contains(a.Kind, "index") || strings.Contains(a.Kind, "simdgroup") && !strings.Contains(a.Kind, "position") || a.Kind == "thread_execution_width"
			t := strings.TrimSpace(strings.TrimPrefix(a.Type, "const "))
			ok := t == "uint" || t == "ushort"
			if !scalar {
				ok = ok || t == "uint2" || t == "uint3" || t == "ushort2" || t == "ushort3"
			}
			if !ok {
				return l.fail(i, "%s: [[%s]] cannot be %q", a.Name, a.Kind, a.Type)
			}
		}
	}
	// Metal requires the grid attributes of a kernel to have the same vector width.
	w := ""
	for _, a := range k.Args {
		if strings.HasPrefix(a.Kind, "thread_position") || strings.HasPrefix(a.Kind, "threadgroup_position") || strings.HasPrefix(a.Kind, "threads_per_grid") || strings.HasPrefix(a.Kind, "threads_per_threadgroup") || a.Kind == "threadgroups_per_grid" {
			c := a.Type[len(a.Type)-1:]
			if !strings.Contains("23", c) {
				c = "1"
			}
			if w == "" {
				w = c
			} else if w != c {
				return l.fail(i, "%s: grid attributes of one kernel must have the same number of components", a.Name)
			}
		}
	}
	return nil
}
