// SPDX-License-Identifier: MIT

package core

import "fmt"

// Status classifies an error. The values are those of natten_mps_status.
type Status int32

// Statuses.
const (
	OK Status = iota
	InvalidArgument
	Unsupported
	BadHandle
	OutOfMemory
	DeviceError
	Internal
	Interrupted
)

// Error is an error with the status that a C caller receives.
type Error struct {
	Status Status
	Text   string
}

func (e *Error) Error() string { return e.Text }

// Errorf makes an Error.
func Errorf(status Status, format string, args ...any) *Error {
	return &Error{Status: status, Text: fmt.Sprintf(format, args...)}
}

// Known returns the error of a panic if it is an Error or the fault of an access to memory that
// is not there or not writable, and nil otherwise.
func Known(p any) *Error {
	switch p := p.(type) {
	case *Error:
		return p
	case interface {
		error
		Addr() uintptr
	}:
		return Errorf(InvalidArgument,
			"memory at %#x cannot be accessed (want inputs that can be read and outputs that can be written, as large as their shapes and strides say)", p.Addr())
	}
	return nil
}

func invalid(format string, args ...any) error {
	return Errorf(InvalidArgument, format, args...)
}
