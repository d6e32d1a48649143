// SPDX-License-Identifier: MIT

// Package lower translates flattened MSL text (the output of clang -E with line
// markers) to a translation unit that an unmodified compiler accepts with the shim's
// header. It changes four things and leaves every other token in place:
//
//   - a threadgroup variable becomes a reference to memory that the runtime owns;
//   - a function constant becomes an extern that the runtime sets (or a literal);
//   - an explicit instantiation loses its attributes, after host_name is recorded;
//   - one entry function per kernel and a dispatch table follow the text.
package lower

import (
	"fmt"
	"regexp"
	"sort"
	"strings"
)

// Arg is a kernel's parameter.
type Arg struct {
	Name, Type string
	Kind       string // "buffer", "threadgroup" or a builtin's attribute
	Index      int
	Optional   string // function constant that enables it
}

// Kernel is a function that a host can launch.
type Kernel struct {
	Host      string // name that the host uses
	Func      string // C++ name with any template arguments
	Args      []Arg
	MaxTotal  int
	File      string
	Line      int
	template  bool
	attribute string
}

// Constant is a function constant.
type Constant struct {
	Name, Type string
	Index      int
}

// TGVar is a threadgroup variable.
type TGVar struct {
	ID   int
	Name string
	File string
	Line int
}

// Unit is a lowered source.
type Unit struct {
	Kernels   []Kernel
	Constants []Constant
	TGVars    []TGVar
	Warnings  []string
	Places    map[string]bool // all kernels and kernel templates, as NAME FILE:LINE
	Text      string
}

// Options says what to lower.
type Options struct {
	File  string
	Baked map[int]string // function constants given at compile time

	NoBfloat bool // whether the language is older than 3.1
}

// Builtins that a thread receives, with their codes in the runtime.
var Builtins = []string{
	"thread_position_in_grid", "thread_position_in_threadgroup", "threadgroup_position_in_grid",
	"threads_per_grid", "threads_per_threadgroup", "threadgroups_per_grid",
	"thread_index_in_threadgroup", "thread_index_in_simdgroup", "simdgroup_index_in_threadgroup",
	"threads_per_simdgroup", "simdgroups_per_threadgroup", "dispatch_threads_per_threadgroup",
	"thread_execution_width", "dispatch_simdgroups_per_threadgroup",
}

func builtin(s string) int {
	for i, b := range Builtins {
		if b == s {
			return i
		}
	}
	return -1
}

type lowerer struct {
	t    []Token
	out  []string // replacement text, by token
	u    *Unit
	o    Options
	tmpl map[string]Kernel // template kernels, by function name
}

func (l *lowerer) fail(i int, f string, a ...any) error {
	return fmt.Errorf("%s:%d: %s", l.t[i].File, l.t[i].Line, fmt.Sprintf(f, a...))
}

func (l *lowerer) warn(i int, f string, a ...any) {
	l.u.Warnings = append(l.u.Warnings, l.fail(i, f, a...).Error())
}

// next significant token at or after i
func (l *lowerer) sig(i int) int {
	for i < len(l.t) && l.t[i].Kind == Space {
		i++
	}
	return i
}

func (l *lowerer) is(i int, s string) bool {
	return i < len(l.t) && l.t[i].Text == s && l.t[i].Kind != Str
}

// match returns the index of the token that closes the bracket at i.
func (l *lowerer) match(i int) (int, error) {
	close := map[string]string{"(": ")", "[": "]", "{": "}", "<": ">"}[l.t[i].Text]
	open := l.t[i].Text
	d := 0
	for j := i; j < len(l.t); j++ {
		if l.t[j].Kind != Punct {
			continue
		}
		s := l.t[j].Text
		switch {
		case s == open:
			d++
		case s == close:
			if d--; d == 0 {
				return j, nil
			}
		case open == "<" && s == "(":
			k, err := l.match(j)
			if err != nil {
				return 0, err
			}
			j = k
		}
	}
	return 0, l.fail(i, "no %s closes this %s", close, open)
}

var vectorName = regexp.MustCompile(`^(char|uchar|short|ushort|int|uint|long|ulong|half|float|bfloat)[234]$`)

func (l *lowerer) textAt(i int) string {
	if i = l.sig(i); i < len(l.t) {
		return l.t[i].Text
	}
	return ""
}

func (l *lowerer) text(i, j int) string {
	var b strings.Builder
	for ; i < j; i++ {
		if l.t[i].Kind == Space {
			b.WriteByte(' ')
		} else {
			b.WriteString(l.t[i].Text)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func (l *lowerer) blank(i, j int) {
	for ; i < j; i++ {
		if l.t[i].Kind != Space {
			l.out[i] = ""
		}
	}
}

// Lower does the work described at the top of this file.
func Lower(text string, o Options) (*Unit, error) {
	l := &lowerer{t: Tokenize(text, o.File), u: &Unit{Places: map[string]bool{}}, o: o, tmpl: map[string]Kernel{}}
	l.out = make([]string, len(l.t))
	for i := range l.t {
		l.out[i] = l.t[i].Text
	}
	if err := l.words(); err != nil {
		return nil, err
	}
	if err := l.pointers(); err != nil {
		return nil, err
	}
	var stack []bool // for each open brace, whether it is a function's body or inside one
	inFn := func() bool { return len(stack) > 0 && stack[len(stack)-1] }
	prev := "" // text of the last significant token
	declStart := 0
	isKernel := false // the function whose body this is
	for i := 0; i < len(l.t); i++ {
		tk := l.t[i]
		if tk.Kind == Space {
			continue
		}
		if prev == "" || prev == ";" || prev == "{" || prev == "}" || prev == ":" && !inFn() {
			declStart = i
			if !inFn() {
				isKernel = false
			}
		}
		switch {
		case tk.Text == "{":
			// a function's body follows ) or a [[...]] after it; anything inside a body counts, too
			stack = append(stack, inFn() || prev == ")" || prev == "const" || prev == "]" || spaces[prev])
		case tk.Text == "}":
			if len(stack) > 0 {
				stack = stack[:len(stack)-1]
			}
		case tk.Text == "threadgroup" && inFn() && (prev == ";" || prev == "{" || prev == "}"):
			n := len(l.u.TGVars)
			if err := l.tgvar(i); err != nil {
				return nil, err
			}
			if len(l.u.TGVars) > n && !isKernel {
				return nil, l.fail(i, "error: threadgroup variable outside a kernel function")
			}
		case tk.Text == "constant" && !inFn() && i == declStart:
			if err := l.fnconst(i); err != nil {
				return nil, err
			}
		case tk.Text == "template" && !inFn() && !l.is(l.sig(i+1), "<"):
			end, err := l.instantiation(i)
			if err != nil {
				return nil, err
			}
			i = end
			prev = ";"
			continue
		case tk.Text == "kernel" && !inFn():
			isKernel = true
			if err := l.kernel(declStart, i); err != nil {
				return nil, err
			}
		case tk.Text == "(" && vectorName.MatchString(l.textAt(i+1)) && l.is(l.sig(l.sig(i+1)+1), ")"):
			if n := l.sig(l.sig(l.sig(i+1)+1) + 1); n < len(l.t) && (l.t[n].Kind == Ident || l.t[n].Kind == Number || l.is(n, "(")) && prev != "sizeof" && prev != "alignof" {
				l.warn(i, "(%s) cast: between vectors of one size clang keeps the bits; write %s(...)", l.textAt(i+1), l.textAt(i+1))
			}
		case tk.Text == "thread":
			l.threadWord(i, prev)
		case tk.Text == "vec" && prev != "operator" && l.is(l.sig(i+1), "<"):
			// clang reads vec<T, N>(a, b) as a call; vec<T, N> v(a) is not changed
			if e, err := l.match(l.sig(i + 1)); err == nil && l.is(l.sig(e+1), "(") {
				l.out[i] = "__msl_v"
			}
		}
		prev = tk.Text
	}
	sort.SliceStable(l.u.Kernels, func(a, b int) bool { return l.u.Kernels[a].Host < l.u.Kernels[b].Host })
	var b strings.Builder
	for _, s := range l.out {
		b.WriteString(s)
	}
	l.u.Text = b.String()
	return l.u, nil
}
