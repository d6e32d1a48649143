// SPDX-License-Identifier: MIT

package lower

import (
	"fmt"
	"strings"
)

// CPU returns the translation unit for clang's C++ for OpenCL mode.
func (u *Unit) CPU() string {
	var b strings.Builder
	b.WriteString("#include <metal_stdlib>\n")
	b.WriteString(u.Text)
	b.WriteString("\n# 1 \"<msl entries>\"\n#pragma OPENCL EXTENSION __cl_clang_function_pointers : enable\n")
	u.entries(&b)
	u.constants(&b)
	return b.String()
}

func (u *Unit) entries(b *strings.Builder) {
	for n, k := range u.Kernels {
		fmt.Fprintf(b, "static void __msl_entry_%d() { typedef decltype(::%s) __F; ::%s(", n, k.Func, k.Func)
		for i, a := range k.Args {
			if i > 0 {
				b.WriteString(", ")
			}
			if a.Index >= 0 {
				fmt.Fprintf(b, "metal::__arg<metal::__par_t<__F, %d>>::get(%d)", i, a.Index)
			} else {
				fmt.Fprintf(b, "metal::__bi<metal::__par_t<__F, %d>>::get(%d)", i, builtin(a.Kind))
			}
		}
		b.WriteString("); }\n")
	}
	b.WriteString("extern \"C\" void msl_entry(uint __k) { switch (__k) {")
	for n := range u.Kernels {
		fmt.Fprintf(b, " case %d: __msl_entry_%d(); break;", n, n)
	}
	b.WriteString(" default: break; } }\nextern \"C\" void msl_argdesc(uint __k, uint __a, __private uint* __o) { metal::__argdesc __d = {0, 0, 0, 0}; switch (__k * 64 + __a) {")
	for n, k := range u.Kernels {
		for i, a := range k.Args {
			if a.Index >= 0 {
				fmt.Fprintf(b, " case %d: __d = metal::__arg<metal::__par_t<decltype(::%s), %d>>::desc(); break;", n*64+i, k.Func, i)
			}
		}
	}
	b.WriteString(" default: break; } __o[0] = __d.kind; __o[1] = __d.ref; __o[2] = __d.size; __o[3] = __d.align; }\n")
	b.WriteString("extern \"C\" ulong msl_function(uint __k) { switch (__k) {")
	for n, k := range u.Kernels {
		fmt.Fprintf(b, " case %d: return (ulong)&::%s;", n, k.Func)
	}
	b.WriteString(" default: return 0; } }\n")
}

// constants defines the function constants, which the runtime sets.
func (u *Unit) constants(b *strings.Builder) {
	seen := map[int]bool{}
	for _, c := range u.Constants {
		if seen[c.Index] {
			continue
		}
		seen[c.Index] = true
		fmt.Fprintf(b, "__asm__(\".pushsection .data\\n.balign 16\\n.globl __msl_fc_%d\\n__msl_fc_%d: .zero 16\\n.globl __msl_fcd_%d\\n__msl_fcd_%d: .zero 4\\n.popsection\");\n", c.Index, c.Index, c.Index, c.Index)
	}
}

// PTX returns the translation unit for the same front end with NVIDIA's PTX as target.
// Function constants must have been baked in. With block, a kernel's buffer 0 in the
// constant space is msl_block, in PTX's constant memory.
func (u *Unit) PTX(block bool) string {
	var b strings.Builder
	b.WriteString("#include <metal_stdlib>\nextern __constant uchar msl_block[1024];\n")
	b.WriteString(u.Text)
	b.WriteString("\n# 1 \"<msl entries>\"\n#pragma OPENCL EXTENSION __cl_clang_function_pointers : enable\n")
	for n, k := range u.Kernels {
		fmt.Fprintf(&b, "extern \"C\" __kernel void msl_kernel_%d(__msl_args __a) { typedef decltype(::%s) __F; ::%s(", n, k.Func, k.Func)
		for i, a := range k.Args {
			if i > 0 {
				b.WriteString(", ")
			}
			switch {
			case block && a.Kind == "buffer" && a.Index == 0 && strings.HasPrefix(a.Type, "constant"):
				fmt.Fprintf(&b, "metal::__arg<metal::__par_t<__F, %d>>::at((ulong)msl_block)", i)
			case a.Kind == "buffer":
				fmt.Fprintf(&b, "metal::__arg<metal::__par_t<__F, %d>>::at(__a.buf[%d])", i, a.Index)
			case a.Kind == "threadgroup":
				fmt.Fprintf(&b, "metal::__arg<metal::__par_t<__F, %d>>::at(__msl_tgarg_at(__a.tgoff[%d]))", i, a.Index)
			default:
				fmt.Fprintf(&b, "metal::__bi<metal::__par_t<__F, %d>>::get(__a, %d)", i, builtin(a.Kind))
			}
		}
		b.WriteString("); }\n")
	}
	return b.String()
}
