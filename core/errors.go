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

func invalid(format string, args ...any) error {
	return Errorf(InvalidArgument, format, args...)
}
