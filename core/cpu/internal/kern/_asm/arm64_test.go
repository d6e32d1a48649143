// SPDX-License-Identifier: MIT

package main

import (
	"encoding/binary"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// spelled has the encodings as llvm-mc -disassemble spells them, with d = V4, n = V3
// or R3, and m = V5.
var spelled = map[string]string{
	"FADD":     "fadd v4.4s, v3.4s, v5.4s",
	"FSUB":     "fsub v4.4s, v3.4s, v5.4s",
	"FMUL":     "fmul v4.4s, v3.4s, v5.4s",
	"FMLA":     "fmla v4.4s, v3.4s, v5.4s",
	"FMLS":     "fmls v4.4s, v3.4s, v5.4s",
	"FMAX":     "fmax v4.4s, v3.4s, v5.4s",
	"FMIN":     "fmin v4.4s, v3.4s, v5.4s",
	"FMAXNM":   "fmaxnm v4.4s, v3.4s, v5.4s",
	"FMAXNMP":  "fmaxnmp v4.4s, v3.4s, v5.4s",
	"CMTST":    "cmtst v4.4s, v3.4s, v5.4s",
	"LDRSR":    "ldr s4, [x3, x5]",
	"LD1RP":    "ld1r { v4.4s }, [x3], x5",
	"FCMEQ":    "fcmeq v4.4s, v3.4s, v5.4s",
	"FCMGT":    "fcmgt v4.4s, v3.4s, v5.4s",
	"ADD":      "add v4.4s, v3.4s, v5.4s",
	"AND":      "and v4.16b, v3.16b, v5.16b",
	"BIC":      "bic v4.16b, v3.16b, v5.16b",
	"ORR":      "orr v4.16b, v3.16b, v5.16b",
	"EOR":      "eor v4.16b, v3.16b, v5.16b",
	"BIT":      "bit v4.16b, v3.16b, v5.16b",
	"BIF":      "bif v4.16b, v3.16b, v5.16b",
	"FADDP":    "faddp v4.4s, v3.4s, v5.4s",
	"FMAXP":    "fmaxp v4.4s, v3.4s, v5.4s",
	"ZIP1":     "zip1 v4.4s, v3.4s, v5.4s",
	"ZIP2":     "zip2 v4.4s, v3.4s, v5.4s",
	"DUP":      "dup v4.4s, v3.s[0]",
	"FCVTL":    "fcvtl v4.4s, v3.4h",
	"FCVTL2":   "fcvtl2 v4.4s, v3.8h",
	"FCVTN":    "fcvtn v4.4h, v3.4s",
	"FCVTN2":   "fcvtn2 v4.8h, v3.4s",
	"SHLL":     "shll v4.4s, v3.4h, #16",
	"SHLL2":    "shll2 v4.4s, v3.8h, #16",
	"XTN":      "xtn v4.4h, v3.4s",
	"XTN2":     "xtn2 v4.8h, v3.4s",
	"SHL23":    "shl v4.4s, v3.4s, #23",
	"USHR16":   "ushr v4.4s, v3.4s, #16",
	"LDRQ":     "ldr q4, [x3]",
	"STRQ":     "str q4, [x3]",
	"LDRS":     "ldr s4, [x3]",
	"STRS":     "str s4, [x3]",
	"LD1R":     "ld1r { v4.4s }, [x3]",
	"LDPQ":     "ldp q4, q5, [x3]",
	"FMLAELEM": "fmla v4.4s, v3.4s, v5.s[0]",
}

// operands returns the register fields of an encoding for the operands that its spelling
// mentions.
func operands(name string) uint32 {
	word := uint32(3<<5 | 4)
	switch {
	case name == "LDPQ":
		word |= 5 << 10
	case strings.Contains(spelled[name], "v5"), strings.Contains(spelled[name], "x5"):
		word |= 5 << 16
	}
	return word
}

func TestEncodings(t *testing.T) {
	assembler, err := exec.LookPath("llvm-mc-19")
	if err != nil {
		t.Skip("llvm-mc-19 is not installed")
	}
	if len(spelled) != len(encodings) {
		t.Errorf("%d encodings, %d spelled", len(encodings), len(spelled))
	}
	for name, code := range encodings {
		var text strings.Builder
		for _, b := range binary.LittleEndian.AppendUint32(nil, code|operands(name)) {
			fmt.Fprintf(&text, "%#02x ", b)
		}
		command := exec.Command(assembler, "-triple=aarch64", "-mattr=+neon", "-disassemble")
		command.Stdin = strings.NewReader(text.String())
		out, err := command.Output()
		if err != nil {
			t.Fatal(err)
		}
		fields := strings.Fields(string(out))
		got := strings.TrimPrefix(strings.Join(fields, " "), ".text ")
		if got != spelled[name] {
			t.Errorf("%s is %q (want %q)", name, got, spelled[name])
		}
	}
}
