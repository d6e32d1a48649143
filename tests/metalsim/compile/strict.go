// SPDX-License-Identifier: MIT

package compile

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/natten-mps/natten-mps/tests/metalsim/lower"
)

// strictFlags make clang refuse what it otherwise accepts with a warning: C++ newer
// than Metal's, and what C++11 calls an error.
var strictFlags = []string{
	"-Werror=c++11-narrowing", "-Werror=pre-c++17-compat", "-Werror=c++20-extensions", "-Werror=c++20-designator",
	"-Werror=c++23-extensions", "-Werror=c++26-extensions", "-Werror=vla-extension", "-Werror=return-type",
}

// strict refuses what clang's C++ for OpenCL 2021 accepts and Metal's compiler, which is
// C++14 with its own rules, does not. It reads the syntax tree, which has implicit
// conversions and instantiated templates.
func strict(kit toolkit, u *lower.Unit, file string, o Options) error {
	args := append(frontend(kit, o.Loose), strictFlags...)
	args = append(args, Target()...)
	dump, err := command(clang(), append(args, "-fsyntax-only", "-Xclang", "-ast-dump", file)...)
	if err != nil {
		return errors.New(errorsOnly(err.Error()))
	}
	j := judge{places: u.Places, kernels: map[string]bool{}, pinned: map[string]bool{}, derived: map[string]bool{}, enums: map[string]bool{}, calls: map[string][]string{}, functions: map[string]*node{}, earlier: map[string]string{}}
	top := parseAST(string(dump), kit.include)
	for _, n := range top {
		n.walk(j.collect)
	}
	for _, n := range top {
		n.walk(j.visit)
	}
	j.recursion()
	if len(j.errors) > 0 {
		return errors.New(strings.Join(j.errors, "\n"))
	}
	return nil
}

var diagnostic = regexp.MustCompile(`^\S.*: (error|warning|fatal error|note): `)

// errorsOnly drops the warnings from clang's output, with the lines that belong to them.
func errorsOnly(text string) string {
	var kept []string
	keep := true
	for line := range strings.SplitSeq(text, "\n") {
		if m := diagnostic.FindStringSubmatch(line); m != nil && m[1] != "note" {
			keep = m[1] != "warning"
		}
		if keep {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n")
}

// judge collects the errors of a tree.
type judge struct {
	places    map[string]bool // of kernels, by name, file and line
	kernels   map[string]bool // by their ids
	pinned    map[string]bool // classes whose copy constructor is deleted
	derived   map[string]bool // classes that have a base
	enums     map[string]bool // scoped enumerations
	functions map[string]*node
	earlier   map[string]string   // from a function's id to that of its first declaration
	calls     map[string][]string // from a function's id to those of the functions it calls
	errors    []string
}

func (j *judge) fail(n *node, format string, args ...any) {
	for n.where == "" && n.parent != nil {
		n = n.parent
	}
	text := n.where + ": error: " + fmt.Sprintf(format, args...)
	if !slices.Contains(j.errors, text) {
		j.errors = append(j.errors, text)
	}
}

// nameOf returns the word before the type, which is the declared name.
func nameOf(n *node) string {
	before, _, _ := strings.Cut(n.rest, "'")
	words := strings.Fields(before)
	if len(words) == 0 {
		return ""
	}
	return words[len(words)-1]
}

var (
	reference = regexp.MustCompile(`\b(?:Function|CXXMethod) (0x[0-9a-f]+) '([^']*)'`)
	member    = regexp.MustCompile(`(?:->|\.)\S+ (0x[0-9a-f]+)`)
)

// collect records the classes and the calls of each function.
func (j *judge) collect(n *node) {
	switch n.kind {
	case "CXXRecordDecl":
		for _, c := range n.children {
			if strings.HasPrefix(c.kind, "public") || strings.HasPrefix(c.kind, "private") || strings.HasPrefix(c.kind, "protected") {
				j.derived[className(n)] = true
			}
		}
	case "EnumDecl":
		if m := enum.FindStringSubmatch(n.rest); m != nil {
			j.enums[m[1]] = true
		}
	case "CXXConstructorDecl":
		if written, _ := n.types(); strings.Contains(n.rest, " delete") && copies(written, className(n.parent)) {
			j.pinned[className(n.parent)] = true
		}
	case "FunctionDecl", "CXXMethodDecl", "CXXConversionDecl":
		j.functions[n.id] = n
		if n.prev != "" {
			j.earlier[n.id] = n.prev
		}
		if j.places[nameOf(n)+" "+n.named] {
			j.kernels[n.id] = true
		}
	case "DeclRefExpr", "MemberExpr":
		for _, m := range append(reference.FindAllStringSubmatch(n.rest, -1), member.FindAllStringSubmatch(n.rest, -1)...) {
			if f := n.function(); f != nil {
				caller, callee := j.first(f.id), j.first(m[1])
				j.calls[caller] = append(j.calls[caller], callee)
			}
		}
	}
}

// first returns the id of a function's first declaration.
func (j *judge) first(id string) string {
	for j.earlier[id] != "" {
		id = j.earlier[id]
	}
	return id
}

// copies reports whether a constructor's type is that of a copy constructor.
func copies(written, class string) bool {
	return class != "" && strings.Contains(written, " "+class+" &") && !strings.Contains(written, ",")
}

var enum = regexp.MustCompile(`\b(?:class|struct) (\w+) '`)

var class = regexp.MustCompile(`\b(?:struct|class|union) (\w+)`)

func className(n *node) string {
	if m := class.FindStringSubmatch(n.rest); m != nil {
		return m[1]
	}
	return ""
}

// function returns the function that contains a node.
func (n *node) function() *node {
	for n = n.parent; n != nil; n = n.parent {
		switch n.kind {
		case "FunctionDecl", "CXXMethodDecl", "CXXConstructorDecl", "CXXDestructorDecl", "CXXConversionDecl":
			return n
		}
	}
	return nil
}

// refused lists what Metal omits from C++ (specification, section 1.4).
var refused = map[string]string{
	"GotoStmt": "goto", "IndirectGotoStmt": "goto", "LambdaExpr": "a lambda expression",
	"GCCAsmStmt": "inline assembly", "MSAsmStmt": "inline assembly", "FileScopeAsmDecl": "inline assembly",
	"CXXTryStmt": "try", "CXXThrowExpr": "throw", "CXXNewExpr": "new", "CXXDeleteExpr": "delete", "CXXDynamicCastExpr": "dynamic_cast",
	"CXXTypeidExpr": "typeid", "CXXNoexceptExpr": "the noexcept operator", "VAArgExpr": "a variable argument",
}

func (j *judge) visit(n *node) {
	if what, found := refused[n.kind]; found {
		j.fail(n, "%s is not supported in Metal", what)
	}
	j.types(n)
	switch n.kind {
	case "ImplicitCastExpr":
		j.conversion(n)
	case "CompoundAssignOperator":
		if _, left := n.types(); isBfloat(left) && !strings.Contains(n.rest, "ComputeResultTy='bfloat'") && !strings.Contains(n.rest, "ComputeResultTy='__bf16'") {
			j.fail(n, "a bfloat cannot be combined with a value of another type: no implicit conversion")
		}
		j.boolean(n)
	case "BinaryOperator":
		j.boolean(n)
	case "VarDecl", "VarTemplateSpecializationDecl":
		j.variable(n)
	case "CXXRecordDecl":
		if slices.ContainsFunc(n.children, func(c *node) bool { return c.kind == "virtual" }) {
			j.fail(n, "virtual base classes are not supported in Metal: '%s'", className(n))
		}
	case "CXXDeductionGuideDecl":
		if !strings.HasPrefix(n.rest, "implicit") {
			j.fail(n, "deduction guides are of C++17")
		}
	case "ExtVectorElementExpr":
		if m := component.FindStringSubmatch(n.rest); m != nil && !swizzle.MatchString(m[1]) {
			j.fail(n, "illegal vector component name '%s'", m[1])
		}
	case "CallExpr":
		j.truth(n)
	case "ConditionalOperator":
		if _, resolved := n.child(0).types(); strings.Contains(resolved, "ext_vector_type") {
			j.fail(n, "a vector is not contextually convertible to 'bool' (want select)")
		}
	case "FunctionDecl", "CXXMethodDecl":
		written, _ := n.types()
		result, _, _ := strings.Cut(written, " (")
		if j.pinned[strings.TrimPrefix(result, "const ")] {
			j.fail(n, "%s is returned by value, and its copy constructor is deleted (C++14 has no guaranteed elision)", result)
		}
	case "InitListExpr":
		if written, _ := n.types(); j.derived[bare(written)] {
			j.fail(n, "%s has a base class and is no aggregate in C++14", bare(written))
		} else if j.enums[bare(written)] && n.child(0).kind == "ImplicitCastExpr" {
			j.fail(n, "no conversion from an integer to %s in C++14", bare(written))
		}
	case "DeclRefExpr":
		if m := reference.FindStringSubmatch(n.rest); m != nil && j.kernels[m[1]] {
			j.fail(n, "kernel function '%s' cannot be called", m[2])
		}
	}
}

var (
	wide    = regexp.MustCompile(`ext_vector_type\((\d+)\)`)
	generic = regexp.MustCompile(`__generic [^,()'&]*\*`)
)

// types refuses types that Metal lacks, in declarations and casts.
func (j *judge) types(n *node) {
	if !strings.HasSuffix(n.kind, "Decl") && !strings.HasSuffix(n.kind, "CastExpr") && !strings.HasSuffix(n.kind, "Literal") {
		return
	}
	written, resolved := n.types()
	if m := wide.FindStringSubmatch(resolved); m != nil && !slices.Contains([]string{"2", "3", "4"}, m[1]) {
		j.fail(n, "a vector of %s elements (want 2, 3 or 4)", m[1])
	}
	if strings.Contains(resolved, "long long") || strings.Contains(resolved, "__int128") {
		j.fail(n, "'%s' is not supported in Metal", written)
	}
	if generic.MatchString(resolved) && n.kind != "ImplicitCastExpr" && !strings.Contains(n.rest, "implicit") {
		j.fail(n, "pointer type must have explicit address space qualifier: '%s'", strings.ReplaceAll(resolved, "__generic ", ""))
	}
}

// isBfloat reports whether a type is bfloat or a vector of bfloat, but not a pointer.
func isBfloat(resolved string) bool {
	return strings.Contains(resolved, "__bf16") && !strings.Contains(resolved, "*")
}

var converts = regexp.MustCompile(`<(FloatingCast|IntegralToFloating|FloatingToIntegral)>`)

// conversion refuses implicit conversions from and to bfloat.
func (j *judge) conversion(n *node) {
	if !converts.MatchString(n.rest) || strings.Contains(n.rest, "part_of_explicit_cast") {
		return
	}
	if p := n.parent; p != nil && p.kind == "VarDecl" && strings.HasSuffix(p.rest, "callinit") {
		return // bfloat b(1.0f)
	}
	to, target := n.types()
	from, source := n.child(0).types()
	if isBfloat(target) != isBfloat(source) {
		j.fail(n, "no implicit conversion from '%s' to '%s'", plain(from), plain(to))
	}
}

// plain removes the address spaces that clang prints.
func plain(t string) string {
	return strings.NewReplacer("__private ", "", "__global ", "device ", "__local ", "threadgroup ", "__constant ", "constant ").Replace(t)
}

func bare(t string) string {
	return strings.TrimPrefix(plain(t), "const ")
}

// variable refuses variables that outlive a thread and are not in constant memory, and
// initializers that only a later C++ accepts.
func (j *judge) variable(n *node) {
	written, resolved := n.types()
	f := n.function()
	static := strings.Contains(n.rest, " static") || f == nil || strings.Contains(n.rest, " extern")
	if static && !strings.Contains(resolved, "__constant") && !dependent(n) {
		j.fail(n, "variable '%s' in program scope or static: it has to be in the constant address space", plain(written))
	}
	if j.pinned[bare(written)] && strings.HasSuffix(n.rest, " cinit") {
		j.fail(n, "%s is copied, and its copy constructor is deleted (C++14 has no guaranteed elision)", bare(written))
	}
	init := n.child(0)
	if !strings.Contains(resolved, "ext_vector_type") || isAuto(n) {
		return
	}
	if isBoolVector(init) && !boolName.MatchString(written) {
		j.fail(n, "no implicit conversion from a vector of bool to '%s'", plain(written))
	} else if boolName.MatchString(written) && isIntVector(init) {
		j.fail(n, "no implicit conversion from a vector of integers to '%s'", plain(written))
	}
}

// dependent reports whether a variable is a template's pattern, whose type has no address
// space yet.
func dependent(n *node) bool {
	_, resolved := n.types()
	return n.kind == "VarDecl" && n.parent != nil && n.parent.kind == "VarTemplateDecl" && !strings.Contains(resolved, "__")
}

var (
	component = regexp.MustCompile(`(\w+)$`)
	swizzle   = regexp.MustCompile(`^([xyzw]{1,4}|[rgba]{1,4})$`)
	truths    = regexp.MustCompile(`'(any|all)'`)
	intName   = regexp.MustCompile(`\bu?(char|short|int|long)[234]\b|\bvec<(unsigned )?u?(char|short|int|long),`)
	// functions of the shim that return vectors of bool
	givesBool = regexp.MustCompile(`'(__msl_bv|is\w+|signbit|select)'`)
)

// callee returns the reference to the function of a call.
func callee(n *node) *node {
	f := n.child(0)
	for f.kind == "ImplicitCastExpr" {
		f = f.child(0)
	}
	return f
}

// isIntVector distinguishes a vector of integers from one of bool, which the shim defines as
// int.
func isIntVector(n *node) bool {
	for n.kind == "ParenExpr" || n.kind == "ImplicitCastExpr" {
		n = n.child(0)
	}
	written, _ := n.types()
	return intName.MatchString(written) && !(n.kind == "CallExpr" && givesBool.MatchString(callee(n).rest))
}

// truth refuses any() and all() of vectors of integers.
func (j *judge) truth(n *node) {
	if m := truths.FindStringSubmatch(callee(n).rest); m != nil && len(n.children) == 2 && isIntVector(n.child(1)) {
		written, _ := n.child(1).types()
		j.fail(n, "no matching function for call to '%s' of '%s' (want a vector of bool)", m[1], plain(written))
	}
}

var boolName = regexp.MustCompile(`\bbool[234]\b`)

// isAuto reports whether a variable has the type of its initializer, which is then the
// unnamed vector of a comparison.
func isAuto(n *node) bool {
	written, _ := n.types()
	return strings.Contains(written, "__attribute__")
}

var operator = regexp.MustCompile(`'([^'\w\s]+)'(?: |$)`)

func operatorOf(n *node) string {
	m := operator.FindAllStringSubmatch(n.rest, -1)
	if len(m) == 0 {
		return ""
	}
	return m[len(m)-1][1]
}

// isBoolVector reports whether an expression is a vector of bool, which the shim defines
// as int: by the name of its type, or because it is the result of a comparison.
func isBoolVector(n *node) bool {
	written, resolved := n.types()
	if !strings.Contains(resolved, "ext_vector_type") {
		return false
	}
	if boolName.MatchString(written) {
		return true
	}
	switch n.kind {
	case "ParenExpr", "ImplicitCastExpr":
		return isBoolVector(n.child(0))
	case "UnaryOperator":
		return strings.Contains(n.rest, "'!'")
	case "BinaryOperator":
		switch operatorOf(n) {
		case "<", ">", "<=", ">=", "==", "!=", "&&", "||":
			return true
		case "&", "|", "^":
			return isBoolVector(n.child(0)) && isBoolVector(n.child(1))
		}
	}
	return false
}

// boolean refuses arithmetic with vectors of bool.
func (j *judge) boolean(n *node) {
	left, right := n.child(0), n.child(1)
	switch op := operatorOf(n); op {
	case "+", "-", "*", "/", "%", "<<", ">>", "+=", "-=", "*=", "/=", "%=", "<<=", ">>=":
		if isBoolVector(left) || isBoolVector(right) {
			j.fail(n, "invalid operands to %s: a vector of bool has no arithmetic", op)
		}
	case "=":
		if written, _ := left.types(); isBoolVector(right) && !boolName.MatchString(written) {
			j.fail(n, "no implicit conversion from a vector of bool to '%s'", plain(written))
		}
	}
}

// recursion refuses functions that call themselves, directly or indirectly.
func (j *judge) recursion() {
	const unseen, open, done = 0, 1, 2
	state := map[string]int{}
	var enter func(id string)
	enter = func(id string) {
		state[id] = open
		for _, callee := range j.calls[id] {
			switch state[callee] {
			case open:
				if f := j.functions[callee]; f != nil {
					j.fail(f, "function '%s' calls itself: recursion is not supported in Metal", nameOf(f))
				}
			case unseen:
				enter(callee)
			}
		}
		state[id] = done
	}
	for id := range j.functions {
		if state[id] == unseen {
			enter(id)
		}
	}
}
