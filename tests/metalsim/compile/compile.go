// SPDX-License-Identifier: MIT

// Package compile turns Metal Shading Language text into a shared object that
// runs on this machine's CPU, or into PTX for an NVIDIA GPU. Results are cached
// by content.
package compile

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/natten-mps/natten-mps/tests/metalsim/lower"
)

// Mode says how kernels are compiled.
type Mode int

// The modes.
const (
	Checked  Mode = iota // -O1, every access and barrier checked
	Fast                 // -O2, no checks, several cores
	FastMath             // Fast with -ffast-math, to find what breaks under Metal's fast math
	Fuzz                 // Fast with noise added to transcendental functions
	Coverage             // -O1 with llvm-cov's counters
)

var mathFlags = map[Math][]string{
	Relaxed: {"-ffast-math", "-fhonor-nans", "-fhonor-infinities"},
	Fastest: {"-ffast-math"},
}

// ParseMath parses the name of a math mode.
func ParseMath(s string) (Math, error) {
	switch s {
	case "safe":
		return Safe, nil
	case "relaxed":
		return Relaxed, nil
	case "fast":
		return Fastest, nil
	}
	return 0, fmt.Errorf("compile: math mode %q (want safe, relaxed or fast)", s)
}

// Language is a version of the Metal Shading Language, such as 310 for 3.1; 0 means 310.
type Language int

// languages lists the versions that exist on some macOS.
var languages = []Language{200, 210, 220, 230, 240, 300, 310, 320, 400}

// Language31 is the version of macOS 14, which the project uses.
const Language31 Language = 310

// ParseLanguage parses a version such as 3.1.
func ParseLanguage(s string) (Language, error) {
	for _, l := range languages {
		if s == l.String() {
			return l, nil
		}
	}
	return 0, fmt.Errorf("program_source: error: invalid value '%s' of languageVersion (want one of %v)", s, languages)
}

func (l Language) String() string { return fmt.Sprintf("%d.%d", l/100, l/10%10) }

var modeNames = []string{"checked", "fast", "fastmath", "fuzz", "coverage"}

func (m Mode) String() string { return modeNames[m] }

// ParseMode parses the name of a mode.
func ParseMode(s string) (Mode, error) {
	for i, n := range modeNames {
		if n == s {
			return Mode(i), nil
		}
	}
	return 0, fmt.Errorf("compile: mode %q (want one of %v)", s, modeNames)
}

func (m Mode) flags() []string {
	switch m {
	case Fast:
		return []string{"-O2"}
	case FastMath:
		return []string{"-O2", "-ffast-math"}
	case Fuzz:
		return []string{"-O2", "-DMSL_FUZZ_ULPS=4"}
	case Coverage:
		return []string{"-O1", "-fprofile-instr-generate", "-fcoverage-mapping"}
	}
	return []string{
		"-O1", "-fsanitize=thread",
		"-fsanitize=bounds,signed-integer-overflow,shift,integer-divide-by-zero,float-cast-overflow,return,unreachable,pointer-overflow",
		"-mllvm", "-tsan-instrument-func-entry-exit=0", "-mllvm", "-tsan-compound-read-before-write=1",
		"-ftrivial-auto-var-init=pattern",
	}
}

// Math says which transformations the compiler may apply, like MTLMathMode.
type Math int

// The modes.
const (
	Safe    Math = iota
	Relaxed      // reassociates and contracts, and keeps NaN and infinity
	Fastest      // assumes that NaN and infinity do not occur
)

// Options says how to compile.
type Options struct {
	Mode  Mode
	Loose bool           // thread pointers accept any space (MSL_LOOSE_THREAD in the shim)
	Baked map[int]string // function constants given at compile time

	Language Language // 0: 3.1
	Math     Math
}

func (o Options) language() Language {
	if o.Language == 0 {
		return Language31
	}
	return o.Language
}

// Artifact is a compiled library.
type Artifact struct {
	SO   string // path of the shared object
	Flat string // the text before lowering
	Unit *lower.Unit
}

// Flatten resolves the source's own includes and macros; the shim's headers are
// resolved in the second pass.
func Flatten(file string, version Language) (string, error) {
	kit, err := prepared()
	if err != nil {
		return "", err
	}
	args := []string{
		"-E", "-x", "c++", "-std=c++14", "-nostdinc", "-undef", "-Wno-everything",
		"-D__METAL__=1", fmt.Sprintf("-D__METAL_VERSION__=%d", version), "-D__METAL_MACOS__=1",
		"-isystem", kit.empty, "-I", filepath.Dir(file),
	}
	if version >= Language31 {
		args = append(args, "-D__HAVE_BFLOAT__=1")
	}
	b, err := command(clang(), append(args, file)...)
	return string(b), err
}

// frontend returns the flags with which clang compiles the lowered source.
func frontend(kit toolkit, loose bool) []string {
	args := []string{
		"-x", "clcpp", "-cl-std=clc++2021", "-cl-no-stdinc", "-cl-single-precision-constant",
		"-Xclang", "-cl-ext=-cl_khr_fp64,-__opencl_c_fp64,+cl_khr_fp16,+__opencl_c_generic_address_space,+__opencl_c_program_scope_global_variables" +
			",+__cl_clang_function_pointers,+cl_khr_subgroups,+cl_khr_int64_base_atomics", // which not every target enables
		"-ferror-limit=5",
		"-isystem", kit.include,
	}
	if loose {
		args = append(args, "-DMSL_LOOSE_THREAD")
	}
	return args
}

// File compiles a .metal file.
func File(file string, o Options) (*Artifact, error) {
	flat, err := Flatten(file, o.language())
	if err != nil {
		return nil, err
	}
	return flattened(flat, file, o)
}

// Source compiles text; name is what messages call it.
func Source(name, text string, o Options) (*Artifact, error) {
	flat, err := flattenText(name, text, o.language())
	if err != nil {
		return nil, err
	}
	return flattened(flat, name, o)
}

func flattenText(name, text string, version Language) (string, error) {
	dir, err := os.MkdirTemp("", "metalsim")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return "", err
	}
	flat, err := Flatten(file, version)
	// the folder's name differs each time, so it must not be part of the cache's key
	return strings.ReplaceAll(flat, dir+"/", ""), err
}

// Check reports the errors of a text, without generating code.
func Check(name, text string) error {
	flat, err := flattenText(name, text, Language31)
	if err != nil {
		return err
	}
	kit, u, err := lowered(flat, name, Options{})
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "metalsim")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "k.clcpp")
	if err := os.WriteFile(file, []byte(u.CPU()), 0o600); err != nil {
		return err
	}
	return strict(kit, u, file, Options{})
}

func flattened(flat, file string, o Options) (*Artifact, error) {
	kit, u, err := lowered(flat, file, o)
	if err != nil {
		return nil, err
	}
	a := &Artifact{Flat: flat, Unit: u}
	a.SO, err = object(kit, u, o)
	return a, err
}

func lowered(flat, file string, o Options) (toolkit, *lower.Unit, error) {
	if !strings.Contains(flat, `metal_stdlib" 1`) { // the line marker of its inclusion
		return toolkit{}, nil, fmt.Errorf("%s:1:1: error: nothing of Metal is known without #include <metal_stdlib>", file)
	}
	u, err := lower.Lower(flat, lower.Options{File: file, Baked: o.Baked, NoBfloat: o.language() < Language31})
	if err != nil {
		return toolkit{}, nil, err
	}
	kit, err := prepared()
	return kit, u, err
}

// flushSource adds msl_profile_flush to a library with counters: a Go process ends
// without C's exit, which would write them.
const flushSource = `extern "C" int __llvm_profile_write_file(void);
extern "C" void __llvm_profile_reset_counters(void);
extern "C" void msl_profile_flush(void) { __llvm_profile_write_file(); __llvm_profile_reset_counters(); }
`

func object(kit toolkit, u *lower.Unit, o Options) (string, error) {
	options := append([]string{"-w", "-fPIC", "-g", "-fno-math-errno", "-march=" + processors[arch()].march}, o.Mode.flags()...)
	options = append(options, Target()...)
	options = append(options, mathFlags[o.Math]...)
	args := append(frontend(kit, o.Loose), options...)
	text := u.CPU()
	h := sha256.New()
	fmt.Fprint(h, kit.sum, kit.rules, options, o.Loose, text)
	so := filepath.Join(kit.cache, hex.EncodeToString(h.Sum(nil))[:24]+".so")
	if _, err := os.Stat(so); err == nil {
		return so, nil
	}
	if o.Mode == Coverage { // a separate file for each library, since similar ones have the same %m
		args = append(args, "-fprofile-instr-generate="+so+".%m.profraw")
	}
	unique := fmt.Sprintf("%s.%d", so, os.Getpid())
	src, obj := so+".clcpp", unique+".o"
	defer os.Remove(obj)
	if err := os.WriteFile(src, []byte(text), 0o644); err != nil {
		return "", err
	}
	if err := strict(kit, u, src, o); err != nil {
		return "", err
	}
	if _, err := command(clang(), append(args, "-c", src, "-o", obj)...); err != nil {
		return "", err
	}
	link := append(Target(), "-shared", "-o", unique, obj)
	link = append(link, kit.runtime...)
	link = append(link, "-lm", "-lpthread", "-Wl,-Bsymbolic")
	if o.Mode == Coverage {
		flush := unique + ".cpp"
		defer os.Remove(flush)
		if err := os.WriteFile(flush, []byte(flushSource), 0o644); err != nil {
			return "", err
		}
		link = append(link, flush, "-fprofile-instr-generate")
	} else {
		link = append(link, "-Wl,--no-undefined")
	}
	if _, err := command(Clangxx(), link...); err != nil {
		return "", err
	}
	return so, os.Rename(unique, so)
}
