// SPDX-License-Identifier: MIT

package lower

import (
	"regexp"
	"strings"
)

// builtinType matches the names of MSL's own types.
var builtinType = regexp.MustCompile(`^(void|bool|char|uchar|short|ushort|int|uint|long|ulong|unsigned|signed|half|bfloat|float|double|auto|` +
	`u?int(8|16|32|64)_t|size_t|ptrdiff_t|uintptr_t|intptr_t|vec|packed_vec|atomic(_\w+)?|simdgroup_\w+8x8|simdgroup_matrix|mem_flags|simd_vote|` +
	`(packed_)?(bool|char|uchar|short|ushort|int|uint|long|ulong|half|bfloat|float)[234]|(half|float)[234]x[234])$`)

// spaced maps a type's name to whether an address space is part of the type.
type typeNames map[string]bool

// typeNames collects the type names that the source defines with struct, typedef, using
// and typename. A type name never starts a multiplication.
func (l *lowerer) typeNames() typeNames {
	names := typeNames{}
	for i := range l.t {
		if l.t[i].Kind != Ident {
			continue
		}
		n := l.sig(i + 1)
		switch l.t[i].Text {
		case "struct", "class", "union", "enum":
			if l.is(n, "class") || l.is(n, "struct") {
				n = l.sig(n + 1)
			}
			if n < len(l.t) && l.t[n].Kind == Ident {
				names[l.t[n].Text] = false
			}
		case "typename":
			if after := l.sig(n + 1); n < len(l.t) && l.t[n].Kind == Ident && (l.is(after, ",") || l.is(after, ">") || l.is(after, "=")) {
				names[l.t[n].Text] = false
			}
		case "using":
			if n < len(l.t) && l.t[n].Kind == Ident && l.is(l.sig(n+1), "=") {
				names[l.t[n].Text] = l.spaceBefore(i, ";")
			}
		case "typedef":
			if name := l.typedefName(i); name >= 0 {
				names[l.t[name].Text] = l.spaceBefore(i, ";")
			}
		}
	}
	return names
}

// typedefName returns the name that a typedef defines: the last one before ; or [.
func (l *lowerer) typedefName(i int) int {
	name := -1
	for ; i < len(l.t) && !l.is(i, ";") && !l.is(i, "["); i++ {
		switch {
		case l.is(i, "{"), l.is(i, "<"):
			end, err := l.match(i)
			if err != nil {
				return -1
			}
			i = end
		case l.t[i].Kind == Ident:
			name = i
		}
	}
	return name
}

// spaceBefore reports whether an address space is named before stop.
func (l *lowerer) spaceBefore(i int, stop string) bool {
	for ; i < len(l.t) && !l.is(i, stop); i++ {
		if l.t[i].Kind == Ident && spaces[l.t[i].Text] {
			return true
		}
	}
	return false
}

func (l *lowerer) back(i int) int {
	for i--; i >= 0 && l.t[i].Kind == Space; i-- {
	}
	return i
}

// opener returns the index of the bracket that the bracket at i closes.
func (l *lowerer) opener(i int) int {
	open := map[string]string{")": "(", "]": "[", "}": "{", ">": "<"}[l.t[i].Text]
	depth := 0
	for j := i; j >= 0; j-- {
		switch {
		case l.is(j, l.t[i].Text):
			depth++
		case l.is(j, open):
			if depth--; depth == 0 {
				return j
			}
		case l.is(j, ";") || l.is(j, "{"):
			return -1
		}
	}
	return -1
}

var qualifiers = map[string]bool{
	"const": true, "volatile": true, "struct": true, "class": true, "enum": true, "typename": true, "unsigned": true, "signed": true,
	"static": true, "inline": true, "constexpr": true, "extern": true, "friend": true, "METAL_FUNC": true, "long": true, "short": true, "mutable": true,
}

// declared looks back from a declarator at i, such as a *. It reports whether a type
// precedes it, and whether this type has an address space.
func (l *lowerer) declared(i int, names typeNames) (isType, space bool) {
	j := l.back(i)
	for ; j >= 0 && l.t[j].Kind == Ident && (l.t[j].Text == "const" || l.t[j].Text == "volatile" || spaces[l.t[j].Text]); j = l.back(j) {
		space = space || spaces[l.t[j].Text]
	}
	if j < 0 {
		return false, false
	}
	switch t := l.t[j]; {
	case t.Text == "*" && t.Kind == Punct: // perhaps a pointer to a pointer
		before, _ := l.declared(j, names)
		return before, space
	case t.Text == ">" || t.Text == ")":
		k := l.opener(j)
		if k < 0 {
			return false, false
		}
		j = l.back(k)
		if j < 0 || l.t[j].Kind != Ident {
			return false, false
		}
		if t.Text == ")" && l.t[j].Text != "decltype" || t.Text == ">" && strings.HasSuffix(l.t[j].Text, "_cast") {
			return false, false
		}
		isType = true
	}
	return l.specifiers(j, names, isType, space)
}

// specifiers reads a declaration's specifiers backwards from its type's name at j.
func (l *lowerer) specifiers(j int, names typeNames, isType, space bool) (bool, bool) {
	if j < 0 || l.t[j].Kind != Ident || l.is(l.back(j), ".") {
		return false, false
	}
	name := l.t[j].Text
	withSpace, known := names[name]
	isType = isType || known || builtinType.MatchString(name)
	space = space || withSpace
	for j = l.back(j); j >= 0; j = l.back(j) {
		t := l.t[j]
		switch {
		case t.Text == "::":
			j = l.back(j)
			if j >= 0 && l.t[j].Text == ">" {
				if j = l.opener(j); j < 0 {
					return false, false
				}
				j = l.back(j)
			}
			if j < 0 || l.t[j].Kind != Ident {
				return isType, space
			}
		case spaces[t.Text]:
			space = true
		case t.Text == "typename":
			isType = true
		case t.Kind == Ident && qualifiers[t.Text]:
		default:
			return isType, space
		}
	}
	return isType, space
}

// pointers refuses every pointer and reference without an address space: in parameters,
// results, members, locals, casts and template arguments.
func (l *lowerer) pointers() error {
	names := l.typeNames()
	for i, t := range l.t {
		if t.Kind != Punct {
			continue
		}
		switch t.Text {
		case "*", "&":
			if isType, space := l.declared(i, names); isType && !space {
				return l.fail(i, "error: pointer or reference type must have explicit address space qualifier: %s", l.text(max(l.back(i), 0), min(i+2, len(l.t))))
			}
		case "(": // T (&name)[N]
			mark := l.sig(i + 1)
			if !l.is(mark, "&") && !l.is(mark, "*") {
				continue
			}
			end, err := l.match(i)
			if err != nil || !l.is(l.sig(end+1), "[") {
				continue
			}
			if isType, space := l.declared(i, names); isType && !space {
				return l.fail(i, "error: reference to an array must have explicit address space qualifier")
			}
		case "[":
			if err := l.arrayParameter(i, names); err != nil {
				return err
			}
		}
	}
	return nil
}

// arrayParameter refuses  f(float a[4]), which is a pointer without an address space.
func (l *lowerer) arrayParameter(i int, names typeNames) error {
	name := l.back(i)
	if name < 0 || l.is(i+1, "[") || l.t[name].Kind != Ident {
		return nil
	}
	isType, space := l.declared(name, names)
	if !isType || space {
		return nil
	}
	first := l.back(name)
	for first >= 0 && (l.t[first].Kind == Ident || l.is(first, "::") || l.is(first, ">")) {
		if l.is(first, ">") {
			if first = l.opener(first); first < 0 {
				return nil
			}
		}
		first = l.back(first)
	}
	if first >= 0 && (l.is(first, "(") || l.is(first, ",")) && l.isParameterList(first) {
		return l.fail(i, "error: an array parameter is a pointer, which must have explicit address space qualifier: %s", l.t[name].Text)
	}
	return nil
}

// isParameterList reports whether the ( before token i belongs to a function's
// declaration: a name precedes it, and a body, a const or a ; follows its end.
func (l *lowerer) isParameterList(i int) bool {
	depth := 0
	for ; i >= 0; i-- {
		if l.is(i, ")") {
			depth++
		} else if l.is(i, "(") {
			if depth == 0 {
				break
			}
			depth--
		} else if l.is(i, ";") || l.is(i, "{") || l.is(i, "}") {
			return false
		}
	}
	if i < 0 || l.t[max(l.back(i), 0)].Kind != Ident || l.is(l.back(i), "for") {
		return false
	}
	end, err := l.match(i)
	if err != nil {
		return false
	}
	after := l.sig(end + 1)
	return l.is(after, "{") || l.is(after, ";") || l.is(after, "const") || l.is(after, "[") || l.is(after, ":")
}

// words refuses single tokens: literals of types that Metal lacks, and register, which
// C++17 removed.
func (l *lowerer) words() error {
	for i, t := range l.t {
		switch {
		case t.Kind == Ident && (t.Text == "register" || t.Text == "thread_local" || t.Text == "typeid"):
			return l.fail(i, "error: %s is not supported in Metal", t.Text)
		case t.Kind == Ident && openCL.MatchString(t.Text):
			return l.fail(i, "error: unknown name '%s', which is OpenCL's", t.Text)
		case t.Kind == Number && bfloatLiteral.MatchString(t.Text):
			l.out[i] = "(bfloat(" + t.Text[:len(t.Text)-2] + "f))"
		case t.Kind == Ident && l.o.NoBfloat && strings.Contains(t.Text, "bfloat") && builtinType.MatchString(t.Text):
			return l.fail(i, "error: unknown type name '%s': bfloat came with Metal 3.1", t.Text)
		case t.Kind == Number && unsupportedLiteral.MatchString(t.Text):
			return l.fail(i, "error: the literal %s is of a type that is not supported in Metal", t.Text)
		}
	}
	return nil
}

// What is built into clang's C++ for OpenCL but does not exist in Metal.
var openCL = regexp.MustCompile(`^(__(global|local|constant|private|generic|kernel|read_only|write_only|read_write|builtin_astype)|` +
	`event_t|clk_event_t|queue_t|reserve_id_t|ndrange_t|sampler_t|image[123]d\w*_t|atomic_(long|ulong|double|half|flag|size_t|ptrdiff_t|u?intptr_t)|` +
	`memory_scope(_\w+)?|cl_mem_fence_flags|addrspace_cast|vec_step)$`)

// bfloatLiteral matches a literal of Metal 3.1.
var bfloatLiteral = regexp.MustCompile(`(?i)^[0-9.]+(e[-+]?[0-9]+)?bf$`)

// long double, long long, and double with a suffix.
var unsupportedLiteral = regexp.MustCompile(`(?i)(ll|llu|ull)$|^([0-9]*\.[0-9]*(e[-+]?[0-9]+)?|[0-9]+e[-+]?[0-9]+)(l|lf|d)$`)
