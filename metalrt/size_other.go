// SPDX-License-Identifier: MIT

//go:build !amd64 && !arm64

package metalrt

// sendSizes is never called, since there is no Metal on these architectures and Load
// fails first.
func sendSizes(uintptr, *SEL, *Size, *Size) { panic("metalrt: no Metal on this architecture") }
