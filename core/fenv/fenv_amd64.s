// SPDX-License-Identifier: MIT

#include "textflag.h"

// func get() State
TEXT ·get(SB), NOSPLIT, $8-8
	STMXCSR value-8(SP)
	MOVL value-8(SP), AX
	MOVQ AX, ret+0(FP)
	RET

// func set(s State)
TEXT ·set(SB), NOSPLIT, $0-8
	LDMXCSR s+0(FP)
	RET
