// SPDX-License-Identifier: MIT

package compile

import (
	"os"
	"regexp"
	"strings"

	"github.com/natten-mps/natten-mps/tests/metalsim/lower"
)

var intrinsicP4 = regexp.MustCompile(`(@llvm\.[a-z0-9.]*)\.p4\b`)

// PTX aims the same front end at an NVIDIA GPU; no CUDA toolkit is used.
func PTX(u *lower.Unit, out string, loose bool) error {
	kit, err := prepared()
	if err != nil {
		return err
	}
	src, ll := out+".clcpp", out+".ll"
	defer os.Remove(src)
	defer os.Remove(ll)
	if err := os.WriteFile(src, []byte(u.PTX()), 0o644); err != nil {
		return err
	}
	target := []string{"-target", "nvptx64-nvidia-cuda", "-march=sm_90", "-Xclang", "-target-feature", "-Xclang", "+ptx80"}
	args := append(frontend(kit, loose), target...)
	if _, err := command(clang(), append(args, "-O3", "-ffp-contract=fast", "-Xclang", "-disable-llvm-passes", "-emit-llvm", "-S", src, "-o", ll)...); err != nil {
		return err
	}
	b, err := os.ReadFile(ll)
	if err != nil {
		return err
	}
	if err := os.WriteFile(ll, []byte(constantToGlobal(string(b))), 0o644); err != nil {
		return err
	}
	_, err = command(clang(), append(target, "-Wno-override-module", "-O3",
		"-mllvm", "-disable-vector-combine", // which takes 16-byte loads apart
		"-x", "ir", "-S", ll, "-o", out)...)
	return err
}

// constantToGlobal moves MSL's constant space, which is where a host binds
// memory and PTX's .const is not, to the global space.
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
