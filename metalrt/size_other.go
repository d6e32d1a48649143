// SPDX-License-Identifier: MIT

//go:build !amd64 && !arm64

package metalrt

// sendSizes is not needed where there is no Metal, and Load says so before.
func sendSizes(uintptr, *SEL, *Size, *Size) { panic("metalrt: no Metal on this architecture") }
