// SPDX-License-Identifier: MIT

#include "textflag.h"

// func get() State
TEXT ·get(SB), NOSPLIT, $0-8
	MRS FPCR, R0
	MRS FPSR, R1
	ORR R1<<32, R0, R0
	MOVD R0, ret+0(FP)
	RET

// func set(s State)
TEXT ·set(SB), NOSPLIT, $0-8
	MOVD s+0(FP), R0
	LSR $32, R0, R1
	MOVWU R0, R0
	MSR R0, FPCR
	MSR R1, FPSR
	RET
