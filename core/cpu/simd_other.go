// SPDX-License-Identifier: MIT

//go:build noasm || !(amd64 || arm64)

package cpu

func instructionSets() []*kernels { return nil }
