// SPDX-License-Identifier: MIT

package lower

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// threadWord drops the word thread in two places where clang's C++ for OpenCL is
// stricter than MSL: on a member function, which a temporary would not match, and in a
// const reference, which could not bind to a temporary.
func (l *lowerer) threadWord(i int, prev string) {
	back := func(j int) int {
		for j--; j >= 0 && l.t[j].Kind == Space; j-- {
		}
		return j
	}
	b := back(i)
	if prev == ")" || prev == "const" && b >= 0 && l.is(back(b), ")") {
		if !l.givesThread(b) {
			l.blank(i, i+1)
		}
		return
	}
	isConst := prev == "const"
	for j := i + 1; j < len(l.t); j++ {
		tk := l.t[j]
		switch {
		case tk.Kind == Space || tk.Text == "::" || tk.Text == "typename":
		case tk.Text == "const":
			isConst = true
		case tk.Kind == Ident:
		case tk.Text == "<":
			e, err := l.match(j)
			if err != nil {
				return
			}
			j = e
		case tk.Text == "&":
			if isConst {
				l.blank(i, i+1)
			}
			return
		default:
			return
		}
	}
}

// givesThread reports whether the function whose parameter list ends at or before token i
// returns a reference or pointer to thread memory, which may be to the object itself.
func (l *lowerer) givesThread(i int) bool {
	for i >= 0 && !l.is(i, ")") {
		i--
	}
	if i < 0 {
		return false
	}
	space, points := false, false
	for i = l.opener(i) - 1; i >= 0 && !l.is(i, ";") && !l.is(i, "{") && !l.is(i, "}"); i-- {
		space = space || l.is(i, "thread")
		points = points || !space && (l.is(i, "&") || l.is(i, "*"))
	}
	return space && points
}

// tgvar rewrites  threadgroup T a[N], b;  in a function's body.
func (l *lowerer) tgvar(i int) error {
	end := i
	first := l.sig(i + 1)
	// specifiers: up to the first declarator's name
	var names []int // index of each declarator's identifier
	var cuts []int  // the commas between them
	last := -1
	inSpec := true
	cutInit := map[int]int{} // where a declarator's initializer starts
	for j := first; ; j++ {
		if j >= len(l.t) {
			return l.fail(i, "declaration does not end")
		}
		tk := l.t[j]
		if tk.Kind == Space {
			continue
		}
		if tk.Text == "alignas" {
			e, err := l.match(l.sig(j + 1))
			if err != nil {
				return err
			}
			l.blank(j, e+1)
			if j == first {
				first = l.sig(e + 1)
			}
			j = e
			continue
		}
		if tk.Kind == Ident {
			last = j
			continue
		}
		if tk.Kind == Punct {
			switch tk.Text {
			case "<":
				e, err := l.match(j)
				if err != nil {
					return err
				}
				j = e
				continue
			case "::":
				continue
			case "*", "&":
				return nil // a pointer into threadgroup memory: an ordinary local
			case "(":
				return nil
			case "=": // Apple's compiler accepts = {0}; here the memory stays undefined
				if inSpec {
					names = append(names, last)
					inSpec = false
				}
				k := l.sig(j + 1)
				if !l.is(k, "{") {
					return l.fail(j, "a threadgroup variable cannot have this initializer")
				}
				l.warn(j, "the initializer of threadgroup variable %s is ignored", l.t[names[len(names)-1]].Text)
				e, err := l.match(k)
				if err != nil {
					return err
				}
				cutInit[len(names)-1] = j
				j = e
				continue
			case "[":
				if inSpec {
					names = append(names, last)
					inSpec = false
				}
				e, err := l.match(j)
				if err != nil {
					return err
				}
				j = e
				continue
			case ",", ";":
				if inSpec {
					names = append(names, last)
				}
				inSpec = true
				cuts = append(cuts, j)
				if tk.Text == ";" {
					end = j
				}
			}
			if tk.Text == ";" {
				break
			}
			continue
		}
	}
	spec := l.text(first, names[0])
	var b strings.Builder
	for n, id := range names {
		v := TGVar{len(l.u.TGVars), l.t[id].Text, l.t[id].File, l.t[id].Line}
		l.u.TGVars = append(l.u.TGVars, v)
		stop := cuts[n]
		if c, ok := cutInit[n]; ok {
			stop = c
		}
		dims := l.text(id+1, stop)
		ty := fmt.Sprintf("__msl_tg%d_t", v.ID)
		fmt.Fprintf(&b, "typedef %s %s%s; threadgroup %s& %s = metal::__tgvar<%s, %d>(%d); ", spec, ty, dims, ty, v.Name, ty, v.ID, v.Line)
	}
	l.blank(i, end+1)
	l.out[i] = b.String()
	return nil
}

// fnconst rewrites  constant T name [[function_constant(n)]];
func (l *lowerer) fnconst(i int) error {
	end := i
	at := -1
	for !l.is(end, ";") {
		if end < len(l.t) && l.is(end, "=") {
			for _, c := range l.u.Constants { // clang would compute it once, when the object is loaded
				if _, ok := l.o.Baked[c.Index]; !ok && (l.has(end, ";", c.Name) || l.has(end, ";", "is_function_constant_defined")) {
					return l.fail(i, "a constant made from function constant %s: give the function constants at build time", c.Name)
				}
			}
		}
		if at >= 0 && l.is(end, "=") {
			return l.fail(i, "error: a function constant cannot have an initializer")
		}
		if end >= len(l.t) || l.is(end, "{") || l.is(end, "=") || l.is(end, "(") && at < 0 {
			return nil
		}
		if l.is(end, "[") && l.is(end+1, "[") && at < 0 {
			at = end
		}
		end++
	}
	if at < 0 {
		return nil
	}
	m, _, err := l.attrs(at)
	if err != nil {
		return err
	}
	v, ok := m["function_constant"]
	if !ok {
		return nil
	}
	idx, err := strconv.Atoi(v)
	if err != nil {
		return l.fail(i, "function_constant(%s): not a number", v)
	}
	name := at - 1
	for l.t[name].Kind == Space {
		name--
	}
	c := Constant{l.t[name].Text, l.text(l.sig(i+1), name), idx}
	if err := l.checkConstant(i, c); err != nil {
		return err
	}
	l.u.Constants = append(l.u.Constants, c)
	l.blank(i, end+1)
	val, baked := l.o.Baked[idx]
	switch {
	case baked:
		l.out[i] = fmt.Sprintf("constexpr constant %s %s = %s(%s); enum { __msl_fc_defined_%s = 1 };", c.Type, c.Name, c.Type, val, c.Name)
	default:
		l.out[i] = fmt.Sprintf("extern constant %s %s __asm__(\"__msl_fc_%d\"); extern constant int __msl_fc_defined_%s __asm__(\"__msl_fcd_%d\");", c.Type, c.Name, idx, c.Name, idx)
	}
	return nil
}

// lastConstant is the largest index of a function constant (specification, 5.8.1).
const lastConstant = 65535

var constantType = regexp.MustCompile(`^(const )?(metal::)?(bool|char|uchar|short|ushort|int|uint|long|ulong|u?int(8|16|32|64)_t|half|float|bfloat)[234]?( const)?$`)

// checkConstant refuses a constant that is neither scalar nor vector, or whose index is
// taken.
func (l *lowerer) checkConstant(i int, c Constant) error {
	if !constantType.MatchString(c.Type) {
		return l.fail(i, "error: function constant %s is a %q (want a scalar or a vector)", c.Name, c.Type)
	}
	if c.Index < 0 || c.Index > lastConstant {
		return l.fail(i, "error: function_constant(%d) of %s: want an index from 0 to %d", c.Index, c.Name, lastConstant)
	}
	for _, o := range l.u.Constants {
		if o.Index == c.Index {
			return l.fail(i, "error: %s and %s share function_constant(%d)", o.Name, c.Name, c.Index)
		}
	}
	return nil
}

// has reports whether word comes before stop, from token i on.
func (l *lowerer) has(i int, stop, word string) bool {
	for ; i < len(l.t) && !l.is(i, stop); i++ {
		if l.is(i, word) {
			return true
		}
	}
	return false
}
