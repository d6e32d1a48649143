// SPDX-License-Identifier: MIT

package compile

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/natten-mps/natten-mps/tests/metalsim/lower"
)

// entry matches the head of a kernel; the number is that of lower.Unit.
var entry = regexp.MustCompile(`\.entry msl_kernel_(\d+)\([^)]*\)\n\{`)

var intrinsicP4 = regexp.MustCompile(`(@llvm\.[a-z0-9.]*)\.p4\b`)

// PTX compiles for an NVIDIA GPU with the same front end, without the CUDA toolkit.
// bench is for launches of whole simdgroups: the parameter block, at buffer 0, is then
// in PTX's constant memory, where reads are as cheap as on an Apple GPU, and nothing
// else in MSL's constant space may be read.
func PTX(u *lower.Unit, out string, loose, bench bool) error {
	kit, err := prepared()
	if err != nil {
		return err
	}
	src, ll := out+".clcpp", out+".ll"
	defer os.Remove(src)
	defer os.Remove(ll)
	if err := os.WriteFile(src, []byte(u.PTX(bench)), 0o644); err != nil {
		return err
	}
	target := []string{"-target", "nvptx64-nvidia-cuda", "-march=sm_90", "-Xclang", "-target-feature", "-Xclang", "+ptx80"}
	args := append(frontend(kit, loose), target...)
	if bench {
		args = append(args, "-D__MSL_WHOLE_SIMDGROUPS")
	}
	if _, err := command(clang(), append(args, "-O3", "-ffp-contract=fast", "-Xclang", "-disable-llvm-passes", "-emit-llvm", "-S", src, "-o", ll)...); err != nil {
		return err
	}
	b, err := os.ReadFile(ll)
	if err != nil {
		return err
	}
	ir := string(b)
	if !bench {
		ir = constantToGlobal(ir)
	}
	if err := os.WriteFile(ll, []byte(ir), 0o644); err != nil {
		return err
	}
	_, err = command(clang(), append(target, "-Wno-override-module", "-O3",
		"-mllvm", "-disable-vector-combine", // it would split 16-byte loads
		"-mllvm", "-inline-threshold=1000000", // inlines the kernel into its entry, since a call saves registers
		"-x", "ir", "-S", ll, "-o", out)...)
	if err != nil {
		return err
	}
	return limitThreads(u, out)
}

// limitThreads tells the driver the largest threadgroup of each kernel, which
// determines how many registers a thread gets, as on an Apple GPU.
func limitThreads(u *lower.Unit, file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	text := entry.ReplaceAllStringFunc(string(b), func(head string) string {
		n, err := strconv.Atoi(entry.FindStringSubmatch(head)[1])
		if err != nil || u.Kernels[n].MaxTotal == 0 {
			return head
		}
		return fmt.Sprintf("%s\n.maxntid %d, 1, 1\n{", strings.TrimSuffix(head, "\n{"), u.Kernels[n].MaxTotal)
	})
	text = strings.Replace(text, ".extern .const", ".visible .const", 1)
	return os.WriteFile(file, []byte(text), 0o644)
}

// constantToGlobal moves MSL's constant space to the global space, because a host
// binds memory there and cannot bind PTX's .const.
func constantToGlobal(ir string) string {
	var w strings.Builder
	seen := map[string]bool{}
	for _, l := range strings.SplitAfter(strings.ReplaceAll(ir, "addrspace(4)", "addrspace(1)"), "\n") {
		for intrinsicP4.MatchString(l) {
			l = intrinsicP4.ReplaceAllString(l, "$1.p1")
		}
		if strings.HasPrefix(l, "declare ") {
			if seen[l] {
				continue
			}
			seen[l] = true
		}
		w.WriteString(l)
	}
	return w.String()
}
